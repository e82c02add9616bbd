"""The pipes of the process that started us, kept from everybody else, each with a thread of its own.

What arrives on stdin and leaves on stdout is the client's, byte for byte. So both descriptors are moved out of the way
before anything else runs: descriptor 0 then reads nothing and descriptor 1 is stderr. A stray `print`, a library that
talks, or a child process can neither garble what the client reads nor take what it wrote; duplicates are not inherited.

Reading and writing happen in daemon threads, because a pipe may block for as long as the other side likes: the event
loop must go on meanwhile, and the process must be able to end all the same.
"""

import asyncio
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from reference_daemon.observability.lines import LineSink

_CHUNK_BYTES: Final = 65_536
_CHUNKS_AHEAD: Final = 4
"""Chunks that are read before the first is used: enough to keep the thread busy, few enough to bound memory."""

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""A longer line is skipped: it is no request of any client we know, and would have to be held as a whole."""

MAX_UNREAD_LOG_BYTES: Final = 1024 * 1024
"""Bytes of log lines that wait for somebody to read stderr; more are lost."""


class Pipes(NamedTuple):
    """Descriptors of the client's pipes."""

    stdin: int
    stdout: int


def claim_pipes() -> Pipes:
    """Take stdin and stdout away from the rest of the process, for its whole life."""
    sys.stdout.flush()
    pipes = Pipes(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return pipes


class PipeReader:
    """Lines from a descriptor."""

    def __init__(self, descriptor: int, *, on_overlong: Callable[[], None]) -> None:
        """Read from `descriptor`; `on_overlong` is told of each line that is too long to be one."""
        self._descriptor, self._on_overlong = descriptor, on_overlong
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = threading.Semaphore(_CHUNKS_AHEAD)

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield each line without its end, until the other side closes the pipe. To be called once."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._pump, args=(loop,), name="stdin", daemon=True).start()
        line, overlong = bytearray(), False
        while chunk := await self._chunks.get():
            self._room.release()
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                if not overlong:
                    yield bytes(line + end)
                line.clear()
                overlong = False
            line += rest
            if len(line) > MAX_LINE_BYTES:
                self._on_overlong()
                line.clear()
                overlong = True
            elif overlong:
                line.clear()
        if line and not overlong:
            yield bytes(line)

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read until the end. Not through `sys.stdin`: its lock, held meanwhile, would stall the interpreter's end."""
        chunk = b"."
        while chunk:
            self._room.acquire()
            try:
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
            except OSError:
                chunk = b""
            try:
                loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:  # the loop has ended
                return


_Done = Callable[[OSError | None], object]


class PipeWriter:
    """Writes to a descriptor, in order."""

    def __init__(self, descriptor: int, *, name: str) -> None:
        """Start a thread, called `name`, that writes to `descriptor`."""
        self._descriptor = descriptor
        self._jobs: queue.SimpleQueue[tuple[bytes, _Done | None]] = queue.SimpleQueue()
        # Two counters, each with one writer, so that no lock is needed.
        self._handed, self._written = 0, 0
        threading.Thread(target=self._pump, name=name, daemon=True).start()

    @property
    def waiting(self) -> int:
        """Bytes that were handed over and are not written yet."""
        return self._handed - self._written

    def put(self, data: bytes, done: _Done | None = None) -> None:
        """Hand over data; `done` is called, in the thread, when it is written or cannot be."""
        self._handed += len(data)
        self._jobs.put((data, done))

    async def write(self, data: bytes) -> None:
        """Write data, waiting until the other side has taken it.

        Raises:
            OSError: The other side is gone.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        def settle(error: OSError | None) -> None:
            if not written.done():
                written.set_result(None) if error is None else written.set_exception(error)

        self.put(data, lambda error: loop.call_soon_threadsafe(settle, error))
        await written

    def drain(self, wall_s: float) -> bool:
        """Wait until all is written, for `wall_s` wall seconds at most; return whether it is."""
        written = threading.Event()
        self.put(b"", lambda _: written.set())
        return written.wait(wall_s)

    def _pump(self) -> None:
        while True:
            data, done = self._jobs.get()
            error: OSError | None = None
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError as failed:
                error = failed
            self._written += len(data)
            if done is not None:
                try:
                    done(error)
                except RuntimeError:  # the loop has ended
                    return


class PipeSink(LineSink):
    """Log lines for a pipe that perhaps nobody reads: lines may be lost then, calls may not wait for it."""

    def __init__(self, descriptor: int) -> None:
        """Write to `descriptor` from a thread."""
        super().__init__(descriptor)
        self._writer = PipeWriter(descriptor, name="log")

    def flush(self) -> None:
        """Hand over what is held now."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._writer.waiting > MAX_UNREAD_LOG_BYTES:
            self.lost += len(lines)
        else:
            self._writer.put(b"\n".join(lines) + b"\n")

    def drain(self, wall_s: float) -> None:
        """Wait until all is written, for `wall_s` wall seconds at most."""
        self.flush()
        self._writer.drain(wall_s)
