"""The commands `exai scenarios list`, `check` and `schema`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.model import Scenario

app = typer.Typer(help="The scenarios that are shipped, and yours.", no_args_is_help=True)

_HELD, _USAGE = 0, 2


def register(umbrella: typer.Typer) -> None:
    """Add these commands to the umbrella command, under the name `scenarios`."""
    umbrella.add_typer(app, name="scenarios")


@app.command("list")
def list_() -> int:
    """List the shipped scenarios: seconds of load, and what they take on the wall clock at their own scale."""
    from scenarios.load import ScenarioError, load_scenario, shipped

    status = _HELD
    rows: list[tuple[str, ...]] = []
    for name, path in shipped().items():
        try:
            scenario = load_scenario(path)
        except ScenarioError as error:
            print(error, file=sys.stderr)
            status = _USAGE
        else:
            rows.append((name, *_times(scenario), scenario.title))
    if rows:
        _print_table(("NAME", "LOAD", "WALL", "TITLE"), rows)
    return status


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, or names of shipped ones.")],
) -> int:
    """Check scenario files; print every mistake with file, line and key. Exit status 2 if there is any."""
    from scenarios.load import ScenarioError, find_scenario, load_scenario

    status = _HELD
    for file in files:
        try:
            path = find_scenario(file)
            scenario = load_scenario(path)
        except ScenarioError as error:
            print(error)
            status = _USAGE
        else:
            load, wall = _times(scenario)
            print(f"{path}: good: {scenario.title} ({load} of load, {wall} on the wall clock)")
    return status


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for editors."""
    from scenarios.schema import schema_text

    sys.stdout.write(schema_text())


def _times(scenario: Scenario) -> tuple[str, str]:
    """Return the seconds of load, and how long they take on the wall clock."""
    return f"{scenario.load_s:g} s", f"{scenario.load_s * scenario.time_scale:.0f} s"


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print columns; the last one is not padded."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        print("  ".join([*cells, row[-1]]))
