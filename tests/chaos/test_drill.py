"""The drill as people run it: a real daemon, a real Toxiproxy server, real processes that all end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scenarios.history import Outcome, read_calls

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
FAST = "0.02"  # of drills that are not meant to come to their end
WITHIN_S = 60.0  # wall seconds that anything here may take on a busy machine


@dataclass
class Drill:
    """A drill that runs.

    Attributes:
        process: The command.
        runs: Where its run directory is.
        seen: Process ids of all children that it was seen to have.
    """

    process: subprocess.Popen[str]
    runs: Path
    seen: set[int]

    def children(self) -> dict[str, int]:
        """Return its children's process ids by their commands."""
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [int(pid) for pid in listing.read_text().split()]
        self.seen.update(pids)
        found = {}
        for pid in pids:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                found[next((word for word in ("daemon", "provider") if word in words), "toxiproxy")] = pid
        return found

    def wait_for_call(self, tool: str) -> dict[str, int]:
        """Wait until it says that a tool is being called, and return its children."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if f"{tool} (" in line:
                return self.children()
        raise AssertionError("the drill ended before that call")

    def wait(self) -> tuple[int, str, str]:
        """Return its exit status and what it wrote on stdout and stderr, once it and its children have ended."""
        out, err = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, out, err

    @property
    def directory(self) -> Path:
        """Its run directory."""
        (directory,) = self.runs.iterdir()
        return directory

    @property
    def summary(self) -> dict[str, Any]:
        """Its summary."""
        read: dict[str, Any] = json.loads((self.directory / "summary.json").read_text())
        return read

    def left_behind(self) -> list[int]:
        """Return children that still run."""
        return [pid for pid in self.seen if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Drill]]:
    """Return a starter of drills; none outlives its test."""
    drills: list[Drill] = []

    def begin(*options: str, runs: Path = tmp_path / "runs") -> Drill:
        command = [sys.executable, "-m", "exai", "drill", "--runs-dir", str(runs), *options]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"EXAI_WS_TOKEN": "the user's own", "GLM_API_URL": "http://192.0.2.1/"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        drills.append(Drill(process, runs, set()))
        return drills[-1]

    yield begin
    for drill in drills:
        if drill.process.poll() is None:
            drill.process.terminate()
        drill.process.communicate(timeout=WITHIN_S)


Start = Callable[..., Drill]


@pytest.mark.slow
def test_the_built_in_drill_is_green_and_leaves_nothing_running(start: Start) -> None:
    """Six calls, a fault that bit, all files, exit status 0; a quarter of a minute is the calls themselves."""
    drill = start("--json")
    drill.wait_for_call("testgen")
    status, out, err = drill.wait()
    assert status == 0, err
    assert json.loads(out) == drill.summary
    assert {result["name"]: result["verdict"] for result in drill.summary["expectations"]} == {
        "success_rate": "held",
        "call_summaries": "held",
        "heartbeats": "held",
        "daemon_errors": "held",
        "fault_bit": "held",
    }
    calls = read_calls(drill.directory / "calls.parquet")
    assert [call.faults for call in calls] == [()] * 3 + [("client-latency",)] * 3
    assert all(35 <= call.latency_s <= 60 for call in calls if call.latency_s is not None)
    for name in ("report.html", "plots/latency.svg", "plots/latency.png", "logs/daemon.log"):
        assert (drill.directory / name).stat().st_size > 0
    assert len(drill.seen) == 3
    assert drill.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_keeps_what_was_seen(start: Start, number: signal.Signals) -> None:
    """The call that was cut off is unknown, the verdict undecided, the exit status 130."""
    drill = start("--time-scale", FAST)
    drill.wait_for_call("codereview")
    drill.process.send_signal(number)
    status, out, _ = drill.wait()
    assert status == 130
    assert drill.left_behind() == []
    outcomes = [call.outcome for call in read_calls(drill.directory / "calls.parquet")]
    assert outcomes == [Outcome.OK, Outcome.UNKNOWN]
    assert (drill.summary["verdict"], drill.summary["stopped_by"]) == ("undecided", "interrupted")
    assert "interrupted; the report holds what was seen until then" in out


def test_a_daemon_that_dies_is_judged(start: Start) -> None:
    """Its call was lost: the success rate is violated, and the report shows the daemon's end."""
    drill = start("--time-scale", FAST)
    os.kill(drill.wait_for_call("analyze")["daemon"], signal.SIGKILL)
    status, _, _ = drill.wait()
    assert status == 1
    assert drill.left_behind() == []
    assert drill.summary["stopped_by"].startswith("daemon ended with exit status -9")


@pytest.mark.parametrize("helper", ["toxiproxy", "provider"])
def test_a_helper_that_dies_leaves_the_drill_undecided(start: Start, helper: str) -> None:
    """Without its world a daemon cannot be judged, however its calls ended."""
    drill = start("--time-scale", FAST)
    os.kill(drill.wait_for_call("analyze")[helper], signal.SIGKILL)
    status, _, _ = drill.wait()
    assert status == 3
    assert drill.left_behind() == []
    assert "ended with exit status -9" in drill.summary["stopped_by"]


def test_two_drills_at_the_same_time_do_not_meet(start: Start) -> None:
    """Each has ports, processes and a directory of its own, in the same second and the same folder."""
    drills = [start("--time-scale", FAST) for _ in range(2)]
    children = [drill.wait_for_call("codereview") for drill in drills]
    assert not set(children[0].values()) & set(children[1].values())
    for drill in drills:
        drill.process.send_signal(signal.SIGINT)
    assert [drill.wait()[0] for drill in drills] == [130, 130]
    assert len(list(drills[0].runs.iterdir())) == 2


class TestErrors:
    def test_without_a_toxiproxy_server_the_drill_is_undecided(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing was started, no directory was made, and the reason is told."""
        monkeypatch.setenv("TOXIPROXY_SERVER", "/nowhere/toxiproxy-server")
        drill = start()
        status, out, err = drill.wait()
        assert (status, out) == (3, "")
        assert "/nowhere/toxiproxy-server" in err
        assert not drill.runs.exists()

    def test_a_place_that_cannot_be_written_is_one_clear_error(self, start: Start, tmp_path: Path) -> None:
        """One line says which path, and why; no traceback."""
        (tmp_path / "file").touch()
        status, _, err = start(runs=tmp_path / "file").wait()
        assert status == 3
        assert "exai: cannot write " in err
        assert "Traceback" not in err

    @pytest.mark.parametrize("options", [("--real-time", "--time-scale", "0.5"), ("--time-scale", "0")])
    def test_wrong_usage_ends_with_2(self, start: Start, options: tuple[str, ...]) -> None:
        """Two time scales, or one that stops time, start nothing."""
        drill = start(*options)
        assert drill.wait()[0] == 2
        assert not drill.runs.exists()
