"""The stub's own log: the truth about what ran at the provider, whatever daemon and clients believe."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

import msgspec

# Enough for any test; a long drill reads the file instead.
KEPT_EVENTS = 10_000

EventKind = Literal["start", "end", "cancelled", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StubEvent:
    """One thing that happened at a provider.

    Attributes:
        event: `start` and `end` of an execution; `cancelled` when its client went away first; `refused` when
            none began.
        at: Reading of the clock, in unscaled seconds.
        unix_s: Unix time of the same moment, in wall seconds.
        provider: Name of the provider.
        model: Model that was asked for.
        tool: Tool that asked, as its header says; None if it does not.
        trace_id: From `traceparent`; None if that is missing or malformed.
        span_id: The same.
        execution: Number of the execution, from 1 over all providers; None if none began.
        in_flight: Executions of this provider after the event.
        status: HTTP status of `end` and `refused`; None otherwise.
        latency_s: How long the execution was to take (`start`), or took (`end`, `cancelled`); None if it
            never ends by itself, or never began.
    """

    event: EventKind
    at: float
    unix_s: float
    provider: str
    model: str
    tool: str | None
    trace_id: str | None
    span_id: str | None
    execution: int | None
    in_flight: int
    status: int | None = None
    latency_s: float | None = None


class StubLog:
    """Keeps events in memory, bounded, and appends them to a file."""

    def __init__(self, path: Path | None) -> None:
        """Open the log.

        Raises:
            OSError: The file cannot be opened.
        """
        self.events: deque[StubEvent] = deque(maxlen=KEPT_EVENTS)
        self._waiting: list[tuple[Callable[[StubEvent], bool], asyncio.Future[StubEvent]]] = []
        # Line-buffered: a line is one write, so that several stubs may append to one file, and nothing is
        # lost when the process is killed.
        self._file: TextIO | None = path.open("a", buffering=1, encoding="utf-8") if path else None

    def add(self, event: StubEvent) -> None:
        """Append an event, and wake those who wait for it."""
        self.events.append(event)
        if self._file is not None:
            self._file.write(msgspec.json.encode(event).decode() + "\n")
        for matches, future in self._waiting:
            if not future.done() and matches(event):
                future.set_result(event)

    async def wait_for(self, matches: Callable[[StubEvent], bool]) -> StubEvent:
        """Return the first event that matches, one that is kept or one to come."""
        for event in self.events:
            if matches(event):
                return event
        future: asyncio.Future[StubEvent] = asyncio.get_running_loop().create_future()
        entry = (matches, future)
        self._waiting.append(entry)
        try:
            return await future
        finally:
            self._waiting.remove(entry)

    def close(self) -> None:
        """Close the file; events that come later are kept in memory only."""
        if self._file is not None:
            self._file.close()
            self._file = None


def unix_s() -> float:
    """Return the Unix time, for readers who compare this log with others; nothing is decided by it."""
    return time.time()
