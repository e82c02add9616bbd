"""Values over two settings, each written into its cell."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reports.charts.style import EMPTY, QUIET, Layout, add_title, new_figure, say_empty, shortened
from reports.page import three_digits
from reports.study import HeatMap
from reports.table import Floats

COLOURS: Final = LinearSegmentedColormap.from_list("few-to-many", ("#e8f1fa", "#7fb0de", "#1f5c9e"))
"""From few to many; the same on a light and on a dark page."""

DARK_INK: Final = "#101418"
LIGHT_INK: Final = "#fcfdff"
"""Of the numbers: unlike the other words they do not follow the page's theme, since the cells do not."""

TURN: Final = 0.62
"""Share of the scale from which a cell is dark enough for light numbers."""

ROW: Final = 0.42
"""Height of a row in inches."""


def draw_heat_map(chart: HeatMap, layout: Layout) -> Figure:
    """Draw a cell per pair of settings; one without a value stays blank."""
    values = np.array(chart.values, dtype=np.float64).reshape(len(chart.y), len(chart.x))
    drawable = np.isfinite(values)
    figure = new_figure(layout, 1.6 + ROW * max(3, len(chart.y)) if drawable.any() else EMPTY)
    axes = figure.add_subplot()
    add_title(figure, f"{chart.title}, {chart.unit}" if chart.unit else chart.title, layout)
    if not drawable.any():
        say_empty(axes, "there is no value to draw")
        return figure
    low, high = float(values[drawable].min()), float(values[drawable].max())
    share = (values - low) / (high - low) if high > low else np.where(drawable, 0.0, np.nan)
    edges_x, edges_y = np.arange(len(chart.x) + 1) - 0.5, np.arange(len(chart.y) + 1) - 0.5
    axes.pcolormesh(edges_x, edges_y, np.ma.masked_invalid(share), cmap=COLOURS, vmin=0, vmax=1, linewidth=0)
    _write(axes, values, share, layout)
    _dress(axes, chart, layout)
    return figure


def _write(axes: Axes, values: Floats, share: Floats, layout: Layout) -> None:
    size = min(layout.value[2], 72 * 0.8 * layout.value[0] / max(1, values.shape[1]) / 3.4)
    for (row, column), value in np.ndenumerate(values):
        part = share[row, column]
        colour = QUIET if np.isnan(part) else LIGHT_INK if part > TURN else DARK_INK
        axes.text(column, row, three_digits(float(value)), ha="center", va="center", color=colour, fontsize=size)


def _dress(axes: Axes, chart: HeatMap, layout: Layout) -> None:
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    crowded = sum(map(len, chart.x)) > (70 if layout is Layout.WIDE else 28)
    axes.set_xticks(range(len(chart.x)), [shortened(name) for name in chart.x], rotation=35 if crowded else 0)
    if crowded:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    axes.set_yticks(range(len(chart.y)), [shortened(name) for name in chart.y])
    axes.invert_yaxis()
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
