"""Heartbeats of one call as a person watches them: one live line on a terminal, plain lines otherwise."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from reference_daemon import wire


class Heartbeats:
    """Shows that a call is alive, on stderr."""

    def __init__(self, tool: str) -> None:
        """Show the heartbeats of a call of `tool`."""
        self._tool = tool
        self._console = Console(file=sys.stderr)
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Begin to show, where there is a terminal."""
        if self._console.is_terminal:
            self._status = self._console.status(f"{self._tool}: sent")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the live line."""
        if self._status is not None:
            self._status.stop()

    def show(self, frame: wire.Progress) -> None:
        """Show one heartbeat."""
        self._show(f"{self._tool}: {frame.phase}, {frame.elapsed:.0f} s so far, {frame.remaining:.0f} s left")

    def show_wait(self, why: wire.Error | wire.ErrorFrame, wait_s: float, attempts: int) -> None:
        """Show why a call was refused, and when it is sent again."""
        self._show(f"{self._tool}: refused ({why.message}); attempt {attempts + 1} in {wait_s:.0f} s")

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        else:
            self._console.print(text, highlight=False)
