"""Commands that are run to their end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.replication.command_run import run_command

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60.0
"""Wall seconds after which a command hangs."""

CHILD = """
import pathlib, signal, sys, time
try:
    print("ready", file=sys.stderr, flush=True)
    signal.pause()
except KeyboardInterrupt:
    time.sleep(0.7)  # a drill stops its own processes: longer than a careless parent waits
    pathlib.Path(sys.argv[1]).write_text("in order")
"""
PARENT = """
import sys
from simulator.replication.command_run import run_command
run_command([sys.executable, "-c", sys.argv[1], sys.argv[2]], by_itself_s=float(sys.argv[3]), grace_s=30.0)
"""


def test_status_output_and_last_words() -> None:
    """All three come back; the words on stderr only where they are kept from the terminal."""
    code = "import sys; print('out'); print('a\\nb', file=sys.stderr); sys.exit(3)"
    done = run_command([sys.executable, "-c", code], quiet=True)
    assert (done.status, done.output, done.last_words) == (3, "out\n", "b")


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C of a terminal is a signal to a process group")
@pytest.mark.parametrize(("to_group", "by_itself_s"), [(True, "30"), (False, "0.1")])
def test_ctrl_c_lets_it_end_in_order(to_group: bool, by_itself_s: str, tmp_path: Path) -> None:
    """Whether the signal reaches both, as from a terminal, or only us: the command ends its own processes first."""
    mark = tmp_path / "mark"
    arguments = [sys.executable, "-c", PARENT, CHILD, str(mark), by_itself_s]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stderr is not None
        try:
            assert parent.stderr.readline() == "ready\n"
            os.killpg(parent.pid, signal.SIGINT) if to_group else parent.send_signal(signal.SIGINT)
            parent.communicate(timeout=BOUND_S)
        finally:
            parent.kill()
    assert mark.read_text("utf-8") == "in order"
