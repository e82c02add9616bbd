"""What all plots over time share: their span, the bins, the shaded windows of the faults."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes

from reports.charts.style import SHADE, Layout
from reports.table import CallTable, Floats
from scenarios.run import FaultWindow, Run

MOST_NAMED: Final = 4
"""Faults whose titles fit above each other over a plot; more of them are numbered only."""

LINE: Final = 0.07
"""Height of a line of text as a share of the plot's height."""

WINDOW: Final = "fault-"
"""Before the number of a fault in the name of its window."""

_NUMBER: Final = {Layout.WIDE: 0.026, Layout.NARROW: 0.055}
"""Width of a fault's number as a share of the figure's."""

NO_ROOM: Final = 0.96
"""Share of the plot's width from which a number does not fit on the right of a window's start."""

TIME_LABEL: Final = "s since the start of the load"


def start_of(table: CallTable) -> float:
    """Return where the plots begin: the start of the load, or a call before it."""
    return min(0.0, float(table.intended_at.min())) if len(table) else 0.0


def end_of(run: Run, table: CallTable) -> float:
    """Return where the plots end: when the last thing happened."""
    moments = [fault.ended_at or fault.started_at for fault in run.faults]
    if len(table):
        moments.append(float(np.fmax(table.finished_at, table.intended_at).max()))
    return max(moments, default=0.0) or 1.0


def bins_over(run: Run, table: CallTable, number: int) -> Floats:
    """Return the edges of bins of equal width over the whole run."""
    return np.linspace(start_of(table), end_of(run, table), number + 1)


def room_for(run: Run, layout: Layout) -> float:
    """Return which share of a plot's height the names of the faults take."""
    if not run.faults:
        return 0.02
    named = layout is Layout.WIDE and len(run.faults) <= MOST_NAMED
    return LINE * (len(run.faults) if named else 1) + 0.03


def shade_faults(
    axes: Axes, run: Run, table: CallTable, layout: Layout, *, titles: bool = False, beside: int = 1
) -> None:
    """Shade the time of each fault and number it as the page's table does; with its title where there is room.

    A number that would run into the one before is left out: the table has the times. `beside`: plots in a row.
    """
    start, end = start_of(table), end_of(run, table)
    labelled = start - end
    named = titles and layout is Layout.WIDE and len(run.faults) <= MOST_NAMED
    for number, fault in enumerate(run.faults):
        until = end if fault.ended_at is None else fault.ended_at
        window = axes.axvspan(fault.started_at, until, color=SHADE, alpha=0.12, linewidth=0, zorder=0)
        if titles:  # a name that the page finds it by; with several plots in a figure it would not be the only one
            window.set_gid(f"{WINDOW}{number + 1}")
        if not named and fault.started_at - labelled < _NUMBER[layout] * beside * (end - start):
            continue
        labelled = fault.started_at
        _label(axes, fault, number, until, late=fault.started_at > (0.5 if named else NO_ROOM) * end, named=named)


def _label(axes: Axes, fault: FaultWindow, number: int, until: float, *, late: bool, named: bool) -> None:
    axes.annotate(
        f"F{number + 1} {fault.title}" if named else f"F{number + 1}",
        (until if late else fault.started_at, 1.0 - (LINE * number if named else 0.0)),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if late else 3, -3),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        color=SHADE,
        fontsize="small",
    )


def span(axes: Axes, run: Run, table: CallTable) -> None:
    """Give every plot over time the same span."""
    start, end = start_of(table), end_of(run, table)
    axes.set_xlim(start, end + 0.01 * (end - start))
