"""The command `exai report`: makes the report of an old run again, alone or against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reports.comparison import Comparison


def register(app: typer.Typer) -> None:
    """Add the commands of this package."""
    app.command()(report)


def report(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a run.", exists=True, file_okay=False)],
    baseline: Annotated[
        Path | None,
        typer.Option(help="Directory of a run to compare it with; worse: exit 1.", exists=True, file_okay=False),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=LEAST",
            help="Least change that counts as worse; repeatable. Of the latency before: p50=10%, p95=10%, p99=20% if "
            "not given, and never less than 0.5 s. Of all calls: failed=2%, timed_out=2%, retried=5%.",
        ),
    ] = None,
) -> int:
    """Judge a run again, and write its report anew: page, plots, and the files for CI.

    Reads `calls.parquet`, `events.jsonl` and `scenario.yaml` of the run; changes nothing but the report. With a
    baseline, something is worse if its interval says so and if it passes its limit.

    Exit status: 0 held; 1 violated, or worse than the baseline; 2 no run, or no limit; 3 undecided.
    """
    from reports.comparison import limits_of
    from reports.write import Against, write_report
    from scenarios.checks.judge import judge
    from scenarios.load import load_scenario
    from scenarios.mistakes import ScenarioError
    from scenarios.record import NoRecordError, read_record

    if baseline is None and limit:
        raise typer.BadParameter("a limit is one of a comparison: --baseline is missing", param_hint="--limit")
    if baseline is not None and baseline.resolve() == run_dir.resolve():
        raise typer.BadParameter("a run is no baseline of its own", param_hint="--baseline")
    _refuse_study(run_dir, "RUN_DIR")
    if baseline is not None:
        _refuse_study(baseline, "--baseline")
    try:
        limits = limits_of(limit or [])
        record = read_record(run_dir)
        scenario = load_scenario(run_dir / "scenario.yaml", foreign=True)
        against = None if baseline is None else Against(read_record(baseline), limits)
    except (NoRecordError, ScenarioError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    summary = write_report(run_dir, record, judge(scenario, record), against)
    if summary.baseline is not None:
        _print(summary.baseline)
    print(f"{summary.verdict}: {run_dir / 'report.html'}")
    return summary.verdict.exit_code


def _refuse_study(directory: Path, named: str) -> None:
    """Say of a directory of a study, which holds no run itself, where its runs are."""
    from scenarios.record import EVENTS

    if (directory / EVENTS).exists() or not (directory / "summary.json").exists():
        return  # a run; or nothing of ours, and the reader says what is missing
    runs = [str(path.parent) for path in sorted(directory.glob(f"*/{EVENTS}"))]
    where = f"its runs are {', '.join(runs)}" if runs else "it keeps no runs"
    raise typer.BadParameter(f"{directory} is a study and no run: {where}", param_hint=named)


def _print(comparison: Comparison) -> None:
    """Print what got worse, and what else differs."""
    from scenarios.verdict import Verdict

    decided = [each for each in comparison.results if each.verdict is not Verdict.UNDECIDED]
    for each in decided:
        if each.verdict is Verdict.VIOLATED:
            print(f"worse: {each.name}: {each.reason}")
    for line in comparison.differs:
        print(f"differs: {line}")
    worse = sum(each.verdict is Verdict.VIOLATED for each in decided)
    print(
        f"{comparison.verdict}: {worse} of {len(decided)} measures are worse than in {comparison.scenario} "
        f"of {comparison.started_at}; {len(comparison.results) - len(decided)} could not be compared"
    )
