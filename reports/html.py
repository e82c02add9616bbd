"""The report: one page that needs nothing but itself, light and dark, for screen, phone and paper."""

import re
from collections.abc import Sequence
from typing import Final

import jinja2
from markupsafe import Markup

from reports import plots
from reports.summary import Summary
from scenarios.history import Call

_THEMED: Final = {
    plots.INK: "var(--ink)",
    plots.QUIET: "var(--quiet)",
    plots.GRID: "var(--line)",
    plots.SHADE: "var(--fault)",
    plots.PAPER: "var(--paper)",
}
"""Colours of the plots that follow the page's theme; those of the outcomes are legible on both."""

_PROLOGUE: Final = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
_ID: Final = re.compile(r'(\bid="|href="#|url\(#)')


def render(summary: Summary, calls: Sequence[Call]) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    page = environment.get_template("report.html.j2")
    return page.render(
        summary=summary,
        run=summary.run,
        calls=calls,
        wide=_inline(plots.latency_svg(summary.run, calls, plots.Layout.WIDE), "wide"),
        narrow=_inline(plots.latency_svg(summary.run, calls, plots.Layout.NARROW), "narrow"),
    )


def _inline(svg: bytes, name: str) -> Markup:
    """Make an SVG file part of a page: without its prologue, with ids of its own, in the page's colours."""
    text = _ID.sub(rf"\1{name}-", _PROLOGUE.sub("", svg.decode()))
    for colour, variable in _THEMED.items():
        text = text.replace(colour, variable)
    return Markup(text)  # noqa: S704 - our own drawing; its letters are paths, not text


def _seconds(value: float | None) -> str:
    """Write a duration for a table; nothing was seen, nothing is claimed."""
    return "–" if value is None else f"{value:.1f}"
