"""The command `exai prove`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chaos.prove import Proof

FAST = 0.05


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("prove")(prove)


def prove(
    defect: Annotated[list[str] | None, typer.Option(help="Defect to prove; repeatable.  [default: all]")] = None,
    clean: Annotated[
        bool, typer.Option(help="Also run the stages on the clean daemon, which must be accused of nothing.")
    ] = True,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Put all questions of the protocol stage, not only those about a defect's own rule."
        ),
    ] = False,
    time_scale: Annotated[float, typer.Option(min=0.02, max=1.0, help="Wall seconds per second.")] = FAST,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the table, in Markdown.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the runs' directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the result, as JSON, and nothing else.")] = False,
) -> int:
    """Show the gate's own power: run it against every seeded defect, and against the clean daemon.

    A defect counts as caught only when the rule meant for it fires. Exit 1 if one is not caught, or if the clean
    daemon is accused.
    """
    import msgspec

    from chaos import prove as proving
    from chaos.defects import DEFECTS, find
    from scenarios.console import COLOURS, console_for

    names = list(defect or DEFECTS)
    for name in names:
        find(name)
    proofs, path = _run(names, runs_dir, time_scale, clean=clean, whole=whole)
    if output is not None:
        output.write_text(proving.markdown(proofs), encoding="utf-8")
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(proofs)).decode() + "\n")
    else:
        shown = console_for(stderr=False)
        for proof in proofs:
            line = f"[{COLOURS[proof.verdict]}]{proof.verdict:<9}[/]  {proof.defect} ({proof.stage}): {proof.why}"
            shown.print(line, soft_wrap=True)
        shown.print(f"runs: {path}", soft_wrap=True)
    return proving.verdict_of(proofs).exit_code


def _run(names: list[str], runs_dir: Path, time_scale: float, *, clean: bool, whole: bool) -> tuple[list[Proof], Path]:
    """Run the clean daemon through every stage that is needed, then each defect."""
    from datetime import UTC, datetime

    from chaos import prove as proving
    from chaos.defects import DEFECTS
    from chaos.drill import Options
    from chaos.screen import Screen
    from chaos.toxiproxy_server import ensure_server
    from reference_daemon.clock import Clock
    from reports.write import write_report
    from scenarios.console import console_for
    from scenarios.run_directory import RunDirectory

    with Screen(console_for(stderr=True), clock=Clock(time_scale)) as screen:
        server = ensure_server(screen.say)
        started_at = datetime.now(UTC)
        options = Options(
            toxiproxy=server.path,
            toxiproxy_version=server.version,
            seed=0,
            time_scale=time_scale,
            started_at=started_at,
        )
        directory = RunDirectory.create(runs_dir, "prove", started_at=started_at)
        proofs = []
        for stage in proving.stages_of(DEFECTS[name] for name in names) if clean else []:
            screen.say(f"clean daemon: {stage}")
            proofs.append(proving.prove_clean(stage, options, directory.path, screen, report=write_report))
        for name in names:
            screen.say(f"defect {name}: {DEFECTS[name].title}")
            proofs.append(proving.prove(name, options, directory.path, screen, report=write_report, whole=whole))
    return proofs, directory.path
