"""All plots of a report, by name, and the files that they become."""

from collections.abc import Callable
from functools import partial
from typing import Final

from matplotlib.figure import Figure

from reports.charts.against import draw_against
from reports.charts.failures import draw_failures
from reports.charts.files import Drawn, drawn
from reports.charts.heartbeats import draw_heartbeats
from reports.charts.in_flight import draw_in_flight
from reports.charts.latency import draw_latency
from reports.charts.spread import draw_spread
from reports.charts.style import Layout
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


BASELINE: Final = "baseline"
"""The plot of a comparison."""


def draw_all(story: Story) -> dict[str, Drawn]:
    """Draw every plot in both layouts."""
    charts = CHARTS | ({BASELINE: draw_against} if story.baseline is not None else {})
    return {name: drawn(partial(draw, story)) for name, draw in charts.items()}
