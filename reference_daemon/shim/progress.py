"""Heartbeats as MCP progress: for a caller that gave a progressToken, always increasing, none after the answer.

Progress is the time since the call was asked for, and the total the time that it may take; so it goes on over retries
and reconnects, where the daemon's own count starts anew. While the daemon says nothing, because the call waits for its
next attempt or for a daemon, the caller is told that: some clients give up on a server that is silent for 8 s.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from reference_daemon import wire
from reference_daemon.clock import Clock

SILENCE_IN_INTERVALS: Final = 1.5
"""Heartbeat intervals without one after which we speak ourselves: 7.5 s with the shipped interval."""

Report = Callable[[float, float | None, str | None], Awaitable[None]]
"""Sends one progress notification: progress, total, message."""


class ProgressReporter:
    """Reports on one call."""

    def __init__(self, report: Report, clock: Clock, *, timeout_s: float, interval_s: float) -> None:
        """Report on a call that was asked for just now.

        Args:
            report: Sends a notification.
            clock: Source of time.
            timeout_s: Seconds that the call may take.
            interval_s: Seconds between the daemon's heartbeats.
        """
        self._report, self._clock = report, clock
        self._timeout_s, self._silence_s = timeout_s, SILENCE_IN_INTERVALS * interval_s
        self._started_at = clock.now()
        self._latest: wire.Progress | None = None
        self._news = asyncio.Event()
        self._reported_s = 0.0

    def note(self, heartbeat: wire.Progress) -> None:
        """Take a heartbeat. While an earlier one cannot be sent, only the latest is kept."""
        self._latest = heartbeat
        self._news.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout_at(self._clock.now() + self._silence_s):
                    await self._news.wait()
            self._news.clear()
            heartbeat, self._latest = self._latest, None
            await self._send(heartbeat)

    async def _send(self, heartbeat: wire.Progress | None) -> None:
        elapsed_s = round(self._clock.now() - self._started_at, 3)
        if elapsed_s <= self._reported_s:
            return
        self._reported_s = elapsed_s
        left_s = max(self._timeout_s - elapsed_s, 0.0)
        if heartbeat is None:
            message = f"waiting for the daemon, {left_s:.0f} s left"
        else:
            # An older daemon says neither its phase nor what remains.
            left_s = min(heartbeat.remaining, left_s) if heartbeat.remaining > 0 else left_s
            message = f"{heartbeat.phase or 'running'}, {left_s:.0f} s left"
        await self._report(elapsed_s, self._timeout_s, message)


@contextlib.asynccontextmanager
async def reporting(reporter: ProgressReporter) -> AsyncIterator[Callable[[wire.Progress], None]]:
    """Report while the body runs; yield what heartbeats are handed to. Afterwards nothing is sent any more."""
    running = asyncio.create_task(reporter.run())
    try:
        yield reporter.note
    finally:
        running.cancel()
        await asyncio.wait([running])
