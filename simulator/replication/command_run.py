"""Another command of ours, run to its end: also where somebody has had enough, for it has processes of its own."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

BY_ITSELF_S: Final = 2.0
"""Wall seconds for a command to end that Ctrl-C in a terminal has reached, too, before it is asked to."""

GRACE_S: Final = 60.0
"""Wall seconds for a command to end that was asked to: a drill gives each of its processes five, then reports."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended.

    Attributes:
        status: Its exit status.
        output: What it wrote to stdout.
        last_words: The last line that it wrote to stderr, if that was kept.
    """

    status: int
    output: str
    last_words: str = ""


def run_command(
    command: Sequence[str], *, quiet: bool = False, by_itself_s: float = BY_ITSELF_S, grace_s: float = GRACE_S
) -> Finished:
    """Run a command to its end.

    Ctrl-C, and whatever else ends this, first lets it end in order: killed, it would leave its own processes behind.

    Args:
        command: The program and its arguments.
        quiet: Whether its stderr is kept from the terminal.
        by_itself_s: Wall seconds after Ctrl-C before it is asked to end.
        grace_s: Wall seconds after that before it is killed.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else None, text=True
    ) as process:
        try:
            output, said = process.communicate()
        except BaseException:
            with _patiently():
                _end(process, by_itself_s, grace_s)
            raise
    lines = (said or "").strip().splitlines()
    return Finished(process.returncode, output, lines[-1].strip() if lines else "")


def _end(process: subprocess.Popen[str], by_itself_s: float, grace_s: float) -> None:
    """Wait for a command to end, then ask it to, then kill it."""
    if _ended(process, by_itself_s):
        return
    process.send_signal(signal.SIGINT if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    if not _ended(process, grace_s):
        process.kill()


def _ended(process: subprocess.Popen[str], within_s: float) -> bool:
    try:
        process.communicate(timeout=within_s)  # reads on: a command that writes to a full pipe would never end
    except subprocess.TimeoutExpired:
        return False
    return True


@contextlib.contextmanager
def _patiently() -> Iterator[None]:
    """Let further Ctrl-C change nothing: the first one is being obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["Finished", "run_command"]
