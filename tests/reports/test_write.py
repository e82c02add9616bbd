"""The files of a report."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reports.write import write_report
from scenarios.record import Record
from scenarios.run_directory import RunDirectoryError
from scenarios.verdict import Judgement, Verdict


def files(directory: Path) -> dict[str, bytes]:
    """Return the content of every file."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_writes_all_files_and_returns_the_verdict(
    tmp_path: Path, record: Record, make_judgement: Callable[..., Judgement]
) -> None:
    """For people a page and plots, for CI three files; nothing half-written stays behind."""
    summary = write_report(tmp_path, record, make_judgement())
    plots = ("distribution", "failures", "heartbeats", "in-flight", "latency", "p95")
    assert sorted(files(tmp_path)) == sorted(
        ["junit.xml", "report.html", "summary.json", "summary.md"]
        + [f"plots/{name}.{kind}" for name in plots for kind in ("svg", "png")]
    )
    assert summary.verdict is Verdict.HELD


def test_the_same_run_gives_the_same_bytes(
    tmp_path: Path, record: Record, make_judgement: Callable[..., Judgement]
) -> None:
    """A report can be made again from its files and compared, byte for byte."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, record, make_judgement())
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_no_plot_of_an_earlier_comparison_stays(
    tmp_path: Path, record: Record, make_judgement: Callable[..., Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report without a baseline leaves nothing behind that no page shows; other files are left alone."""
    monkeypatch.setattr("reports.write.draw_all", lambda story: {})
    monkeypatch.setattr("reports.html.render", lambda story, drawn: "")
    (tmp_path / "plots").mkdir()
    for name in ("baseline.svg", "baseline.png", "mine.png"):
        (tmp_path / "plots" / name).write_text("old")
    write_report(tmp_path, record, make_judgement())
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["mine.png"]


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, record: Record, make_judgement: Callable[..., Judgement]
) -> None:
    """The error says which and why, and ends a command with undecided."""
    (tmp_path / "summary.md").mkdir()
    with pytest.raises(RunDirectoryError, match=r"cannot write .*summary\.md: ") as caught:
        write_report(tmp_path, record, make_judgement())
    assert caught.value.exit_code == 3
    assert not list(tmp_path.glob(".*"))
