"""Calls in flight against every cap, a small plot for each scope."""

import math
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.charts.style import EMPTY, QUIET, SERIES, SHADE, Layout, new_figure, say_empty, shortened
from reports.charts.timeline import TIME_LABEL, end_of, shade_faults, span, start_of
from reports.occupancy import Level
from reports.story import Story
from reports.table import Floats

MOST_PLOTS: Final = 12
"""Scopes that are drawn: those that came nearest to their caps; the table has them all."""

STEPS: Final = 300
"""Intervals of a curve; in each its highest value is drawn, so that no peak is lost."""


def drawn_levels(story: Story) -> list[Level]:
    """Return the scopes to draw, all calls first, then the fullest."""
    levels = [level for level in story.occupancy.levels if len(level.at)]
    fullest = sorted(levels[1:], key=lambda level: -level.peak / (level.cap or math.inf))
    return [*levels[:1], *fullest[: MOST_PLOTS - 1]]


def draw_in_flight(story: Story, layout: Layout) -> Figure:
    """Draw the number of calls in flight, and its cap as a line."""
    levels = drawn_levels(story)
    columns = min(3 if layout is Layout.WIDE else 2, max(1, len(levels)))
    rows = max(1, math.ceil(len(levels) / columns))
    figure = new_figure(layout, 0.5 + 1.9 * rows if levels else EMPTY)
    if not levels:
        say_empty(figure.add_subplot(), "no call was admitted")
        return figure
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, level in zip(grid, levels, strict=False):
        _draw_level(axes, story, level, layout, beside=columns)
    for axes in grid[len(levels) :]:
        axes.set_axis_off()
    figure.supxlabel(TIME_LABEL, fontsize="small", color=QUIET)
    return figure


def _draw_level(axes: Axes, story: Story, level: Level, layout: Layout, *, beside: int) -> None:
    edges, heights = envelope(level, start_of(story.table), max(end_of(story.run, story.table), float(level.at[-1])))
    axes.stairs(heights, edges, fill=True, color=SERIES[1], alpha=0.35, linewidth=0)
    axes.stairs(heights, edges, baseline=None, color=SERIES[1], linewidth=1)
    title = f"{shortened(level.scope.partition(':')[2] or 'all calls')}: {level.peak}"
    if level.cap is not None:
        title += f" of {level.cap}"
        axes.axhline(level.cap, color=SHADE, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set_title(title, fontsize="small")
    axes.set_ylim(0.0, 1.15 * max(level.peak, level.cap or 0, 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize="small")
    shade_faults(axes, story.run, story.table, layout, beside=beside)
    span(axes, story.run, story.table)


def envelope(level: Level, start: float, end: float) -> tuple[Floats, Floats]:
    """Return intervals of equal width, and the highest number in flight in each."""
    edges = np.linspace(start, max(end, start + 1e-9), STEPS + 1)
    places = np.clip(np.searchsorted(edges, level.at, side="right") - 1, 0, STEPS - 1)
    before = np.concatenate(([0.0], level.in_flight))
    # What an interval begins with is what the moments before its left edge left behind.
    heights = before[np.searchsorted(level.at, edges[:-1], side="left")]
    np.maximum.at(heights, places, level.in_flight)
    return edges, heights
