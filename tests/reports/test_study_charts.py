"""The charts of a study: gaps, single points and empty series break none, and the words keep their place."""

import xml.etree.ElementTree as ET
from math import inf, nan

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.charts.of_study import draw_chart, draw_charts, names_of
from reports.charts.style import Layout
from reports.study import Bars, Chart, HeatMap, Lines, Scatter, Series

GAPS = (
    Series("gap", (1.0, 2.0, 3.0), (1.0, nan, 3.0), (0.5, nan, 2.0), (2.0, nan, inf)),
    Series("one point", (2.0,), (5.0,), (4.0,), (6.0,)),
    Series("none", (), ()),
    Series("nowhere", (nan, inf), (1.0, nan)),
    Series("not on a log axis", (0.0, -1.0), (1.0, 2.0)),
)

CHARTS: dict[str, Chart] = {
    "lines": Lines("lines", "Lines", "cap", "P95, s", GAPS, limits=(("timeout", 180.0),)),
    "log lines": Lines("log", "Log", "s", "share", GAPS, log_x=True),
    "empty lines": Lines("empty", "Empty", "x", "y", (Series("none", (), ()),)),
    "no series": Lines("no", "No", "x", "y", ()),
    "scatter": Scatter("scatter", "Points", "x", "y", GAPS),
    "diagonal": Scatter("qq", "Q-Q", "fitted", "seen", GAPS, diagonal=True),
    "empty scatter": Scatter("none", "None", "x", "y", ()),
    "heat map": HeatMap("map", "P95", "a", "b", ("1", "2"), ("x", "y"), ((1.0, nan), (inf, 1234.5)), "s"),
    "flat heat map": HeatMap("flat", "P95", "a", "b", ("1",), ("x",), ((5.0,),), "s"),
    "empty heat map": HeatMap("none", "P95", "a", "b", (), (), (), "s"),
    "bars": Bars("bars", "Bars", "s", ("a", "b", "c"), (1.0, nan, -2.0), (0.5, nan, -3.0), (1.5, nan, -1.0)),
    "lying bars": Bars("lying", "Bars", "", ("A_LONG_NAME" * 3, "ANOTHER" * 4), (1.0, 2.0)),
    "empty bars": Bars("none", "Bars", "s", (), ()),
}


def words(figure: Figure) -> list[str]:
    """Return the words that stand in a figure."""
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [*texts, *(text.get_text() for text in figure.texts)]


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("name", CHARTS)
def test_no_value_breaks_a_chart(name: str, layout: Layout) -> None:
    """Missing, infinite and single values, and none at all, are drawn or said, without a warning."""
    figure = draw_chart(CHARTS[name], layout)
    figure.draw_without_rendering()
    if "empty" in name or name == "no series":
        assert "there is no value to draw" in words(figure)


def test_the_same_charts_give_the_same_bytes() -> None:
    """A study can be written again and compared."""
    charts: list[Chart] = [CHARTS[name] for name in ("lines", "heat map", "lying bars")]
    assert draw_charts(charts) == draw_charts(charts)


def test_a_heat_map_has_its_values_in_the_cells() -> None:
    """Colours alone could not be read off; a cell without a value has a dash."""
    chart = HeatMap("map", "P95", "a", "b", ("1", "2"), ("x", "y"), ((0.12345, nan), (87.66, 1234.5)), "s")
    assert {"0.123", "–", "87.7", "1230"} <= set(words(draw_chart(chart, Layout.NARROW)))


def test_long_labels_turn_bars() -> None:
    """Where labels would run into each other, bars lie; on a phone their labels stand above them."""
    wide, narrow = (draw_chart(CHARTS["lying bars"], layout) for layout in Layout)
    assert [label.get_text() for label in wide.axes[0].get_yticklabels()] == ["A_LONG_NAME" * 3, "ANOTHER" * 4]
    assert "ANOTHER" * 4 in words(narrow)


def test_a_gap_is_a_gap() -> None:
    """No line leads over a value that is missing."""
    axes = draw_chart(CHARTS["lines"], Layout.WIDE).axes[0]
    assert np.isnan(np.asarray(axes.lines[0].get_ydata(), dtype=float)[1])


def test_the_diagonal_has_equal_scales() -> None:
    """Otherwise equal values would not lie on it."""
    axes = draw_chart(CHARTS["diagonal"], Layout.WIDE).axes[0]
    assert axes.get_xlim() == axes.get_ylim()


def test_lengths_that_differ_are_refused() -> None:
    """A series whose columns do not belong together is a mistake of who made it."""
    with pytest.raises(ValueError, match="series 'P95': x, y and the ends"):
        Series("P95", (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="differ in length"):
        Series("P95", (1.0, 2.0), (1.0, 2.0), (1.0,), (3.0, 4.0))


def test_equal_names_become_different_files() -> None:
    """No chart overwrites another, and none leaves its folder."""
    charts = [Lines(name, "", "", "", ()) for name in ("P95 by cap", "p95/by cap", "../..", "")]
    assert names_of(charts) == ["p95-by-cap", "p95-by-cap-2", "chart", "chart-2"]


def test_hostile_words_are_drawn_as_they_are() -> None:
    """A formula or markup in a name breaks no chart."""
    odd = "$x^{<b>&" + "工" * 30
    charts: list[Chart] = [
        Lines(odd, odd, odd, odd, (Series(odd, (1.0,), (1.0,)),)),
        Bars(odd, odd, odd, (odd,) * 3, (1, 2, 3)),
    ]
    for drawn in draw_charts(charts):
        ET.fromstring(drawn.wide)  # noqa: S314 - our own drawing
