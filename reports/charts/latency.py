"""Latency over time: the quantiles, and every call as a mark; the many that are alike are sampled."""

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.charts.style import EMPTY, INK, MARKS, PAPER, QUIET, Layout, add_legend, new_figure, say_empty
from reports.charts.timeline import TIME_LABEL, bins_over, room_for, shade_faults, span
from reports.stats import estimate
from reports.story import Story
from reports.table import Floats
from scenarios.history import Outcome

MOST_MARKS: Final = 1500
"""Marks of all outcomes together; more are a cloud in the eye and megabytes in the page."""

CALLS_A_BIN: Final = 40
"""Calls that an interval should have on average, so that its P95 is not its slowest call."""

MOST_BINS: Final = 48

FEW_CALLS: Final = 200
"""Up to so many calls, each is worth a big mark."""

_LINES: Final = (("P50", 0.50, QUIET, "-", 1.4), ("P95", 0.95, INK, "-", 1.8), ("P99", 0.99, INK, ":", 1.6))
"""Name, share, colour, dashes and width in points of each line."""


def marks_of(story: Story) -> dict[Outcome, npt.NDArray[np.intp]]:
    """Return the places of the calls that are drawn: the listed ones, and of the others an even sample.

    Rare outcomes are drawn whole: each outcome has a share of the marks before the frequent ones divide the rest.
    """
    table = story.table
    present = [outcome for outcome in MARKS if outcome in table.outcome.names]
    places = {outcome: np.flatnonzero(table.outcome.mask(outcome) & table.ended) for outcome in present}
    left, chosen = MOST_MARKS, {}
    for rank, outcome in enumerate(sorted(present, key=lambda each: len(places[each]))):
        share = left // (len(present) - rank)
        chosen[outcome] = _thinned(places[outcome], share, story.listed)
        left -= min(len(chosen[outcome]), left)
    return {outcome: chosen[outcome] for outcome in present if len(chosen[outcome])}


def _thinned(places: npt.NDArray[np.intp], most: int, listed: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    if len(places) <= most:
        return places
    even = places[np.linspace(0, len(places) - 1, max(most, 1)).astype(np.intp)]
    return np.union1d(even, np.intersect1d(places, listed))


def draw_latency(story: Story, layout: Layout) -> Figure:
    """Draw latencies from the intended start over time."""
    figure = new_figure(layout, 5.2 if story.table.ended.any() else EMPTY)
    axes = figure.add_subplot()
    latencies = story.table.latency_s[story.table.ended]
    axes.set_title(f"Latency from the intended start, s (n = {len(latencies)})")
    if not len(latencies):
        say_empty(axes, "no call ended")
        return figure
    top = float(latencies.max()) or 1.0
    axes.set_ylim(0.0, top * 1.03 / (1.0 - room_for(story.run, layout)))
    shade_faults(axes, story.run, story.table, layout, titles=True)
    _draw_timeouts(axes, story, top)
    _draw_marks(axes, story)
    _draw_quantiles(axes, story)
    axes.set_xlabel(f"intended start, {TIME_LABEL}")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_locator(MaxNLocator(8 if layout is Layout.WIDE else 5))
    span(axes, story.run, story.table)
    add_legend(figure, layout)
    return figure


def _draw_timeouts(axes: Axes, story: Story, top: float) -> None:
    """Draw the timeouts that the calls came near; one far above them would only flatten the plot."""
    for timeout_s, name in story.limits_up_to(1.03 * top):
        axes.axhline(timeout_s, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
        axes.annotate(
            f"{name} {timeout_s:g} s",
            (0.0, timeout_s),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=QUIET,
            fontsize="small",
            zorder=5,
        )


def _draw_marks(axes: Axes, story: Story) -> None:
    table, counts = story.table, story.summary.outcomes
    for outcome, places in marks_of(story).items():
        colour, shape = MARKS[outcome]
        axes.scatter(
            table.intended_at[places],
            table.latency_s[places],
            s=_size(outcome, len(table)),
            color=colour,
            edgecolors=PAPER,
            linewidths=0.4,
            marker=shape,
            label=f"{outcome.replace('_', ' ')} ({counts[outcome]})",
            zorder=3 if outcome.succeeded else 6,  # what went wrong lies on top
            clip_on=False,
            gid=f"marks-{outcome}",
        )


def _size(outcome: Outcome, calls: int) -> int:
    """Return the area of a mark in square points: many are small, but a failure must not look like dust."""
    if calls <= FEW_CALLS:
        return 52
    return 16 if outcome.succeeded else 32


def _draw_quantiles(axes: Axes, story: Story) -> None:
    table = story.table
    at, latency_s = table.intended_at[table.ended], table.latency_s[table.ended]
    number = int(np.clip(len(at) // CALLS_A_BIN, 1, MOST_BINS))
    edges = bins_over(story.run, table, number)
    places = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, number - 1)
    groups = [np.sort(latency_s[places == place]) for place in range(number)]
    for name, q, colour, line, width in _LINES:
        heights = [_value(group, q) for group in groups]
        axes.stairs(heights, edges, baseline=None, color=PAPER, linewidth=width + 2, zorder=2)
        axes.stairs(
            heights,
            edges,
            baseline=None,
            color=colour,
            linestyle=line,
            linewidth=width,
            label=name,
            zorder=5,
        )


def _value(ordered: Floats, q: float) -> float:
    found = estimate(ordered, q)
    return np.nan if found is None else found.value_s
