"""The longest silence of each call, against the interval that the daemon promises."""

from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.charts.style import EMPTY, QUIET, SERIES, Layout, add_title, new_figure, plain_numbers, say_empty
from reports.story import Story

BINS: Final = 60

INTERVAL: Final = "heartbeat interval"
"""What the run calls the interval between two heartbeats."""


def draw_heartbeats(story: Story, layout: Layout) -> Figure:
    """Draw how many calls had which longest silence."""
    gaps = story.table.gap_s[~np.isnan(story.table.gap_s)]
    figure = new_figure(layout, 3.2 if len(gaps) else EMPTY)
    axes = figure.add_subplot()
    add_title(figure, f"Longest silence of each admitted call, s (n = {len(gaps)})", layout)
    if not len(gaps):
        say_empty(axes, "no call was admitted, so nothing was heard")
        return figure
    bound = story.run.timeouts_s.get(INTERVAL)
    right = max(float(gaps.max()), bound or 0.0, 1e-3) * 1.08
    axes.hist(gaps, np.linspace(0.0, right, BINS + 1).tolist(), color=SERIES[1])
    axes.set_yscale("symlog", linthresh=10)
    plain_numbers(axes.yaxis)
    axes.set_ylim(0.0, 2.0 * axes.get_ylim()[1])
    axes.set_xlim(0.0, right)
    axes.set_ylabel("calls")
    axes.set_xlabel("seconds without a sign of life")
    axes.xaxis.set_major_locator(MaxNLocator(8 if layout is Layout.WIDE else 5))
    if bound is not None:
        axes.axvline(bound, color=QUIET, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.annotate(
            f"{INTERVAL} {bound:g} s",
            (bound, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            color=QUIET,
            fontsize="small",
        )
    return figure
