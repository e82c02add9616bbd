"""The distribution of latencies against the baseline's, of the tools that both runs have."""

import numpy as np
from matplotlib.figure import Figure

from reports.charts.style import EMPTY, INK, SERIES, Layout, add_legend, new_figure, say_empty
from reports.charts.tail import Look, draw_curves, dress
from reports.story import Story
from reports.table import CallTable


def draw_against(story: Story, layout: Layout) -> Figure:
    """Draw share and tail of both runs; calls that never ended count as longer than all others."""
    wide = layout is Layout.WIDE
    tables = [story.table] if story.baseline is None else [story.baseline, story.table]
    if not any(table.ended.any() for table in tables):
        figure = new_figure(layout, EMPTY)
        say_empty(figure.add_subplot(), "no call ended")
        return figure
    figure = new_figure(layout, 4.0 if wide else 6.4)
    share, tail = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
    tools = set.intersection(*(set(table.tool.names) for table in tables))
    looks: list[Look] = [("baseline", SERIES[2], (0, (5, 2))), ("this run", INK, "-")]
    # The dashes of the baseline lie over the line of the run, so that both show where they are one.
    for table, look in reversed(list(zip(tables, looks[-len(tables) :], strict=True))):
        chosen = _of_tools(table, tools)
        latencies = np.sort(table.latency_s[chosen & table.ended])
        draw_curves(share, tail, latencies, int(np.count_nonzero(chosen)), look)
    dress(share, tail)
    add_legend(figure, layout)
    return figure


def _of_tools(table: CallTable, tools: set[str]) -> np.ndarray:
    return np.isin(table.tool.codes, [code for code, name in enumerate(table.tool.names) if name in tools])
