"""The charts of a study as files."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Final

from matplotlib.figure import Figure

from reports.charts.bars import draw_bars
from reports.charts.files import Drawn, drawn
from reports.charts.heat_map import draw_heat_map
from reports.charts.lines import draw_lines, draw_scatter
from reports.charts.style import Layout
from reports.study import Bars, Chart, HeatMap, Lines

_NO_NAME: Final = re.compile(r"[^a-z0-9.]+")
"""Letters that the name of a file had better not have."""


def draw_charts(charts: Iterable[Chart]) -> list[Drawn]:
    """Draw every chart in both layouts, in their order."""
    return [drawn(partial(draw_chart, chart)) for chart in charts]


def draw_chart(chart: Chart, layout: Layout) -> Figure:
    """Draw a chart."""
    match chart:
        case Lines():
            return draw_lines(chart, layout)
        case HeatMap():
            return draw_heat_map(chart, layout)
        case Bars():
            return draw_bars(chart, layout)
        case _:
            return draw_scatter(chart, layout)


def names_of(charts: Iterable[Chart]) -> list[str]:
    """Return a file name for each chart; of equal ones, the later have a number."""
    taken: dict[str, int] = {}
    names = []
    for chart in charts:
        name = _NO_NAME.sub("-", chart.name.lower()).strip("-.") or "chart"
        taken[name] = taken.get(name, 0) + 1
        names.append(name if taken[name] == 1 else f"{name}-{taken[name]}")
    return names
