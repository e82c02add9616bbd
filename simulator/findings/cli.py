"""The command `exai findings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reports.study import Study
    from simulator.findings.experiment import Finding


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("findings")(findings)


def findings(
    name: Annotated[str | None, typer.Argument(help="Which one, by name or number; none: list them.")] = None,
    replications: Annotated[
        int | None,
        typer.Option(
            "--replications",
            "-n",
            min=2,
            help="Runs of each setting, with equal seeds; as many as the document has if absent.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The first seed; the others follow; 1 if absent.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes; as many as there are cores if absent.")
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option(help="Also write tables and plots into this document, docs/findings.md for example."),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the report's directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the result, as JSON, and nothing else.")] = False,
) -> int:
    """Show what the strategy claims: run one finding's experiment, and print what came out.

    1 and 2 drill the real daemon, by the scenarios' own seeds, and take no --replications, --seed or --workers; the
    others run the model. 3 (nobody could see why) stands in docs/findings.md.

    Exit status: 0 shown, whatever came out; 2 wrong usage; 3 a drill or a worker failed; 130 interrupted.
    """
    from simulator.findings.catalogue import FINDINGS

    if name is None:
        for finding in FINDINGS.values():
            print(f"{finding.number}  {finding.name:<14} {finding.claim}")
        return 0
    name = {str(finding.number): finding.name for finding in FINDINGS.values()}.get(name, name)
    if name not in FINDINGS:
        raise typer.BadParameter(f"there is no finding {name}; there are {', '.join(FINDINGS)}")
    given = {"--replications": replications, "--seed": seed, "--workers": workers}
    unused = [option for option, value in given.items() if value is not None]
    if FINDINGS[name].real and unused:
        raise typer.BadParameter(f"{name} drills the real daemon once for each scenario: no {', '.join(unused)}")
    if document is not None:
        _check(document, name)
    _show(FINDINGS[name], replications, seed, workers, document, runs_dir, as_json=json)
    return 0


def _show(
    finding: Finding,
    replications: int | None,
    seed: int | None,
    workers: int | None,
    document: Path | None,
    runs_dir: Path,
    *,
    as_json: bool,
) -> None:
    import sys
    from datetime import UTC, datetime

    from reports.markdown import study_to_markdown
    from reports.study_page import study_to_json, write_study
    from scenarios.console import console_for
    from scenarios.run_directory import RunDirectory
    from simulator.findings.experiment import Conditions
    from simulator.replication.replications import cores
    from simulator.replication.workers import local_workers
    from simulator.screen import Screen

    directory = RunDirectory.create(runs_dir, f"finding-{finding.name}", started_at=datetime.now(UTC))
    with Screen(console_for(stderr=True)) as screen, local_workers(workers or cores()) as pool:
        study = finding.study(
            Conditions(
                seed=1 if seed is None else seed,
                replications=replications,
                executor=pool,
                runs_dir=directory.path / "drills",
                say=screen.say,
            )
        )
    write_study(directory.path, study)
    if document is not None:
        _write(document, study, finding, directory.path / "plots")
    if as_json:
        sys.stdout.write(study_to_json(study).decode())
    else:
        print(study_to_markdown(study))
        print(f"{directory.path / 'report.html'}: the plots.")


def _check(document: Path, name: str) -> None:
    """Refuse a document without a place for the finding, before anything runs."""
    from simulator.findings.document import NoPlaceError, check_place

    try:
        check_place(document.read_text("utf-8"), name)
    except (NoPlaceError, OSError) as error:
        raise typer.BadParameter(f"{document}: {error}") from error


def _write(document: Path, study: Study, finding: Finding, plots: Path) -> None:
    """Write the finding's place in the document, and its plots beside it."""
    from scenarios.run_directory import write_whole
    from simulator.findings.document import block, replaced

    folder = document.with_suffix("")
    text = block(study, f"exai findings {finding.name}", folder.name)
    for section in study.sections:
        for chart in section.charts:
            plot = (plots / f"{chart.name}.svg").read_bytes()
            # On paper of its own: a document may be read on black.
            plot = plot.replace(b"<svg ", b'<svg style="background: #ffffff" ', 1)
            write_whole(folder / f"{study.name}-{chart.name}.svg", plot)
    write_whole(document, replaced(document.read_text("utf-8"), finding.name, text).encode())
