"""The command `exai report`: makes the report of an old run again, from what the run kept."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this package."""
    app.command()(report)


def report(run_dir: Annotated[Path, typer.Argument(help="Directory of a run.", exists=True, file_okay=False)]) -> int:
    """Judge a run again, and write its report anew: page, plots, and the files for CI.

    Reads `calls.parquet`, `events.jsonl` and `scenario.yaml` of the run; changes nothing but the report.
    """
    from reports.write import write_report
    from scenarios.checks.judge import judge
    from scenarios.load import load_scenario
    from scenarios.mistakes import ScenarioError
    from scenarios.record import NoRecordError, read_record

    try:
        record = read_record(run_dir)
        scenario = load_scenario(run_dir / "scenario.yaml")
    except (NoRecordError, ScenarioError) as error:
        raise typer.BadParameter(str(error)) from error
    summary = write_report(run_dir, record, judge(scenario, record))
    print(f"{summary.verdict}: {run_dir / 'report.html'}")
    return summary.verdict.exit_code
