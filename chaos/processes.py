"""Child processes of a drill: started with a handle, ready when they say so, and never left behind.

Each child gets a session (on Windows: a process group) of its own, so that Ctrl-C reaches only the drill,
which then stops its children in order. Output goes to a file. A child is ready once its ready-file exists,
which the child writes atomically when it can serve. All waiting here is on real processes, so times are wall
seconds.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from reference_daemon.policy.errors import HarnessError

READY_WITHIN_S: Final = 30.0
"""Wall seconds that a child may take to get ready: a cold Python start on a busy machine takes a few."""

STOP_GRACE_S: Final = 5.0
"""Wall seconds between asking a child to end and ending it."""

_LOOK_EVERY_S: Final = 0.02
"""Wall seconds between looks at a ready-file; the kernel offers no portable way to wait for one."""

_TAIL_LINES: Final = 15

_Model = TypeVar("_Model")


class ChildFailedError(HarnessError):
    """A child ended, or never got ready.

    Attributes:
        name: What the child is, for example "daemon".
        what: What went wrong with it.
        log_tail: The last lines of its output.
    """

    def __init__(self, name: str, what: str, log_tail: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(name, what, log_tail)
        self.name, self.what, self.log_tail = name, what, log_tail

    def __str__(self) -> str:
        """Name the child, what went wrong, and what it said last."""
        said = f"; its last output:\n{self.log_tail}" if self.log_tail else "; it printed nothing"
        return f"{self.name} {self.what}{said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start.

    Attributes:
        name: What it is, for people.
        arguments: Program and arguments.
        environment: The whole environment of the child.
        log: File that receives its output.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path


class Child:
    """One running child; made by `Children.start`."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self._process = process

    @property
    def pid(self) -> int:
        """Process id, also of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.returncode

    def failed(self, what: str) -> ChildFailedError:
        """Make the error that says what went wrong with this child, with the tail of its log."""
        return ChildFailedError(self.command.name, what, _tail(self.command.log))

    def check_running(self) -> None:
        """Do nothing while the child runs.

        Raises:
            ChildFailedError: It has ended.
        """
        if self.exit_code is not None:
            raise self.failed(f"ended with exit status {self.exit_code}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child itself, not to its group; nothing happens if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until the child has ended; return its exit status, negative for a signal."""
        return await self._process.wait()

    async def ready(self, ready_file: Path, model: type[_Model], *, within_s: float = READY_WITHIN_S) -> _Model:
        """Wait for the ready-file and return what the child wrote there.

        Raises:
            ChildFailedError: The child ended before, took longer than `within_s` wall seconds, or wrote
            something
                that is no `model`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not ready_file.exists():
                    self.check_running()
                    await asyncio.sleep(_LOOK_EVERY_S)
            try:
                return msgspec.json.decode(ready_file.read_bytes(), type=model)
            except msgspec.MsgspecError as error:
                raise self.failed(f"wrote a ready-file that is not understood ({error})") from error
        raise self.failed(f"was not ready within {within_s:g} s")

    async def stop(self, *, grace_s: float) -> bool:
        """Ask the child to end, wait `grace_s` wall seconds, then end it; do nothing if it has ended.

        Returns:
            Whether it ended by itself or when asked.
        """
        if self.exit_code is not None:
            return True
        self._ask()
        ended = asyncio.ensure_future(self._process.wait())
        await asyncio.wait([ended], timeout=grace_s)
        if ended.done():
            return True
        self._end()
        await ended
        return False

    def _ask(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                os.killpg(self.pid, signal.SIGTERM)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)


class Children:
    """Owner of a drill's children: leaving the context stops all of them, the latest first."""

    def __init__(self, *, say: Callable[[str], None], grace_s: float = STOP_GRACE_S) -> None:
        self._say = say
        self._grace_s = grace_s
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop every child, even while the drill is being cancelled; pass a cancellation on afterwards."""
        stopping = asyncio.ensure_future(self._stop_all())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await asyncio.wait([stopping])
            raise

    async def start(self, command: Command) -> Child:
        """Start a child; it is stopped when the context is left.

        Raises:
            ChildFailedError: The program cannot be started.
        """
        starting = asyncio.ensure_future(self._start(command))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The process may exist already: keep its handle, or nobody could stop it.
            await asyncio.wait([starting])
            raise

    async def _start(self, command: Command) -> Child:
        with command.log.open("ab") as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(command.environment),
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise ChildFailedError(command.name, f"cannot be started: {reason}", "") from error
        child = Child(command, process)
        self._children.append(child)
        return child

    async def stop(self, child: Child) -> None:
        """Stop one child now, before the others."""
        if not await child.stop(grace_s=self._grace_s):
            self._say(f"{child.command.name} did not end within {self._grace_s:g} s and was killed")
        self._children.remove(child)

    async def _stop_all(self) -> None:
        while self._children:
            await self.stop(self._children[-1])


def _tail(log: Path) -> str:
    """Return the last lines of a log; nothing if there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])
