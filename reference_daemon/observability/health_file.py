"""The daemon's figures in a file, for when it cannot be asked: a daemon that hangs, or that was killed, says nothing.

The file is replaced as a whole every few seconds, and removed at an orderly end: one that is still there, and old, is
the last that was heard of a daemon. A disk that is full costs the file its youth, and the daemon nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import structlog

from reference_daemon.clock import Clock
from reference_daemon.ready_file import ReadyFileError, write_ready_file

HEALTH_FILE: Final = "ws_daemon.health.json"

INTERVAL_S: Final = 5.0
"""Seconds between two versions."""

LEAST_INTERVAL_WALL_S: Final = 1.0
"""However time is scaled, people read no faster."""


class HealthFile:
    """Keeps the file up to date between `async with` and its end."""

    def __init__(self, path: Path, url: str, figures: Callable[[], dict[str, Any]], clock: Clock) -> None:
        """Write what `figures` returns, the daemon's `url` and this process's pid to `path`."""
        self._path, self._url, self._figures, self._clock = path, url, figures, clock
        self._interval_s = max(INTERVAL_S, LEAST_INTERVAL_WALL_S / clock.scale)
        self._log = structlog.get_logger().bind()
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Write the first version, and begin to replace it."""
        self.write()
        self._task = asyncio.create_task(self._keep_writing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and remove the file, unless it is another daemon's by now."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if (read_health(self._path) or {}).get("pid") == os.getpid():
            with contextlib.suppress(OSError):
                self._path.unlink()

    def write(self) -> None:
        """Replace the file; say once that it cannot be written, until it can."""
        try:
            write_ready_file(self._path, {**self._figures(), "url": self._url})
        except ReadyFileError as error:
            if not self._failed:
                self._log.warning("health_file_failed", reason=str(error))
            self._failed = True
        else:
            self._failed = False

    async def _keep_writing(self) -> None:
        while True:
            await self._clock.sleep(self._interval_s)
            self.write()


def read_health(path: Path) -> dict[str, Any] | None:
    """Return what the file says; None if there is none, or it is none of ours."""
    try:
        facts = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return facts if isinstance(facts, dict) else None
