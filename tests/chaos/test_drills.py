"""Drills as people run them: a real daemon, a real Toxiproxy server, real processes that all end."""

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

from scenarios.history import read_calls
from scenarios.record import read_record

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 100.0  # wall seconds that anything here may take on a busy machine

SMALL = """\
name: small
title: Two calls, and a link that goes down
time_scale: 0.05
providers:
  GLM: {latency: {constant: {value: 30}}}
load:
  - {phase: one, duration: 40, clients: 2, arrivals: {uniform: {gap: 20}}, sequence: [analyze]}
faults:
  - {at: 25, for: 10, link: client-daemon, toxic: down}
expect:
  - {metric: success_rate, min: 1}
  - {metric: executions, min: 2, max: 2}
  - {invariants: all}
"""

LONG = """\
name: long
title: A call that nobody waits for
time_scale: 0.05
providers:
  GLM: {latency: {constant: {value: 80}}}
load:
  - {phase: one, duration: 400, arrivals: {uniform: {gap: 80}}, sequence: [analyze]}
faults:
  - {at: 1, for: 300, link: client-daemon, toxic: {latency: {latency: 1}}}
expect:
  - {metric: success_rate, min: 1}
"""


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

    def wait_for(self, words: str) -> dict[str, int]:
        """Wait until it says something, and return its children."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return self.children()
        raise AssertionError(f"the drill ended without {words!r}")

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


Start = Callable[..., Drill]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a starter of commands with a scenario file; none outlives its test."""
    drills: list[Drill] = []

    def begin(scenario: str, *options: str) -> Drill:
        file = tmp_path / "scenario.yaml"
        file.write_text(scenario)
        runs = tmp_path / "runs"
        command = [sys.executable, "-m", "exai", "drill", str(file), "--runs-dir", str(runs), *options]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"EXAI_WS_CALL_TIMEOUT": "1", "GLM_API_URL": "http://192.0.2.1/"},
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


def test_a_drill_is_green_and_leaves_everything_but_processes(start: Start) -> None:
    """Two calls over a link that goes down: both end, each was executed once, all files are there, nothing runs on."""
    drill = start(SMALL, "--json")
    drill.wait_for("the load runs")
    status, out, err = drill.wait()
    assert status == 0, err + out
    assert json.loads(out) == drill.summary
    for name in ("calls.parquet", "events.jsonl", "scenario.yaml", "summary.md", "junit.xml", "report.html"):
        assert (drill.directory / name).stat().st_size > 0
    record = read_record(drill.directory)
    (fault,) = record.run.faults
    assert fault.proof is not None
    assert (fault.proof.bit, fault.proof.healed) == (True, True)
    assert drill.left_behind() == []


def test_an_old_run_is_judged_again(start: Start) -> None:
    """`exai judge` comes to the verdict of the drill, from its files alone."""
    drill = start(SMALL, "--json")
    assert drill.wait()[0] == 0
    command = [sys.executable, "-m", "exai", "judge", str(drill.directory), "--json"]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert again.returncode == 0
    assert json.loads(again.stdout)["verdict"] == drill.summary["verdict"]


def test_a_missed_expectation_is_status_1(start: Start) -> None:
    """What was judged and missed is told with its count."""
    drill = start(SMALL.replace("executions, min: 2, max: 2", "executions, min: 7"))
    status, out, _ = drill.wait()
    assert status == 1
    assert "executions" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_keeps_what_was_seen(start: Start, number: signal.Signals) -> None:
    """The verdict is undecided, the exit status 130, the files are there, and no child is left."""
    drill = start(LONG)
    drill.wait_for("fault on")
    drill.process.send_signal(number)
    status, _, err = drill.wait()
    assert status == 130, err
    assert drill.summary["verdict"] == "undecided"
    assert read_calls(drill.directory / "calls.parquet") is not None
    assert drill.left_behind() == []


def test_a_daemon_that_dies_by_itself_ends_the_drill(start: Start) -> None:
    """It is noticed at once, the drill is undecided and says why."""
    drill = start(LONG)
    children = drill.wait_for("the load runs")
    os.kill(children["daemon"], signal.SIGKILL)
    status, out, err = drill.wait()
    assert status == 3, err
    assert "daemon ended" in out
    assert drill.left_behind() == []


def test_a_daemon_that_is_not_there_is_an_environment_that_failed(start: Start) -> None:
    """With a target where nobody listens the command ends with 3 and names the target; no run directory is made."""
    drill = start(SMALL, "--target", "ws://127.0.0.1:9")
    status, _, err = drill.wait()
    assert status == 3
    assert "nobody listens at ws://127.0.0.1:9" in err
    assert not drill.runs.exists()


def test_mistakes_are_told_before_anything_starts(start: Start) -> None:
    """A scenario with mistakes ends with status 2, naming line, key and the nearest name; no run directory is made."""
    drill = start(SMALL.replace("success_rate", "sucess_rate").replace("time_scale", "timescale"))
    status, _, err = drill.wait()
    assert status == 2
    assert "scenario.yaml:3" in err
    assert "success_rate" in err
    assert not drill.runs.exists()
