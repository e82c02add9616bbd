"""The checklist as a table, for terminals of 80 columns and more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from reference_daemon.checklist import Check, Reading, Verdict

_STYLES: Final = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNDECIDED: "yellow"}


def show_source(console: Console, reading: Reading) -> None:
    """Say which file was read."""
    path: Path = reading.path
    if path.is_file():
        console.print(f"read {path}; what the environment sets comes before it", markup=False)
    else:
        console.print(f"there is no {path} here: the environment, then the defaults", markup=False)


def show_checks(console: Console, title: str, checks: Sequence[Check]) -> None:
    """Show checks, and below them what to write to .env, ready to be copied."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("", no_wrap=True)
    table.add_column(title, overflow="fold")
    table.add_column("rule, and what to do", overflow="fold")
    for check in checks:
        style = _STYLES[check.verdict]
        table.add_row(f"[{style}]{check.verdict}[/]", _found(check), _told(check))
    console.print(table)
    lines = [line for check in checks for line in check.write]
    if lines:
        console.print("write to .env:", style="bold")
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        console.print()


def show_result(console: Console, checks: Sequence[Check]) -> None:
    """Say in one line how it ended."""
    counts = {verdict: sum(check.verdict is verdict for check in checks) for verdict in Verdict}
    words = [f"{counts[Verdict.PASS]} passed"]
    words += [f"{counts[Verdict.FAIL]} failed"] if counts[Verdict.FAIL] else []
    words += [f"{counts[Verdict.UNDECIDED]} undecided"] if counts[Verdict.UNDECIDED] else []
    worst = next(each for each in (Verdict.FAIL, Verdict.UNDECIDED, Verdict.PASS) if counts[each] or not checks)
    console.print(", ".join(words), style=_STYLES[worst])


def _found(check: Check) -> Group:
    """Return what was found, and where it comes from."""
    origin = f" [dim]({escape(check.origin)})[/]" if check.origin else ""
    return Group(escape(check.subject), Padding(f"[bold]{escape(check.value)}[/]{origin}", (0, 0, 0, 2)))


def _told(check: Check) -> str:
    """Return the rule, and what to do about it."""
    style = _STYLES[check.verdict]
    lines = [escape(check.rule)]
    lines += [f"[{style}]write {escape(line)}[/]" for line in check.write]
    lines += [f"[{'dim' if check.verdict is Verdict.PASS else style}]{escape(check.note)}[/]"] if check.note else []
    return "\n".join(lines)
