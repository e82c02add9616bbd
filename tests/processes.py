"""The real commands as processes, in an environment without anybody's settings."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOUND_S = 60.0
"""Wall seconds after which a process that does not do what is expected hangs: it starts in about one."""

SETTINGS = ("EXAI_", "GLM_", "KIMI_", "LOG_", "ENV_FILE", "WORKFLOW_", "EXPERT_")


def environment(**settings: str) -> dict[str, str]:
    """Return an environment with these settings and no others."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return {**bare, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **settings}


def exai(*arguments: str, cwd: Path, env: Mapping[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "exai", *arguments],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
    )


@dataclass
class Running:
    """A process whose stderr is read line by line.

    Attributes:
        process: The process; it leads a process group of its own.
        lines: What it wrote to stderr so far, as far as somebody waited for it.
    """

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin to read, so that the process never waits for us."""
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)

    def until(self, words: str) -> str:
        """Wait for a line with these words, and return it."""
        while True:
            line = self._queue.get(timeout=BOUND_S)
            assert line is not None, f"it ended without {words!r}: {self.lines}"
            self.lines.append(line)
            if words in line:
                return line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its status and what it wrote to stdout."""
        assert self.process.stdout is not None
        text = self.process.stdout.read()
        status = self.process.wait(timeout=BOUND_S)
        self._reader.join(timeout=BOUND_S)
        while (line := self._queue.get(timeout=BOUND_S)) is not None:
            self.lines.append(line)
        return status, text


@contextmanager
def started(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Iterator[Running]:
    """Start a command; at the end kill it, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exai", *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=BOUND_S)
        running._reader.join(timeout=BOUND_S)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@dataclass(frozen=True)
class RunningDaemon:
    """A daemon that listens.

    Attributes:
        running: Its process.
        env: The environment in which clients find it.
        folder: Its working directory.
        ready: What its ready file says.
    """

    running: Running
    env: dict[str, str]
    folder: Path
    ready: dict[str, Any]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.ready['port']}"

    def exai(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as its client."""
        return exai(*arguments, cwd=self.folder, env=self.env, stdin=stdin)

    def client(self, *arguments: str) -> AbstractContextManager[Running]:
        """Start a command as its client."""
        return started(*arguments, cwd=self.folder, env=self.env)


@contextmanager
def a_daemon(
    folder: Path, settings: Mapping[str, str] | None = None, *, port: int = 0, **more: str
) -> Iterator[RunningDaemon]:
    """Run a daemon with embedded stubs until the end of the block. Settings may be a mapping, or be named."""
    env = environment(**(settings or {}), **more)
    options = ("daemon", "--port", str(port), "--ready-file", "ready.json")
    with started(*options, cwd=folder, env=env) as running:
        running.until("daemon_started")
        ready = json.loads((folder / "ready.json").read_text("utf-8"))
        yield RunningDaemon(running, {**env, "EXAI_WS_PORT": str(ready["port"])}, folder, ready)
