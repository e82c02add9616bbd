"""How all plots look, and how they become files: the same run gives the same bytes.

Colours are safe for the colour-blind, and every outcome has a shape of its own, too. `Layout.NARROW` is the same
plot for a phone, not a shrunken one.
"""

import contextlib
import enum
import io
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any, Final

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from scenarios.history import Outcome

INK: Final = "#1f2430"
QUIET: Final = "#667085"
GRID: Final = "#e4e7ec"
SHADE: Final = "#b54708"
PAPER: Final = "#ffffff"

SERIES: Final = ("#1a9c70", "#3b7fc4", "#c4860a", "#8a63d2", "#dc3f3a", "#7a8699")
"""Colours of series without a meaning of their own; legible on white and on black."""

MARKS: Final[dict[Outcome, tuple[str, str]]] = {
    Outcome.OK: ("#1a9c70", "o"),
    Outcome.REPLAYED: ("#3b7fc4", "o"),
    Outcome.OVER_CAPACITY: ("#c4860a", "s"),
    Outcome.DUPLICATE: ("#8a63d2", "s"),
    Outcome.TIMEOUT: ("#dc3f3a", "X"),
    Outcome.CANCELLED: ("#7a8699", "X"),
    Outcome.PROVIDER_ERROR: ("#dc3f3a", "P"),
    Outcome.CONNECTION_LOST: ("#dc3f3a", "v"),
    Outcome.UNKNOWN: ("#7a8699", "D"),
    Outcome.SUPERSEDED: ("#8a63d2", "X"),
    Outcome.KEY_REUSED: ("#8a63d2", "P"),
    Outcome.DRAINING: ("#c4860a", "v"),
    Outcome.INTERRUPTED: ("#c4860a", "X"),
    Outcome.ERROR: ("#dc3f3a", "d"),
}
"""Colour and shape of each outcome."""


LONGEST_NAME: Final = 24
"""Letters of a name beside a plot; longer ones would squeeze it."""


EMPTY: Final = 1.6
"""Height in inches of a plot that only says why it is empty."""


class Layout(enum.Enum):
    """Width and usual height of a plot in inches, and how big its type is in points."""

    WIDE = (9.0, 4.2, 10.0)
    NARROW = (4.4, 4.4, 10.5)

    @property
    def columns(self) -> int:
        """How many entries of a legend stand side by side."""
        return 5 if self is Layout.WIDE else 2


_TITLE_LETTERS: Final = {Layout.WIDE: 90, Layout.NARROW: 42}
"""Letters of a title that fit into a line."""

_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": QUIET,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "svg.hashsalt": "report",  # ids are hashes; without a fixed salt they would differ from run to run
    "svg.fonttype": "path",  # the letters are drawn, so that no reader's fonts change the picture
    "text.color": INK,
    "text.parse_math": False,  # a dollar in somebody's words is a dollar
    "xtick.color": QUIET,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.color": QUIET,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}


def style_of(layout: Layout) -> dict[Any, Any]:
    """Return the settings under which a plot is drawn and saved."""
    return _STYLE | {"font.size": layout.value[2]}


def new_figure(layout: Layout, height: float | None = None) -> Figure:
    """Make an empty figure; `height` in inches if it is not the layout's own."""
    figure = Figure(figsize=(layout.value[0], height or layout.value[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Figure, layout: Layout) -> bytes:
    """Return the figure as SVG, transparent, without a date."""
    out = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context(style_of(layout)), _silence():
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    return out.getvalue()


def to_png(figure: Figure, layout: Layout) -> bytes:
    """Return the figure as PNG, on white."""
    out = io.BytesIO()
    with mpl.rc_context(style_of(layout)), _silence():
        figure.savefig(out, format="png", dpi=140, facecolor=PAPER, metadata={"Software": None})
    return out.getvalue()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let a word in letters that the font lacks be a box, not a warning on somebody's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def shortened(name: str) -> str:
    """Return a name that leaves room for the plot beside it."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def plain_numbers(axis: Axis) -> None:
    """Write 10 and 0.01 on a log axis, not powers."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def log_ticks(axis: Axis) -> None:
    """Mark 1, 2 and 5 of each power of ten on a log axis, so that a narrow range has marks, too."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())
    plain_numbers(axis)


def add_title(figure: Figure, words: str, layout: Layout) -> None:
    """Write the title over the whole figure, in as many lines as its width asks for."""
    lines = textwrap.fill(words, _TITLE_LETTERS[layout])
    figure.suptitle(lines, x=0.01, ha="left", fontsize="medium", fontweight="bold")


def say_empty(axes: Axes, words: str) -> None:
    """Write into an empty plot why it is empty; a blank one looks like a broken one."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=QUIET)
    axes.set_xticks([])
    axes.set_yticks([])


def add_legend(figure: Figure, layout: Layout) -> None:
    """Put one legend under the whole figure, where no mark can be mistaken for its own."""
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower left",
            ncols=layout.columns,
            frameon=False,
            labelcolor=INK,
            handletextpad=0.4,
            columnspacing=1.2,
        )
