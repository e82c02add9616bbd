"""Figures with their intervals, as tables for a terminal and cells for a report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.table import Table

from simulator.replication.metrics import FIGURES, Figure
from simulator.replication.replications import Interval

_UNITS: Final = {"share": " %", "s": " s", "1/s": " /s", "1": "", "": ""}
_HEAD: Final = 24
_COLUMN: Final = 22
"""Letters that a column of settings and one of figures take, about."""

_SAME_WIDTH: Final = 1e-6
"""Sides of an interval that differ by less, as a share, are equal but for rounding."""

_LEAST_FIGURES: Final = 2
_MANY: Final = 1000
"""From here on all digits before the point are written."""

NOTHING: Final = "–"
"""Written where nothing was seen."""


def figure_table(found: Mapping[str, Interval]) -> Table:
    """Return a table of every figure with its interval."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("figure")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("meaning", style="dim", overflow="fold")
    for name, value in found.items():
        table.add_row(name, number(value.mean, FIGURES[name]), ends(value, FIGURES[name]), FIGURES[name].meaning)
    return table


def row_table(heads: Sequence[str], figures: Sequence[str], rows: Iterable[tuple[Sequence[str], str, str]]) -> Table:
    """Return a table with a row for each setting: its values, its figures, and a remark."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in heads:
        table.add_column(head, overflow="fold")
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for values, style, remark in rows:
        table.add_row(*values, remark, style=style)
    return table


def fitting(names: Sequence[str], heads: int, width: int) -> list[str]:
    """Return as many figures, from the first one, as a table of this width has room for beside its heads."""
    room = max(_LEAST_FIGURES, (width - heads * _HEAD) // _COLUMN)
    return list(names[:room])


def with_interval(value: Interval, figure: Figure) -> str:
    """Write a figure with half the width of its interval, "12.3 ± 0.4 s"; at a bound both sides: "98.1 +1.9 −3.2 %"."""
    if math.isnan(value.mean):
        return NOTHING
    return f"{_digits(value.mean, figure)}{_sides(_bounded(value, figure), figure)}{_UNITS[figure.unit]}"


def _sides(value: Interval, figure: Figure) -> str:
    if not value.known:
        return ""
    above, below = value.high - value.mean, value.mean - value.low
    if math.isclose(above, below, rel_tol=_SAME_WIDTH, abs_tol=1e-12):
        return f" ± {_width(above, figure)}"
    return "".join(f" {sign}{_width(side, figure)}" for sign, side in (("+", above), ("−", below)) if side > 0.0)


def ends(value: Interval, figure: Figure) -> str:
    """Write the ends of an interval; with one replication nobody knows them."""
    if math.isnan(value.mean):
        return NOTHING
    value = _bounded(value, figure)
    return f"{_digits(value.low, figure)} to {number(value.high, figure)}" if value.known else "?"


def _bounded(value: Interval, figure: Figure) -> Interval:
    return value.within(0.0, 1.0 if figure.unit == "share" else math.inf)


def number(value: float, figure: Figure) -> str:
    """Write a value as its unit wants it: shares as per cent, seconds with one digit."""
    return f"{_digits(value, figure)}{_UNITS[figure.unit]}" if math.isfinite(value) else NOTHING


def _width(value: float, figure: Figure) -> str:
    """Write half of an interval: of counts and rates two digits are enough."""
    return _digits(value, figure) if figure.unit in {"share", "s"} else f"{value:.2g}"


def _digits(value: float, figure: Figure) -> str:
    if figure.unit == "share":
        return f"{100 * value:.2f}"
    return f"{value:.1f}" if figure.unit == "s" else f"{value:.3g}" if abs(value) < _MANY else f"{value:.0f}"
