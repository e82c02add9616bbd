"""P95 of each tool and provider with its interval, against the timeouts."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.charts.style import EMPTY, INK, QUIET, SERIES, Layout, add_title, new_figure, say_empty, shortened
from reports.stats import Quantiles
from reports.story import Story

ROW: Final = 0.34
"""Height of a row in inches."""

REACH: Final = 1.6
"""A timeout is drawn up to this multiple of what was seen; farther ones would only squeeze the rows."""


def draw_spread(story: Story, layout: Layout) -> Figure:
    """Draw P95 and interval as a row for each tool and provider."""
    rows = [row for row in story.groups if row.p95 is not None]
    figure = new_figure(layout, 1.5 + ROW * max(5, len(rows)) if rows else EMPTY)
    axes = figure.add_subplot()
    add_title(figure, "P95 with its 95 % interval, s", layout)
    if not rows:
        say_empty(axes, "no call ended")
        return figure
    for height, row in enumerate(reversed(rows)):
        _draw_row(axes, height, row)
    axes.set_yticks(range(len(rows)), [_name(row) for row in reversed(rows)], color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    seen = max(row.p95.value_s for row in rows if row.p95)
    right = max([seen, *(row.p95.high_s or 0.0 for row in rows if row.p95)])
    limits = story.limits_up_to(REACH * right)
    axes.set_xlim(0.0, 1.08 * max([right, *(limit for limit, _ in limits)]))
    for limit_s, name in limits:
        _draw_limit(axes, limit_s, name)
    figure.supxlabel("latency from the intended start, s", fontsize="medium", color=QUIET)
    return figure


def _draw_row(axes: Axes, height: int, row: Quantiles) -> None:
    if row.p95 is None:
        return
    colour = SERIES[1] if row.tool else SERIES[3]
    low = row.p95.value_s if row.p95.low_s is None else row.p95.low_s
    open_end = row.p95.high_s is None
    high = row.p95.value_s if row.p95.high_s is None else row.p95.high_s
    axes.plot([low, high], [height, height], color=colour, linewidth=2.5, solid_capstyle="butt", zorder=2)
    # An interval that so few calls do not close points on to the right.
    axes.plot(row.p95.value_s, height, marker=">" if open_end else "o", color=colour, markersize=7, zorder=3)


def _draw_limit(axes: Axes, limit_s: float, name: str) -> None:
    axes.axvline(limit_s, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
    axes.annotate(
        f"{name} {limit_s:g} s",
        (limit_s, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-2, -2),
        textcoords="offset points",
        rotation=90,  # upright, so that the names of neighbours do not meet
        ha="right",
        va="top",
        color=QUIET,
        fontsize="small",
    )


def _name(row: Quantiles) -> str:
    return f"{shortened(row.tool or row.provider)} (n = {row.n})"
