"""Options that the model's commands have in common."""

from pathlib import Path
from typing import Annotated

import typer

ScenarioName = Annotated[str, typer.Argument(help="Name of a shipped scenario, or a file.")]
FirstSeed = Annotated[int | None, typer.Option(min=0, help="The first seed; the scenario's own if absent.")]
EnvFile = Annotated[
    Path | None, typer.Option(help="Settings that stand before the scenario's, for example recommended.env.")
]
Given = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting; stands before all others.")
]
WarmUp = Annotated[float, typer.Option(min=0.0, help="Seconds at the start whose calls the figures leave out.")]
Workers = Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; one for each core if absent.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result, as JSON, and nothing else.")]
RunsDir = Annotated[Path, typer.Option(help="Where the directory of the result is made.")]
