"""What the commands of all packages print on, and the colour of a verdict."""

from typing import Final

from rich.console import Console

from scenarios.verdict import Verdict

COLOURS: Final = {Verdict.HELD: "green", Verdict.VIOLATED: "red", Verdict.UNDECIDED: "yellow"}

_LOG_WIDTH: Final = 160
"""Columns where the output is no terminal, so that no row of a table is folded in a log."""


def console_for(*, stderr: bool) -> Console:
    """Return a console that folds lines at a terminal's edge and nowhere else."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_LOG_WIDTH)
