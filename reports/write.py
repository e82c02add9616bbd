"""The files of a report, each whole or not there, in the directory of its run."""

import os
from collections.abc import Iterator
from pathlib import Path

from reports import html
from reports.charts.gallery import draw_all
from reports.junit import to_junit
from reports.markdown import to_markdown
from reports.story import story_of
from reports.summary import Summary, summarize, to_json
from reports.table import CallTable, table_of
from scenarios.record import Record
from scenarios.verdict import Judgement


class ReportError(Exception):
    """A file of the report cannot be written.

    Attributes:
        path: Which.
        reason: Why not.
        exit_code: Exit status of a command that ends with it: undecided.
    """

    exit_code = 3

    def __init__(self, path: Path, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """Name the file and the reason."""
        return f"cannot write {self.path}: {self.reason}"


def write_report(directory: Path, record: Record, judgement: Judgement) -> Summary:
    """Write `summary.json`, `summary.md`, `junit.xml`, `report.html` and `plots/` into an existing directory.

    What a machine reads comes first, so that no drawing can cost a verdict. The same record and judgement give
    the same bytes.

    Raises:
        ReportError: A file cannot be written.
    """
    table = table_of(record.calls)
    summary = summarize(record, judgement, table)
    for name, content in _files(summary, record, table):
        path = directory / name
        try:
            _write(path, content)
        except OSError as error:
            raise ReportError(path, error.strerror or type(error).__name__) from error
    return summary


def _files(summary: Summary, record: Record, table: CallTable) -> Iterator[tuple[str, bytes]]:
    yield "summary.json", to_json(summary)
    yield "summary.md", to_markdown(summary).encode()
    yield "junit.xml", to_junit(summary)
    story = story_of(record, summary, table)
    drawn = draw_all(story)
    for name, files in drawn.items():
        yield f"plots/{name}.svg", files.wide
        yield f"plots/{name}.png", files.png
    yield "report.html", html.render(story, drawn).encode()


def _write(path: Path, content: bytes) -> None:
    """Write a file; readers see the old one or the whole new one, never a part."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)  # noqa: PTH105 - Path.replace is the same call; the pair reads as one step
    finally:
        part.unlink(missing_ok=True)
