"""Starts a daemon when a shim needs one and none answers.

The daemon is nobody's child for long: it gets a session of its own, reads nothing, writes to a file, and inherits no
descriptor, so that it neither ends with the shim nor holds its pipes open. Of many shims that miss it at once, one
starts it, under a lock; the others wait until it answers. Where they share no lock, because their log folders differ,
the port decides: a daemon that finds it taken ends, and its shim looks who answers there.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from filelock import FileLock, Timeout

from reference_daemon.addresses import is_loopback
from reference_daemon.policy.errors import HarnessError
from reference_daemon.settings import Settings

LOCK_FILE: Final = "ws_daemon.autostart.lock"
LOG_FILE: Final = "ws_daemon.autostart.log"
READY_FILE: Final = "ws_daemon.ready.json"
"""Says host, port and pid of the daemon while it runs."""

START_WITHIN_WALL_S: Final = 30.0
"""A cold start of Python on a busy machine takes a few seconds; whoever needs longer has another problem."""

_LOOK_EVERY_WALL_S: Final = 0.1
_TAIL_BYTES: Final = 2_000


class AutostartError(HarnessError):
    """A daemon was to be started and does not answer.

    Attributes:
        reason: What went wrong.
        log_tail: What the daemon said last.
    """

    def __init__(self, reason: str, log_tail: str = "") -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(reason, log_tail)
        self.reason, self.log_tail = reason, log_tail

    def __str__(self) -> str:
        """Say what went wrong, and what the daemon said last."""
        said = f"; it said last: {self.log_tail}" if self.log_tail else ""
        return f"the daemon was started and does not answer: {self.reason}{said}"


class Autostart:
    """Starts the daemon of one address."""

    def __init__(self, settings: Settings, log: Any, *, command: Sequence[str] | None = None) -> None:
        """Start what `settings` describe; `command` is for tests.

        `-P` keeps Python from finding, in the folder that the shim was started in, modules named like ours.
        """
        self._folder = settings.log_dir
        self._ready_file = self._folder / READY_FILE
        own = (sys.executable, "-P", "-m", "exai", "daemon", "--ready-file", str(self._ready_file))
        self._command = tuple(command) if command is not None else own
        self._log = log
        self._turn = asyncio.Lock()
        self._started: subprocess.Popen[bytes] | None = None

    @staticmethod
    def allowed(settings: Settings) -> bool:
        """Return whether a daemon may be started: wanted, and on this machine alone."""
        return settings.autostart and is_loopback(settings.host)

    async def ensure(self, answers: Callable[[], Awaitable[bool]]) -> None:
        """Return when a daemon answers; start one if none does and nobody else is starting one.

        Args:
            answers: Looks whether a daemon answers.

        Raises:
            AutostartError: None came up.
        """
        async with self._turn:  # the calls of this shim
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                async with asyncio.timeout(START_WITHIN_WALL_S):
                    await self._ensure(answers)
            except TimeoutError:
                raise AutostartError(f"not within {START_WITHIN_WALL_S:g} s", self._tail()) from None
            except OSError as error:
                raise AutostartError(f"{self._folder}: {error.strerror}") from error

    async def _ensure(self, answers: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a daemon, and start it when it is this shim's turn to."""
        lock = FileLock(self._folder / LOCK_FILE)
        while not await answers():
            try:
                lock.acquire(blocking=False)
            except Timeout:  # another shim is starting one
                await asyncio.sleep(_LOOK_EVERY_WALL_S)
                continue
            try:
                await self._start(answers)
            finally:
                lock.release()

    async def _start(self, answers: Callable[[], Awaitable[bool]]) -> None:
        """Start a daemon, unless one came up just before, and wait until it answers."""
        if await answers():
            return
        with (self._folder / LOG_FILE).open("ab") as output:
            self._started = process = self._spawn(output)
        self._log.info("daemon_autostart", pid=process.pid, log=str(self._folder / LOG_FILE))
        while not await answers():
            status = process.poll()
            if status is not None:
                if await answers():  # it found its port taken, by a daemon that had come up meanwhile
                    return
                raise AutostartError(f"it ended with exit status {status}", self._tail())
            await asyncio.sleep(_LOOK_EVERY_WALL_S)

    def _spawn(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the process, with nothing of ours but the environment and the working directory."""
        detached = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=True,
            creationflags=detached,
        )

    def _tail(self) -> str:
        """Return the end of what the daemon said."""
        return tail_of(self._folder / LOG_FILE)


def tail_of(path: Path) -> str:
    """Return the last bytes of a log as text on one line; nothing if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return " / ".join(line.strip() for line in lines[-5:] if line.strip())
