"""Lines that go to a file descriptor, one write per turn of the event loop.

Writing each line by itself would cost more than making it. Lines of one turn are joined and written when the turn ends:
a process that is killed loses the lines of the turn that it was in, and nothing else. Without a running loop lines are
written at once. A disk that is full loses lines, never a call: they are counted and, where somebody worded that, said
once it works again.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

MAX_BUFFERED: Final = 10_000
"""Lines that one turn may hold before they are written in its middle."""


class LineSink:
    """Writes lines to a file descriptor.

    Attributes:
        lost: Lines that could not be written.
        lost_line: Makes the line that says how many were lost; None: nothing is said.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to an open descriptor, which stays the caller's."""
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._scheduled = False
        self.lost = 0
        self.lost_line: Callable[[int], bytes] | None = None
        self._unsaid = 0
        self._torn = False  # the last write ended within a line

    def write(self, line: bytes) -> None:
        """Write a line, without its line break, at the end of this turn of the loop."""
        self._lines.append(line)
        if self._scheduled:
            if len(self._lines) >= MAX_BUFFERED:
                self.flush()
            return
        try:
            asyncio.get_running_loop().call_soon(self._turn_ended)
        except RuntimeError:  # no loop runs
            self.flush()
        else:
            self._scheduled = True

    def _turn_ended(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what is held now."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        count = len(lines)
        if self._unsaid and self.lost_line is not None:
            lines.insert(0, self.lost_line(self._unsaid))
        data = memoryview((b"\n" if self._torn else b"") + b"\n".join(lines) + b"\n")
        size = len(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.lost += count
            self._unsaid += count
            self._torn = self._torn or len(data) < size
        else:
            self._unsaid, self._torn = 0, False


class RotatingFile(LineSink):
    """A file that is moved to NAME.1 when it has grown past a limit; one older file is kept."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Append to `path`, making its folder.

        Raises:
            OSError: The folder or the file cannot be made.
        """
        self._path, self._max_bytes = path, max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(self._open())
        self._size = os.fstat(self._descriptor).st_size

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def flush(self) -> None:
        """Write what is held now, and move the file away if it has grown too large."""
        self._size += sum(map(len, self._lines)) + len(self._lines)
        super().flush()
        if self._size > self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        """Start a new file; where that fails, go on with the old one and try again after as many bytes."""
        self._size = 0
        with contextlib.suppress(OSError):
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            descriptor = self._open()
            os.close(self._descriptor)
            self._descriptor = descriptor

    def close(self) -> None:
        """Write what is held and close the file."""
        self.flush()
        os.close(self._descriptor)
