"""Looks at the calls in flight once a second, and complains when one is not treated as promised.

It repairs nothing: its lines are for the person who must find out why.
"""

import asyncio
from typing import Final

import structlog

from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.live import LiveCall

ROUND_S: Final = 1.0
"""Seconds between two looks."""

SILENT_INTERVALS: Final = 2
"""Heartbeat intervals after which a silent call is worth a warning."""

OVERDUE_S: Final = 1.0
"""Seconds past its deadline after which a call without an answer is an error."""


class Watchdog:
    """Watches the calls of a daemon."""

    def __init__(self, calls: Calls, clock: Clock) -> None:
        """Watch `calls`; nothing runs yet."""
        self._calls, self._clock = calls, clock
        self._log = structlog.get_logger().bind()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(ROUND_S)
            try:
                self._round(self._clock.now())
            except Exception as bug:  # noqa: BLE001 - the outermost loop: a bug costs a round, not the watch
                self._log.error("watchdog_failed", exc_info=bug)

    def _round(self, now: float) -> None:
        """Look at every call once, and let answers go that are too old."""
        for call in self._calls.in_flight():
            self.look_at(call, now)
        self._calls.sweep()

    def look_at(self, call: LiveCall, now: float) -> None:
        """Complain about a call, once, if there is reason to."""
        if call.answer is not None or call.warned:
            return
        arrived = call.prepared.arrived
        facts = {"tool": arrived.tool, "trace_id": call.prepared.trace_id, "request_id": arrived.request_id}
        if now > call.admit.deadline_at + OVERDUE_S:
            call.warned = True
            self._log.error("watchdog_overdue", late_s=round(now - call.admit.deadline_at, 3), **facts)
        elif now > call.beat_at + (SILENT_INTERVALS - 1) * call.interval_s:
            call.warned = True
            self._log.warning("watchdog_silent", silent_s=round(now - call.beat_at + call.interval_s, 3), **facts)
