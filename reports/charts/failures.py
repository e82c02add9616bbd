"""Calls without their answer, over time and by tool: who gave up first, and what else went wrong."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.charts.style import EMPTY, MARKS, Layout, add_legend, new_figure, say_empty, shortened
from reports.charts.timeline import TIME_LABEL, bins_over, room_for, shade_faults, span
from reports.story import Story
from reports.table import Mask
from scenarios.history import Outcome, TimeoutLayer

BINS: Final = 40

_LAYERS: Final = dict(
    zip(TimeoutLayer, ("#7f1d1d", "#b4231f", "#dc3f3a", "#f07167", "#f7a399", "#8f5d00", "#c4860a"), strict=True)
)
"""Colours of the layers whose patience ended: reds, since each is a timeout."""

_OUTCOMES: Final = {
    Outcome.PROVIDER_ERROR: "#3b7fc4",
    Outcome.CONNECTION_LOST: "#1a9c70",
    Outcome.ERROR: "#5b4b8a",
    Outcome.INTERRUPTED: "#7dbb9f",
    Outcome.DRAINING: "#9cc3ea",
    Outcome.KEY_REUSED: "#b9a3e3",
    Outcome.SUPERSEDED: "#c77dbb",
}
"""Colours of the outcomes that share one with another among the marks; the other outcomes keep theirs."""


def causes_of(story: Story) -> dict[str, Mask]:
    """Return the failed calls by what went wrong: the layer that gave up, or else the outcome."""
    table = story.table
    failed = ~table.succeeded
    causes = {
        f"timeout: {layer}": table.layer.mask(layer) & failed for layer in TimeoutLayer if layer in table.layer.names
    }
    unexplained = failed & (table.layer.codes < 0)
    for outcome in Outcome:
        if outcome in table.outcome.names and not outcome.succeeded:
            causes[outcome.replace("_", " ")] = table.outcome.mask(outcome) & unexplained
    return {name: chosen for name, chosen in causes.items() if chosen.any()}


def draw_failures(story: Story, layout: Layout) -> Figure:
    """Draw what went wrong: above over time, below by tool."""
    causes = causes_of(story)
    tools = sorted(story.table.tool.names)
    figure = new_figure(layout, 4.0 + 0.3 * len(tools) if causes else EMPTY)
    if not causes:
        axes = figure.add_subplot()
        axes.set_title("Calls without their answer")
        say_empty(axes, "every call got its answer" if len(story.table) else "no call was made")
        return figure
    over_time, by_tool = figure.subplots(2, 1, height_ratios=(2.4, 0.6 + 0.3 * len(tools)))
    _draw_over_time(over_time, story, causes, layout)
    _draw_by_tool(by_tool, story, causes, tools)
    add_legend(figure, layout)
    return figure


def _draw_over_time(axes: Axes, story: Story, causes: dict[str, Mask], layout: Layout) -> None:
    table = story.table
    edges = bins_over(story.run, table, BINS)
    moments = np.where(np.isnan(table.finished_at), table.intended_at, table.finished_at)
    below = np.zeros(BINS)
    for name, chosen in causes.items():
        heights, _ = np.histogram(moments[chosen], edges)
        axes.bar(
            edges[:-1],
            heights,
            np.diff(edges),
            below,
            align="edge",
            color=_colour(name),
            label=f"{name} ({np.count_nonzero(chosen)})",
        )
        below += heights
    axes.set_title("Calls without their answer, by end")
    axes.set_ylim(0.0, 1.02 * max(below.max(), 1.0) / (1.0 - room_for(story.run, Layout.NARROW)))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel(TIME_LABEL)
    shade_faults(axes, story.run, table, layout)
    span(axes, story.run, table)


def _draw_by_tool(axes: Axes, story: Story, causes: dict[str, Mask], tools: list[str]) -> None:
    below = np.zeros(len(tools))
    of_tool = [story.table.tool.mask(tool) for tool in tools]
    for name, chosen in causes.items():
        widths = np.array([np.count_nonzero(chosen & each) for each in of_tool], dtype=np.float64)
        axes.barh(range(len(tools)), widths, 0.7, below, color=_colour(name))
        below += widths
    axes.set_yticks(range(len(tools)), [shortened(tool) for tool in tools])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_title("The same, by tool")


def _colour(cause: str) -> str:
    kind, _, layer = cause.partition(": ")
    if layer:
        return _LAYERS[TimeoutLayer(layer)]
    outcome = Outcome(kind.replace(" ", "_"))
    return _OUTCOMES.get(outcome, MARKS[outcome][0])
