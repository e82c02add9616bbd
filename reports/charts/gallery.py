"""All plots of a report, by name, and the files that they become."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.charts.failures import draw_failures
from reports.charts.heartbeats import draw_heartbeats
from reports.charts.in_flight import draw_in_flight
from reports.charts.latency import draw_latency
from reports.charts.spread import draw_spread
from reports.charts.style import Layout, style_of, to_png, to_svg
from reports.charts.tail import draw_tail
from reports.story import Story

CHARTS: Final[dict[str, Callable[[Story, Layout], Figure]]] = {
    "latency": draw_latency,
    "p95": draw_spread,
    "failures": draw_failures,
    "in-flight": draw_in_flight,
    "heartbeats": draw_heartbeats,
    "distribution": draw_tail,
}
"""The plots, in the order of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One plot as files.

    Attributes:
        wide: SVG for a screen.
        narrow: SVG for a phone.
        png: The wide one as PNG, on white.
    """

    wide: bytes
    narrow: bytes
    png: bytes


def draw_all(story: Story) -> dict[str, Drawn]:
    """Draw every plot in both layouts."""
    return {name: _drawn(draw, story) for name, draw in CHARTS.items()}


def _drawn(draw: Callable[[Story, Layout], Figure], story: Story) -> Drawn:
    with mpl.rc_context(style_of(Layout.WIDE)):
        figure = draw(story, Layout.WIDE)
    wide, png = to_svg(figure, Layout.WIDE), to_png(figure, Layout.WIDE)
    with mpl.rc_context(style_of(Layout.NARROW)):
        narrow = to_svg(draw(story, Layout.NARROW), Layout.NARROW)
    return Drawn(wide=wide, narrow=narrow, png=png)
