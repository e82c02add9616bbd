"""The command `exai simulate`: files, figures, exit status, and mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import exai
import reports.write
import simulator.model.engine
from scenarios.record import read_record
from tests.simulator.small import YAML


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return the file of a small scenario."""
    path = tmp_path / "tiny.yaml"
    path.write_text(YAML, "utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return where runs are made."""
    return tmp_path / "runs"


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: plots take longer than all else, and two tests look at them."""
    monkeypatch.setattr(reports.write, "write_report", lambda *_: None)


def histories(runs: Path) -> Sequence[Path]:
    """Return the runs in the order in which they were made; those of one second have a number behind the name."""
    return sorted(runs.iterdir(), key=lambda path: (path.name.split("Z-")[0], len(path.name), path.name))


def simulate(scenario: Path | str, runs: Path, *options: str) -> int:
    """Run the command and return its exit status."""
    return exai.main(["simulate", str(scenario), "--runs-dir", str(runs), *options])


class TestFiles:
    def test_the_run_directory_is_a_drills(self, tiny: Path, runs: Path) -> None:
        """History, events, scenario and report stand where those of a drill stand, and the figures beside them."""
        assert simulate(tiny, runs) == exai.ExitCode.HELD
        (directory,) = runs.iterdir()
        assert directory.name.endswith("Z-tiny")
        for name in ("calls.parquet", "events.jsonl", "scenario.yaml", "report.html", "summary.json", "junit.xml"):
            assert (directory / name).is_file()
        assert read_record(directory).run.body.value == "simulated"

    def test_the_report_says_that_it_is_simulated(self, tiny: Path, runs: Path) -> None:
        """Page and summary name the body, and what the model leaves out."""
        text = tiny.read_text("utf-8") + "faults: [{name: standstill, at: 9, for: 9, signal: SIGSTOP}]\n"
        tiny.write_text(text, "utf-8")
        assert simulate(tiny, runs) == exai.ExitCode.UNDECIDED
        (directory,) = runs.iterdir()
        page = (directory / "report.html").read_text("utf-8")
        assert "simulated" in page
        assert "fault standstill: the model does not carry it" in page

    @pytest.mark.usefixtures("no_report")
    def test_the_same_seed_gives_the_same_history(self, tiny: Path, runs: Path) -> None:
        """Two runs of one seed keep equal calls, byte for byte; another seed gives others."""
        for seed in ("5", "5", "6"):
            simulate(tiny, runs, "--seed", seed)
        first, again, other = (path.joinpath("calls.parquet").read_bytes() for path in histories(runs))
        assert first == again
        assert first != other


@pytest.mark.usefixtures("no_report")
class TestFigures:
    def test_replications_have_intervals(self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each figure of three replications has its ends, on the terminal and in the file."""
        assert simulate(tiny, runs, "--replications", "3", "--workers", "2") == exai.ExitCode.HELD
        (directory,) = runs.iterdir()
        figures = json.loads((directory / "figures.json").read_text("utf-8"))
        assert [each["seed"] for each in figures["replications"]] == [3, 4, 5]
        assert figures["intervals"]["p95_s"]["low"] < figures["intervals"]["p95_s"]["high"]
        shown = capsys.readouterr().out
        assert "success_rate" in shown
        assert "held in the model, not on a daemon" in shown

    def test_warm_up_is_left_out(self, tiny: Path, runs: Path) -> None:
        """With a warm-up fewer calls count; the history keeps them all."""
        simulate(tiny, runs)
        simulate(tiny, runs, "--warm-up", "700")
        whole, rest = (json.loads((path / "figures.json").read_text("utf-8")) for path in histories(runs))
        assert rest["intervals"]["calls"]["mean"] < whole["intervals"]["calls"]["mean"]
        first, second = (read_record(path).calls for path in histories(runs))
        assert first == second

    def test_json_is_all_that_is_printed(self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A program reads summary and figures as one object; progress goes to stderr."""
        simulate(tiny, runs, "--json")
        printed = capsys.readouterr()
        summary = json.loads(printed.out)
        assert (summary["body"], summary["verdict"]) == ("simulated", "held")
        assert summary["figures"]["replications"][0]["calls"] == summary["calls"]
        assert "1500 s of load" in printed.err

    def test_heartbeats_and_coalescing_count(self, tiny: Path, runs: Path) -> None:
        """The history has the heartbeats of the settings, and tools are coalesced as an env file says."""
        env_file = tiny.with_name("some.env")
        env_file.write_text("EXAI_WS_PROGRESS_INTERVAL_SECS=2\nEXAI_WS_DISABLE_COALESCE_FOR_TOOLS=chat\n", "utf-8")
        tiny.write_text(YAML.replace("duration: 1500,", "duration: 1500, keys: derived,"), "utf-8")
        simulate(tiny, runs, "--env-file", str(env_file))
        (directory,) = runs.iterdir()
        calls = read_record(directory).calls
        assert {call.max_heartbeat_gap_s for call in calls if call.acked_at is not None} == {2.0}
        assert "duplicate" in {call.outcome.value for call in calls if call.tool == "analyze"}

    def test_settings_count(self, tiny: Path, runs: Path) -> None:
        """A cap of the command line stands before one of a file, and changes what comes out."""
        env_file = tiny.with_name("bad.env")
        env_file.write_text("EXAI_WS_GLOBAL_MAX_INFLIGHT=1\n", "utf-8")
        simulate(tiny, runs, "--env-file", str(env_file))
        simulate(tiny, runs, "--env-file", str(env_file), "--set", "EXAI_WS_GLOBAL_MAX_INFLIGHT=12")
        caps = [read_record(path).run.caps["global"] for path in histories(runs)]
        assert caps == [1, 12]


@pytest.mark.usefixtures("no_report")
class TestExitStatus:
    def test_violated(self, tiny: Path, runs: Path) -> None:
        """A limit that the model breaks ends with 1."""
        tiny.write_text(YAML.replace("min: 0.5", "min: 1.5"), "utf-8")
        assert simulate(tiny, runs) == exai.ExitCode.VIOLATED

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--set", "EXAI_WS_GLOBAL_MAX_INFLIHGT=3"], 'did you mean "EXAI_WS_GLOBAL_MAX_INFLIGHT"?'),
            (["--set", "EXAI_WS_GLOBAL_MAX_INFLIGHT=0"], "EXAI_WS_GLOBAL_MAX_INFLIGHT = 0"),
            (["--set", "EXAI_WS_GLOBAL_MAX_INFLIGHT"], "must be NAME=VALUE"),
            (["--env-file", "absent.env"], "there is no such file"),
            (["--warm-up", "1500"], "the load is over after 1500 s"),
            (["--replications", "0"], "--replications"),
        ],
    )
    def test_a_mistake_is_named_before_anything_runs(
        self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
    ) -> None:
        """Wrong usage ends with 2, says what is wrong, and leaves no run."""
        assert simulate(tiny, runs, *options) == exai.ExitCode.USAGE
        assert told in " ".join(capsys.readouterr().err.split())
        assert not runs.exists()

    def test_where_nothing_can_be_written_nothing_runs(
        self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A day of traffic is not simulated for a directory that cannot be made."""
        monkeypatch.setattr(simulator.model.engine, "simulate", lambda *_, **__: pytest.fail("it ran"))
        blocked = tmp_path / "file"
        blocked.write_text("")
        assert simulate(tiny, blocked / "runs") == exai.ExitCode.UNDECIDED
        assert "cannot write" in capsys.readouterr().err

    def test_a_misspelt_scenario(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A scenario that is not there is named with the nearest one that is."""
        assert simulate("backpresure", runs) == exai.ExitCode.USAGE
        assert "backpressure" in capsys.readouterr().err
