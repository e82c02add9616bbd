"""The daemon of a drill as a process that faults may signal, end and start again on its port."""

import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from chaos.processes import Child, Children, Command
from scenarios.events import AnyEvent, ProcessMove

METRICS_FILE: Final = "ws_daemon.metrics.jsonl"


class DaemonReady(msgspec.Struct, frozen=True):
    """What the daemon says once it serves."""

    host: str
    port: int
    pid: int
    boot_id: str


class DaemonProcess:
    """One daemon over all its starts.

    Attributes:
        boot: Number of its start, from 1; 0 before the first.
        port: Port on which it listens, the same over all starts.
    """

    def __init__(
        self,
        children: Children,
        *,
        settings: Mapping[str, str],
        defect: str | None,
        logs: Path,
        scratch: Path,
        note: Callable[[AnyEvent], None],
        since: Callable[[], float],
    ) -> None:
        """Prepare a daemon; nothing is started yet.

        Args:
            children: Owner of its process.
            settings: Its whole environment; port and log folder are added.
            defect: Name of a seeded defect; None for the daemon as it is.
            logs: Existing folder; each start has a log and a folder of its own in it.
            scratch: Existing folder for ready-files.
            note: Is told of starts, signals and ends.
            since: Returns the seconds since the start of the load.
        """
        self._children, self._settings, self._defect = children, settings, defect
        self._logs, self._scratch = logs, scratch
        self._note, self._since = note, since
        self._child: Child | None = None
        self._expected_end = False
        self.boot, self.port = 0, 0

    @property
    def pid(self) -> int | None:
        """Process id; None while it does not run."""
        child = self._child
        return None if child is None or child.exit_code is not None else child.pid

    @property
    def metrics_files(self) -> list[tuple[int, Path]]:
        """The event log of each start, with its number; a file may be missing."""
        return [(boot, self._logs / f"daemon-{boot}" / METRICS_FILE) for boot in range(1, self.boot + 1)]

    @property
    def text_logs(self) -> list[Path]:
        """The lines that each start wrote."""
        return [self._logs / f"daemon-{boot}.log" for boot in range(1, self.boot + 1)]

    async def start_again(self) -> None:
        """Start it, on the port that it had before, and wait until it serves.

        Raises:
            ChildFailedError: It ended, or did not get ready.
        """
        self.boot += 1
        ready_file = self._scratch / f"daemon-{self.boot}.ready.json"
        command = ["-m", "exai"] if self._defect is None else ["-m", "chaos.defects.run", self._defect, "--"]
        folder = self._logs / f"daemon-{self.boot}"
        environment = dict(self._settings) | {"EXAI_WS_PORT": str(self.port), "EXAI_LOG_DIR": str(folder)}
        self._child = await self._children.start(
            Command(
                name="daemon",
                arguments=[sys.executable, *command, "daemon", "--ready-file", str(ready_file)],
                environment=environment,
                log=self._logs / f"daemon-{self.boot}.log",
            )
        )
        ready = await self._child.ready(ready_file, DaemonReady)
        self.port = ready.port
        self._expected_end = False
        self._note(ProcessMove(at=self._since(), what="started", boot=self.boot, boot_id=ready.boot_id))

    def signal(self, name: str) -> None:
        """Send a signal to it."""
        child = self._started()
        self._expected_end = self._expected_end or name in {"SIGTERM", "SIGKILL"}
        self._note(ProcessMove(at=self._since(), what="signalled", boot=self.boot, signal=name))
        child.signal(signal.Signals[name])

    async def wait_ended(self) -> int:
        """Wait until its process has ended; return the exit status."""
        exit_code = await self._started().ended()
        self._note(ProcessMove(at=self._since(), what="ended", boot=self.boot, exit_code=exit_code))
        return exit_code

    def _started(self) -> Child:
        """Return its latest process.

        Raises:
            RuntimeError: It was never started: whoever asks has a bug.
        """
        if self._child is None:
            raise RuntimeError("the daemon was not started")
        return self._child

    def check_running(self) -> None:
        """Do nothing while it runs, or was ended on purpose.

        Raises:
            ChildFailedError: It has ended by itself.
        """
        if self._child is not None and not self._expected_end:
            self._child.check_running()

    async def stop(self) -> None:
        """End it with SIGTERM, and note how it ended."""
        if self._child is None or self._child.exit_code is not None:
            return
        self._expected_end = True
        self._note(ProcessMove(at=self._since(), what="signalled", boot=self.boot, signal="SIGTERM"))
        await self._children.stop(self._child)  # sends the signal, and SIGKILL when the grace is over
        code = self._child.exit_code
        self._note(ProcessMove(at=self._since(), what="ended", boot=self.boot, exit_code=code))
