"""The files of a study's report: the same kinds as those of a run, and the same look."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from reports.cells import is_link, is_number, is_verdict, shown
from reports.charts.files import Drawn
from reports.charts.of_study import draw_charts, names_of
from reports.inline import inline
from reports.junit import study_to_junit
from reports.markdown import study_to_markdown
from reports.page import environment
from reports.study import Bars, Chart, HeatMap, Study
from scenarios.run_directory import write_whole

SCHEMA_VERSION: Final = 1
"""Of a study's `summary.json`; raised when a field changes its meaning or goes."""


def write_study(directory: Path, study: Study) -> None:
    """Write `summary.json`, `summary.md`, `report.html`, `plots/` and, with a verdict, `junit.xml`.

    What a machine reads comes first, so that no drawing can cost a result. The directory must exist. The same study
    gives the same bytes.

    Raises:
        RunDirectoryError: A file cannot be written.
    """
    for name, content in _files(study):
        write_whole(directory / name, content)


def _files(study: Study) -> Iterator[tuple[str, bytes]]:
    yield "summary.json", study_to_json(study)
    yield "summary.md", study_to_markdown(study).encode()
    if study.verdict is not None:
        yield "junit.xml", study_to_junit(study)
    charts = [chart for section in study.sections for chart in section.charts]
    drawn = dict(zip(names_of(charts), draw_charts(charts), strict=True))
    for name, files in drawn.items():
        yield f"plots/{name}.svg", files.wide
        yield f"plots/{name}.png", files.png
    yield "report.html", render_study(study, drawn).encode()


def study_to_json(study: Study) -> bytes:
    """Return the study as indented JSON. A number that is none (NaN, infinite) is null."""
    summary = {
        "schema_version": SCHEMA_VERSION,
        "kind": study.kind,
        "name": study.name,
        "headline": study.headline,
        "verdict": study.verdict,
        "expectations": study.expectations,
        "facts": study.facts,
        "tables": [
            {"section": section.heading, "caption": table.caption, "columns": table.columns, "rows": table.rows}
            for section in study.sections
            for table in section.tables
        ],
        "charts": [_chart_fields(chart) for section in study.sections for chart in section.charts],
        "settings": study.settings,
    }
    return msgspec.json.format(msgspec.json.encode(summary, enc_hook=_plain), indent=2) + b"\n"


def _chart_fields(chart: Chart) -> dict[str, Any]:
    """Return what a chart says in numbers; the points of lines and scatters would only make the file long."""
    if isinstance(chart, Bars | HeatMap):
        return dataclasses.asdict(chart)
    return {"name": chart.name, "title": chart.title, "series": [series.label for series in chart.series]}


def _plain(value: object) -> object:
    """Turn what computations return into what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, float | int | str):  # a subclass
        return type(value).__mro__[1](value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def render_study(study: Study, drawn: Mapping[str, Drawn]) -> str:
    """Return the page as text."""
    names = iter(drawn)
    plots = [
        [(chart.title, _inlined(name, drawn[name])) for chart, name in zip(section.charts, names, strict=False)]
        for section in study.sections
    ]
    made = environment()
    made.filters["cell"] = shown
    made.tests |= {"numeric": is_number, "verdict": is_verdict, "link": is_link}
    return made.get_template("study.html.j2").render(study=study, plots=plots)


def _inlined(name: str, files: Drawn) -> dict[str, str]:
    return {"wide": inline(files.wide, f"{name}-wide"), "narrow": inline(files.narrow, f"{name}-narrow")}
