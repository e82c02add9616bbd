"""The command `exai sweep`: what it writes, what it says, and what it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import exai
from simulator.replication.metrics import FIGURES
from tests.simulator.small import YAML

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60.0
"""Wall seconds after which a command hangs."""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Return the file of a small scenario."""
    path = tmp_path / "tiny.yaml"
    path.write_text(YAML, "utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return where sweeps are made."""
    return tmp_path / "runs"


def sweep(scenario: Path, runs: Path, *options: str) -> int:
    """Run the command with two workers and return its exit status."""
    return exai.main(["sweep", str(scenario), "--runs-dir", str(runs), "--workers", "2", *options])


class TestResult:
    def test_table_report_and_costs(self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A row for each setting in both, the best one marked, and what it took."""
        options = ("--vary", "EXAI_WS_GLOBAL_MAX_INFLIGHT=1,12", "--replications", "4", "--warm-up", "100")
        assert sweep(tiny, runs, *options) == exai.ExitCode.HELD
        (directory,) = runs.iterdir()
        assert directory.name.endswith("Z-sweep-tiny")
        rows = list(csv.DictReader((directory / "sweep.csv").read_text("utf-8").splitlines()))
        assert [row["EXAI_WS_GLOBAL_MAX_INFLIGHT"] for row in rows] == ["1", "12"]
        summary = json.loads((directory / "summary.json").read_text("utf-8"))
        assert summary["facts"]["best"] == {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "12"}
        assert summary["facts"]["seeds"] == [3, 4, 5, 6]
        assert (directory / "report.html").is_file()
        printed = capsys.readouterr()
        assert "2 settings × 4 replications = 8 runs on 2 workers" in printed.err
        assert "8 runs, " in printed.out
        assert "calls/s" in printed.out
        assert "is best at EXAI_WS_GLOBAL_MAX_INFLIGHT=12" in printed.out

    def test_json_is_the_summary(self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A program reads the study as it stands in the directory."""
        sweep(tiny, runs, "--vary", "load.0.rate=0.05,0.1", "-n", "1", "--seed", "9", "--json")
        (directory,) = runs.iterdir()
        printed = capsys.readouterr().out
        assert printed == (directory / "summary.json").read_text("utf-8")
        assert json.loads(printed)["facts"]["seeds"] == [9]


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--vary", "EXAI_WS_GLOBAL_MAX_INFLIGHT=4,0"], "EXAI_WS_GLOBAL_MAX_INFLIGHT = 0"),
            (["--vary", "EXAI_WS_GLOBAL_MAX_INFLIHGT=4"], 'did you mean "EXAI_WS_GLOBAL_MAX_INFLIGHT"?'),
            (["--vary", "load.0.rat=4"], 'did you mean "rate"?'),
            (["--vary", "load.0.rate=-4"], "must be above 0"),
            (["--vary", "load.0.rate=1..0"], "a range goes up"),
            (["--vary", "load.0.rate=1", "--by", "sucess_rate"], 'did you mean "success_rate"?'),
            (["--vary", "load.0.rate=1", "--by", "calls"], "no such figure to rank by"),
            (["--vary", "load.0.duration=10,1500", "--warm-up", "20"], "the load is over after 10 s"),
            ([], "--vary"),
        ],
    )
    def test_a_mistake_is_named_before_anything_runs(
        self, tiny: Path, runs: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
    ) -> None:
        """Wrong usage ends with 2, says what is wrong, and leaves nothing behind."""
        assert sweep(tiny, runs, *options) == exai.ExitCode.USAGE
        printed = capsys.readouterr()
        assert told in " ".join(printed.err.split())
        assert "settings ×" not in printed.err
        assert not runs.exists()

    def test_a_directory_that_cannot_be_made_costs_no_work(
        self, tiny: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It ends with 3 before the first run, and not with the last one's results lost."""
        blocked = tiny / "runs"  # below a file
        assert sweep(tiny, blocked, "--vary", "load.0.rate=0.05,0.1") == exai.ExitCode.UNDECIDED
        assert "cannot write" in (told := capsys.readouterr().err)
        assert "settings ×" not in told


def test_the_help_lists_what_settings_are_ranked_by(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure with its direction, and what each exit status means."""
    assert exai.main(["sweep", "--help"]) == exai.ExitCode.HELD
    text = " ".join(capsys.readouterr().out.split())
    listed = text.partition("settings are ranked: ")[2].partition("(less is better)")[0]
    more, _, less = listed.partition("(more is better);")
    for better, names in (("more", more), ("less", less)):
        assert {name.strip() for name in names.split(",")} == {
            name for name, figure in FIGURES.items() if figure.better == better
        }
    assert "Exit status: 0 done; 2 wrong usage; 3" in text


@pytest.mark.slow  # real processes: a command and its two workers
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process there")
class TestEnd:
    def test_ctrl_c_ends_it_at_once(self, tiny: Path, runs: Path) -> None:
        """In the middle of thousands of runs Ctrl-C ends command and workers with 130, and leaves no result."""
        process, lines = at_work(tiny, runs)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: command and workers
        rest = process.communicate(timeout=BOUND_S)[1]
        assert process.returncode == exai.ExitCode.INTERRUPTED
        assert rest.splitlines()[-1:] == ["interrupted"], lines
        assert list(runs.iterdir()) == []

    def test_a_command_that_is_killed_leaves_no_worker(self, tiny: Path, runs: Path) -> None:
        """Its workers see that it is gone and end: nobody holds its stderr any more."""
        process, _ = at_work(tiny, runs)
        process.kill()  # the command alone
        process.communicate(timeout=BOUND_S)  # to the end of stderr, which the workers have inherited
        assert process.returncode == -signal.SIGKILL


def at_work(scenario: Path, runs: Path) -> tuple[subprocess.Popen[str], list[str]]:
    """Start a sweep of thousands of runs in a process group of its own; return when its workers are at work."""
    arguments = ["sweep", str(scenario), "--vary", "load.0.rate=1..20", "-n", "2000", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "exai", *arguments, "--runs-dir", str(runs)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    while " to go" not in "".join(lines[-1:]):
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
    return process, lines
