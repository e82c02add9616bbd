"""The files of a report, each whole or not there, in the directory of its run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reports import html
from reports.charts.gallery import BASELINE, draw_all
from reports.compare import compare
from reports.comparison import Measure
from reports.junit import to_junit
from reports.markdown import to_markdown
from reports.story import story_of
from reports.summary import Summary, summarize, to_json
from reports.table import CallTable, table_of
from scenarios.record import Record
from scenarios.run_directory import RunDirectoryError, write_whole
from scenarios.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Against:
    """What a run is compared with, and the least effects that count as worse."""

    baseline: Record
    limits: Mapping[Measure, float]


def write_report(directory: Path, record: Record, judgement: Judgement, against: Against | None = None) -> Summary:
    """Write `summary.json`, `summary.md`, `junit.xml`, `report.html` and `plots/` into an existing directory.

    What a machine reads comes first, so that no drawing can cost a verdict. The same record and judgement give
    the same bytes.

    Raises:
        RunDirectoryError: A file cannot be written.
        NoComparisonError: The run cannot be compared with the other one; nothing was written.
    """
    table = table_of(record.calls)
    before, comparison = None, None
    if against is not None:
        before = table_of(against.baseline.calls)
        comparison = compare((record.run, table), (against.baseline.run, before), against.limits)
    summary = summarize(record, judgement, table, comparison)
    for name, content in _files(summary, record, table, before):
        write_whole(directory / name, content)
    if against is None:
        _forget_baseline(directory)
    return summary


def _forget_baseline(directory: Path) -> None:
    """Take away the plots of an earlier comparison: no page shows them any more."""
    for suffix in ("svg", "png"):
        path = directory / "plots" / f"{BASELINE}.{suffix}"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunDirectoryError.of(path, error) from error


def _files(
    summary: Summary, record: Record, table: CallTable, baseline: CallTable | None
) -> Iterator[tuple[str, bytes]]:
    yield "summary.json", to_json(summary)
    yield "summary.md", to_markdown(summary).encode()
    yield "junit.xml", to_junit(summary)
    story = story_of(record, summary, table, baseline)
    drawn = draw_all(story)
    for name, files in drawn.items():
        yield f"plots/{name}.svg", files.wide
        yield f"plots/{name}.png", files.png
    yield "report.html", html.render(story, drawn).encode()
