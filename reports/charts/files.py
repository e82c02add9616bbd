"""A plot as files: for a screen, for a phone, and as a picture."""

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.charts.style import Layout, style_of, to_png, to_svg


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


def drawn(draw: Callable[[Layout], Figure]) -> Drawn:
    """Draw a plot in both layouts."""
    with mpl.rc_context(style_of(Layout.WIDE)):
        figure = draw(Layout.WIDE)
    wide, png = to_svg(figure, Layout.WIDE), to_png(figure, Layout.WIDE)
    with mpl.rc_context(style_of(Layout.NARROW)):
        narrow = to_svg(draw(Layout.NARROW), Layout.NARROW)
    return Drawn(wide=wide, narrow=narrow, png=png)
