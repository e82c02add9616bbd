"""The distribution of latencies by tool: how many took at most so long, and the tail that longer ones make."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from reports.charts.style import EMPTY, SERIES, Layout, add_legend, new_figure, plain_numbers, say_empty, shortened
from reports.story import Places, Story
from reports.table import Floats

BODY: Final = 400
"""Points of a curve below its tail."""

WHOLE: Final = 200
"""Slowest calls of a tool; each has its own point."""

WIDE_RANGE: Final = 20.0
"""From this ratio of the slowest call to the fastest, a log axis shows both."""

NEGLIGIBLE_S: Final = 1e-3

MOST_TOOLS: Final = len(SERIES)

Look = tuple[str, str, LineStyleType]
"""Name, colour and dashes of a curve."""


def draw_tail(story: Story, layout: Layout) -> Figure:
    """Draw share and tail of each tool; calls that never ended count as longer than all others."""
    wide = layout is Layout.WIDE
    table = story.table
    height = 4.0 if wide else 6.4
    figure = new_figure(layout, height if table.ended.any() else EMPTY)
    if not table.ended.any():
        axes = figure.add_subplot()
        axes.set_title("Distribution of latencies")
        say_empty(axes, "no call ended")
        return figure
    share, tail = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
    counts = table.tool.counts()
    for number, tool in enumerate(sorted(counts, key=lambda name: (-counts[name], name))[:MOST_TOOLS]):
        latencies = table.latency_s[table.tool.mask(tool)]
        ordered = np.sort(latencies[~np.isnan(latencies)])
        draw_curves(share, tail, ordered, len(latencies), (shortened(tool), SERIES[number], "-"))
    dress(share, tail)
    add_legend(figure, layout)
    return figure


def draw_curves(share: Axes, tail: Axes, ordered: Floats, n: int, look: Look) -> None:
    """Draw both curves of latencies in their order, `n` with those that never ended."""
    if not len(ordered):
        return
    ranks = curve_ranks(len(ordered))
    at_most = (ranks + 1) / n
    name, colour, dashes = look
    label = f"{name} (n = {n})"
    share.step(ordered[ranks], at_most, where="post", color=colour, label=label, linestyle=dashes, linewidth=1.4)
    # The share that took longer is 0 at the slowest call, which a log axis cannot show: count that call itself.
    tail.step(ordered[ranks], 1.0 - ranks / n, where="pre", color=colour, label=label, linestyle=dashes, linewidth=1.4)


def curve_ranks(n: int) -> Places:
    """Return the ranks that a curve of `n` values is drawn at: an even choice, and every one of its tail."""
    even = np.linspace(0, n - 1, min(n, BODY)).astype(np.intp)
    ranks: Places = np.union1d(even, np.arange(max(0, n - WHOLE), n))
    return ranks


def dress(share: Axes, tail: Axes) -> None:
    """Give both plots, once they are drawn, their axes and titles."""
    titles = ("Share of the calls that took at most so long", "Share that took longer (log axis)")
    for axes, title in zip((share, tail), titles, strict=True):
        ends = [float(end) for line in axes.lines for end in np.asarray(line.get_xdata(), dtype=np.float64)[[0, -1]]]
        if max(ends) > WIDE_RANGE * max(min(ends), NEGLIGIBLE_S):
            axes.set_xscale("symlog", linthresh=1.0)
            plain_numbers(axes.xaxis)
        axes.set_xlim(0.0, 1.05 * max(ends))
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("latency from the intended start, s")
    share.set_ylim(0.0, 1.02)
    tail.set_yscale("log")
    plain_numbers(tail.yaxis)
