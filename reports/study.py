"""What a report of a study says: a sweep, a tuning, a calibration, a validation, a finding.

A run of calls has its own page (`reports.write`). A study is about many runs or about a fit; it is told in sections
of tables and charts, and `reports.study_page.write_study` turns it into the same kinds of file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scenarios.verdict import ExpectationResult, Verdict


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads to a file beside the page; `target` is relative to the page."""

    text: str
    target: str


Cell = str | float | int | None | Link
"""A cell of a table: a number is shown with three significant digits and kept whole in `summary.json`; a `Verdict`
looks like one."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; each row has one cell per column."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour; `low` and `high` are the ends of an interval at each point, or empty."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or {len(self.low), len(self.high)} - {0, len(self.y)}:
            raise ValueError(f"series {self.label!r}: x, y and the ends of the intervals differ in length")


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over a number, with their intervals as bands; enough points make it a CDF."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    limits: tuple[tuple[str, float], ...] = ()
    """Named horizontal reference lines."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points without lines (a Pareto plot; a Q-Q plot, with the diagonal drawn)."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    diagonal: bool = False


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Values over two settings; `values[row][column]` belongs to `y[row]` and `x[column]`."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Bars:
    """One value per label, with the ends of its interval or without."""

    name: str
    title: str
    unit: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


Chart = Lines | Scatter | HeatMap | Bars


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, what is to be read out of it in a sentence or two, and what shows it."""

    heading: str
    text: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Study:
    """A whole study.

    Attributes:
        kind: sweep, tune, calibrate, validate, finding, compare or gate.
        name: Of the scenario or the input, as in the name of the run directory.
        headline: What came out, in one sentence.
        verdict: Of a study that can fail (validate); None where nothing is judged.
        sections: In the order of the page.
        facts: What a machine reads, as it stands in `summary.json` under `facts`; JSON values only.
        settings: Named settings, seeds and versions, for the foot of the page.
        expectations: What was judged, one by one: rows of the page, and test cases for CI.
    """

    kind: str
    name: str
    headline: str
    sections: tuple[Section, ...]
    verdict: Verdict | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    expectations: tuple[ExpectationResult, ...] = ()
