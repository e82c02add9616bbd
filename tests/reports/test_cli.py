"""The command that makes a report again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from reports.cli import register
from reports.comparison import DEFAULT_LIMITS, LEAST_S
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


def test_a_study_is_no_run_and_names_its_runs(app: typer.Typer, run_dir: Path, tmp_path: Path) -> None:
    """Who gives the directory of a validation is led to the runs in it."""
    study = tmp_path / "study"
    shutil.copytree(run_dir, study / "real", ignore=lambda *_: {"study"})
    (study / "summary.json").write_text("{}")
    result = CliRunner().invoke(app, ["report", str(study)], env={"COLUMNS": "1000"})
    assert result.exit_code == 2
    assert f"is a study and no run: its runs are {study / 'real'}" in result.output
    result = CliRunner().invoke(app, ["report", str(run_dir), "--baseline", str(study)], env={"COLUMNS": "1000"})
    assert "is a study and no run" in result.output


def test_the_help_has_every_default(app: typer.Typer) -> None:
    """What counts as worse if nobody says anything stands where a person looks for it."""
    text = " ".join(CliRunner().invoke(app, ["report", "--help"], env={"COLUMNS": "1000"}).output.split())
    assert "MEASURE=LEAST" in text
    for name, least in DEFAULT_LIMITS.items():
        assert f"{name}={100 * least:g}%" in text
    assert f"{LEAST_S:g} s" in text
    assert "Exit status:" in text


class TestBaseline:
    @pytest.fixture
    def other_dir(self, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the directory of another run of the same thing."""
        return Path(shutil.copytree(run_dir, tmp_path_factory.mktemp("other") / "run"))

    def test_a_comparison_is_printed_and_decides(
        self,
        app: typer.Typer,
        run_dir: Path,
        other_dir: Path,
        make_judgement: Callable[..., Judgement],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Six calls held what was expected, but say nothing against a baseline: undecided, and it is said."""
        monkeypatch.setattr("scenarios.checks.judge.judge", lambda *_: make_judgement())
        result = CliRunner().invoke(
            app, ["report", str(run_dir), "--baseline", str(other_dir), "--limit", "p95=20%"], standalone_mode=False
        )
        assert result.return_value == Verdict.UNDECIDED.exit_code
        assert "undecided: 0 of 0 measures are worse than in smoke-sequential" in result.output
        assert (run_dir / "plots" / "baseline.png").exists()
        assert not (other_dir / "report.html").exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--limit", "p95=20%"], "--baseline is missing"),
            (["--baseline", "OTHER", "--limit", "p42=1"], "none of p50"),
            (["--baseline", "SELF"], "no baseline of its own"),
        ],
    )
    def test_wrong_usage_is_refused(
        self, app: typer.Typer, run_dir: Path, other_dir: Path, options: list[str], words: str
    ) -> None:
        """Nothing is written when the comparison cannot be what was meant."""
        paths = {"OTHER": str(other_dir), "SELF": str(run_dir)}
        result = CliRunner().invoke(app, ["report", str(run_dir), *(paths.get(each, each) for each in options)])
        assert result.exit_code == 2
        assert words in " ".join(result.output.split())
        assert not (run_dir / "report.html").exists()

    def test_a_folder_without_a_run_is_no_baseline(self, app: typer.Typer, run_dir: Path, tmp_path: Path) -> None:
        """The message names the file that is missing."""
        (empty := tmp_path / "empty").mkdir()
        result = CliRunner().invoke(app, ["report", str(run_dir), "--baseline", str(empty)])
        assert result.exit_code == 2
        assert "events.jsonl" in result.output
