"""The latency plot: every call as a mark, the fault windows shaded, in the same bytes for the same run.

Drawn without pyplot, so no global figure is left behind. Colours are safe for the colour-blind, and every
outcome has a shape of its own, too. `Layout.NARROW` is the same plot for a phone, not a shrunken one.
"""

import enum
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scenarios.history import Call, Outcome
from scenarios.run import FaultWindow, Run

INK: Final = "#1f2430"
QUIET: Final = "#667085"
GRID: Final = "#e4e7ec"
SHADE: Final = "#b54708"
PAPER: Final = "#ffffff"

_MARKS: Final[dict[Outcome, tuple[str, str]]] = {
    Outcome.OK: ("#1a9c70", "o"),
    Outcome.REPLAYED: ("#3b7fc4", "o"),
    Outcome.OVER_CAPACITY: ("#c4860a", "s"),
    Outcome.DUPLICATE: ("#8a63d2", "s"),
    Outcome.TIMEOUT: ("#dc3f3a", "X"),
    Outcome.CANCELLED: ("#7a8699", "X"),
    Outcome.PROVIDER_ERROR: ("#dc3f3a", "P"),
    Outcome.CONNECTION_LOST: ("#dc3f3a", "v"),
    Outcome.UNKNOWN: ("#7a8699", "D"),
    Outcome.SUPERSEDED: ("#8a63d2", "X"),
    Outcome.KEY_REUSED: ("#8a63d2", "P"),
    Outcome.DRAINING: ("#c4860a", "v"),
    Outcome.INTERRUPTED: ("#c4860a", "X"),
    Outcome.ERROR: ("#dc3f3a", "d"),
}
"""Colour and shape of each outcome."""


class Layout(enum.Enum):
    """Size of a plot in inches, and how big its type is in points."""

    WIDE = (9.0, 4.2, 10.0)
    NARROW = (4.4, 4.4, 10.5)


_STYLE: Final[dict[Any, Any]] = {
    "axes.edgecolor": GRID,
    "axes.labelcolor": QUIET,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "svg.hashsalt": "latency",  # ids are hashes; without a fixed salt they would differ from run to run
    "svg.fonttype": "path",  # the letters are drawn, so that no reader's fonts change the picture
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
}

_TOP: Final = 1.18
"""Height of the plot over its highest mark: room for the names of the faults."""


def latency_svg(run: Run, calls: Sequence[Call], layout: Layout = Layout.WIDE) -> bytes:
    """Return the plot as SVG, transparent, without a date: the same run gives the same bytes."""
    with mpl.rc_context(_style(layout)):
        figure = _figure(run, calls, layout)
        out = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    return out.getvalue()


def latency_png(run: Run, calls: Sequence[Call]) -> bytes:
    """Return the plot as PNG, on white."""
    with mpl.rc_context(_style(Layout.WIDE)):
        figure = _figure(run, calls, Layout.WIDE)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=160, facecolor=PAPER, metadata={"Software": None})
    return out.getvalue()


def _style(layout: Layout) -> dict[Any, Any]:
    return _STYLE | {"font.size": layout.value[2]}


def _figure(run: Run, calls: Sequence[Call], layout: Layout) -> Figure:
    width, height, _ = layout.value
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ended = [call for call in calls if call.latency_s is not None]
    top = _TOP * max((call.latency_s or 0.0 for call in ended), default=1.0)
    axes.set_ylim(0.0, top)
    _draw_faults(axes, run.faults, until=_end(run, calls), top=top)
    _draw_timeouts(axes, run, top=top)
    _draw_calls(axes, ended)
    _dress(axes, ended, never_ended=len(calls) - len(ended), layout=layout)
    axes.set_xlim(left=0.0, right=1.02 * _end(run, calls))
    return figure


def _end(run: Run, calls: Iterable[Call]) -> float:
    """Return the moment at which the plot ends: when the last thing happened."""
    moments = [call.finished_at or call.intended_at for call in calls]
    return max([*moments, *(fault.ended_at or fault.started_at for fault in run.faults)], default=1.0) or 1.0


def _draw_faults(axes: Axes, faults: Iterable[FaultWindow], *, until: float, top: float) -> None:
    for fault in faults:
        ended_at = until if fault.ended_at is None else fault.ended_at
        axes.axvspan(fault.started_at, ended_at, color=SHADE, alpha=0.10, linewidth=0, zorder=0)
        axes.annotate(
            fault.title.replace(", ", "\n"),
            ((fault.started_at + ended_at) / 2, top),
            xytext=(0, -5),
            textcoords="offset points",
            ha="center",
            va="top",
            color=SHADE,
            fontsize="small",
        )


def _draw_timeouts(axes: Axes, run: Run, *, top: float) -> None:
    """Draw the timeouts that the calls came near; one far above them would only flatten the plot."""
    for name, timeout_s in run.timeouts_s.items():
        if timeout_s <= top:
            axes.axhline(timeout_s, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
            axes.annotate(
                f"{name} {timeout_s:g} s",
                (0.0, timeout_s),
                xytext=(4, 3),
                textcoords="offset points",
                color=QUIET,
                fontsize="small",
            )


def _draw_calls(axes: Axes, calls: Sequence[Call]) -> None:
    for outcome, (colour, shape) in _MARKS.items():
        chosen = [call for call in calls if call.outcome is outcome]
        if chosen:
            axes.scatter(
                [call.intended_at for call in chosen],
                [call.latency_s or 0.0 for call in chosen],
                s=64,
                color=colour,
                edgecolors=PAPER,
                linewidths=1,
                marker=shape,
                label=f"{outcome.replace('_', ' ')} ({len(chosen)})",
                zorder=3,
                clip_on=False,
            )


def _dress(axes: Axes, ended: Sequence[Call], *, never_ended: int, layout: Layout) -> None:
    """Add title, units, grid, and a legend that no call can be mistaken for."""
    title = f"Latency of each call (n = {len(ended)})"
    if never_ended:
        title += f"\n{never_ended} never ended and cannot be shown"
    axes.set_title(title, loc="left", fontweight="bold", fontsize="large", pad=12)
    axes.set_xlabel("intended start, s since the start of the load")
    axes.set_ylabel("latency from intended start, s")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(8 if layout is Layout.WIDE else 5))
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    if ended:
        axes.figure.legend(
            loc="outside lower left",
            ncols=5 if layout is Layout.WIDE else 2,
            frameon=False,
            labelcolor=INK,
            handletextpad=0.2,
            columnspacing=1.2,
        )
    else:
        axes.text(0.5, 0.5, "no call ended", transform=axes.transAxes, ha="center", color=QUIET)
