"""One value per label, with its interval, and the number beside it."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.charts.style import EMPTY, INK, QUIET, SERIES, Layout, add_title, new_figure, say_empty
from reports.page import three_digits
from reports.study import Bars
from reports.table import Floats

ROW: Final = {Layout.WIDE: 0.36, Layout.NARROW: 0.62}
"""Height of a lying bar's row in inches; on a phone its label stands above it."""

ROOM: Final = {Layout.WIDE: 60, Layout.NARROW: 28}
"""Letters that all labels together may have under upright bars."""


def draw_bars(chart: Bars, layout: Layout) -> Figure:
    """Draw upright bars; lying ones when their labels would not fit under them."""
    values = np.asarray(chart.values, dtype=np.float64)
    lying = sum(len(label) + 2 for label in chart.labels) > ROOM[layout]
    height = 0.9 + ROW[layout] * max(2, len(values)) if lying else 3.2
    figure = new_figure(layout, height if np.isfinite(values).any() else EMPTY)
    axes = figure.add_subplot()
    add_title(figure, f"{chart.title}, {chart.unit}" if chart.unit else chart.title, layout)
    if not np.isfinite(values).any():
        say_empty(axes, "there is no value to draw")
        return figure
    low, high = (np.asarray(ends or chart.values, dtype=np.float64) for ends in (chart.low, chart.high))
    seen = np.where(np.isfinite(values), values, 0.0)
    places = np.arange(len(values), dtype=np.float64)
    if lying:
        axes.barh(places, seen, 0.55, color=SERIES[1], zorder=2)
        axes.hlines(places, low, high, color=INK, linewidth=1.6, zorder=3)
        _label_rows(axes, chart, layout)
    else:
        axes.bar(places, seen, 0.65, color=SERIES[1], zorder=2)
        axes.vlines(places, low, high, color=INK, linewidth=1.6, zorder=3)
        _label_columns(axes, chart)
    _number(axes, values, np.fmax(np.fmax(np.where(np.isfinite(high), high, seen), seen), 0.0), lying=lying)
    return figure


def _number(axes: Axes, values: Floats, ends: Floats, *, lying: bool) -> None:
    """Write each value beyond its bar and interval."""
    for place, (value, end) in enumerate(zip(values, ends, strict=True)):
        axes.annotate(
            three_digits(float(value)),
            (end, place) if lying else (place, end),
            xytext=(5, 0) if lying else (0, 4),
            textcoords="offset points",
            ha="left" if lying else "center",
            va="center" if lying else "bottom",
            color=INK if np.isfinite(value) else QUIET,
            fontsize="small",
        )


def _label_rows(axes: Axes, chart: Bars, layout: Layout) -> None:
    places = range(len(chart.labels))
    if layout is Layout.WIDE:
        axes.set_yticks(places, chart.labels, color=INK)
    else:
        axes.set_yticks([])
        for place, label in zip(places, chart.labels, strict=True):
            axes.annotate(label, (0, place - 0.3), xytext=(2, 1), textcoords="offset points", va="bottom")
    axes.set_ylim(len(chart.labels) - 0.5, -0.75)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.14)


def _label_columns(axes: Axes, chart: Bars) -> None:
    axes.set_xticks(range(len(chart.labels)), chart.labels, color=INK)
    axes.set_xlim(-0.6, len(chart.labels) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
