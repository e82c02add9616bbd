"""Charts of a study over a number: lines with their bands, and points without lines."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.charts.style import EMPTY, QUIET, SERIES, Layout, add_legend, add_title, log_ticks, new_figure, say_empty
from reports.study import Lines, Scatter, Series
from reports.table import Floats, Mask

SHAPES: Final = ("o", "s", "^", "D", "v", "P")
"""A shape for each colour, so that a print without colours can be read, too."""

DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.5)))
"""Lines of the second and third round of colours."""

MOST_MARKED: Final = 25
"""Up to so many points, each has a mark: it was measured, what lies between was not."""

FAR: Final = 0.5
"""A scale starts at 0 unless all values lie in its upper part, above this share."""


def draw_lines(chart: Lines, layout: Layout) -> Figure:
    """Draw each series as a line, and its intervals as a band."""
    if not any(_points(series, log_x=chart.log_x).any() for series in chart.series):
        return _empty(chart.title, layout)
    figure = new_figure(layout)
    axes = figure.add_subplot()
    for number, series in enumerate(chart.series):
        _draw_line(axes, series, number, log_x=chart.log_x)
    if chart.log_x:
        axes.set_xscale("log")
        log_ticks(axes.xaxis)
    _draw_limits(axes, chart)
    _from_zero(axes)
    _room_over_limits(axes, chart)
    add_title(figure, chart.title, layout)
    _dress(axes, chart)
    add_legend(figure, layout)
    return figure


def draw_scatter(chart: Scatter, layout: Layout) -> Figure:
    """Draw each point; with the diagonal, both scales are the same."""
    chosen = [_points(series) for series in chart.series]
    if not any(each.any() for each in chosen):
        return _empty(chart.title, layout)
    figure = new_figure(layout, 5.0 if chart.diagonal and layout is Layout.WIDE else None)
    axes = figure.add_subplot()
    for number, (series, points) in enumerate(zip(chart.series, chosen, strict=True)):
        _draw_points(axes, series, points, number)
    if chart.diagonal:
        _draw_diagonal(axes)
    add_title(figure, chart.title, layout)
    _dress(axes, chart)
    add_legend(figure, layout)
    return figure


def _empty(title: str, layout: Layout) -> Figure:
    figure = new_figure(layout, EMPTY)
    add_title(figure, title, layout)
    say_empty(figure.add_subplot(), "there is no value to draw")
    return figure


def _points(series: Series, *, log_x: bool = False) -> Mask:
    """Return which points can be drawn."""
    x, y = _column(series.x), _column(series.y)
    drawable: Mask = np.isfinite(x) & np.isfinite(y)
    return drawable & (x > 0) if log_x else drawable


def _column(values: tuple[float, ...]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _draw_line(axes: Axes, series: Series, number: int, *, log_x: bool) -> None:
    """Draw a series; a value that is missing is a gap, not a line over it."""
    points = _points(series, log_x=log_x)
    if not points.any():
        return
    x, y = _column(series.x), np.where(points, _column(series.y), np.nan)
    inside = np.isfinite(x) & (x > 0) if log_x else np.isfinite(x)
    colour, dashes = SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]
    marked = np.count_nonzero(points) <= MOST_MARKED
    if series.low and series.high:
        _draw_band(axes, series, points, colour)
    axes.plot(
        x[inside],
        y[inside],
        color=colour,
        linestyle=dashes,
        linewidth=1.6,
        marker=SHAPES[number % len(SHAPES)] if marked else "",
        markersize=4.5,
        label=series.label,
        zorder=3,
    )


def _draw_band(axes: Axes, series: Series, points: Mask, colour: str) -> None:
    x, low, high = _column(series.x)[points], _column(series.low)[points], _column(series.high)[points]
    if len(x) == 1:  # a band of one point has no width
        axes.vlines(x, low, high, color=colour, linewidth=2.5, alpha=0.5, zorder=2)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)


def _draw_points(axes: Axes, series: Series, points: Mask, number: int) -> None:
    if not points.any():
        return
    x, y, colour = _column(series.x)[points], _column(series.y)[points], SERIES[number % len(SERIES)]
    if series.low and series.high:
        axes.vlines(x, _column(series.low)[points], _column(series.high)[points], color=colour, alpha=0.5, zorder=2)
    size = 42 if len(x) <= MOST_MARKED else 14
    axes.scatter(x, y, s=size, color=colour, marker=SHAPES[number % len(SHAPES)], label=series.label, zorder=3)


def _draw_diagonal(axes: Axes) -> None:
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    low, high = min(ends), max(ends)
    axes.plot([low, high], [low, high], color=QUIET, linestyle=(0, (4, 3)), linewidth=1, label="equal", zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)


def _draw_limits(axes: Axes, chart: Lines) -> None:
    for name, value in chart.limits:
        axes.axhline(value, color=QUIET, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
        axes.annotate(
            f"{name} {value:g}",
            (0.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=QUIET,
            fontsize="small",
        )


def _room_over_limits(axes: Axes, chart: Lines) -> None:
    """Leave room for the name of a limit that is the highest of all."""
    bottom, top = axes.get_ylim()
    highest = max((value for _, value in chart.limits), default=bottom)
    axes.set_ylim(top=max(top, highest + 0.08 * (top - bottom)))


def _from_zero(axes: Axes) -> None:
    """Start the scale at 0 where that costs little: a cut scale makes small differences look big."""
    bottom, top = axes.get_ylim()
    if 0 < bottom < FAR * top or -0.1 * top < bottom <= 0 < top:
        axes.set_ylim(bottom=0.0)


def _dress(axes: Axes, chart: Lines | Scatter) -> None:
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
