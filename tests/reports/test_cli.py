"""The command that makes a report again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reports.cli import register
from scenarios.history import write_calls
from scenarios.load import load_scenario, shipped, to_yaml
from scenarios.record import CALLS, EVENTS, Record, encode_events
from scenarios.verdict import Judgement, Verdict


@pytest.fixture
def run_dir(tmp_path: Path, record: Record) -> Path:
    """Return the directory of a run, without a report."""
    write_calls(tmp_path / CALLS, record.calls)
    (tmp_path / EVENTS).write_bytes(encode_events(record.run, record.events))
    scenario = load_scenario(next(iter(shipped().values())))
    (tmp_path / "scenario.yaml").write_text(to_yaml(scenario))
    return tmp_path


@pytest.fixture
def app() -> typer.Typer:
    """Return an application with the command, and another beside it, so that its name is needed."""
    app = typer.Typer(rich_markup_mode=None)
    app.command("other")(lambda: None)
    register(app)
    return app


def test_judges_again_and_writes_the_report(
    app: typer.Typer, run_dir: Path, make_judgement: Callable[..., Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is printed with the page's path, and is the exit status."""
    monkeypatch.setattr("scenarios.checks.judge.judge", lambda scenario, record: make_judgement())
    result = CliRunner().invoke(app, ["report", str(run_dir)], standalone_mode=False)
    assert result.output == f"held: {run_dir / 'report.html'}\n"
    assert result.return_value == Verdict.HELD.exit_code
    assert (run_dir / "junit.xml").exists()


def test_a_folder_without_a_run_is_wrong_usage(app: typer.Typer, tmp_path: Path) -> None:
    """The message names the file that is missing."""
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert EVENTS in result.output
    assert list(tmp_path.iterdir()) == []
