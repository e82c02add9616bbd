"""Notices when this process's event loop stood still: times measured meanwhile say nothing about the daemon."""

from collections.abc import Callable
from typing import Final

from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, Lag

TICK_WALL_S: Final = 0.02
"""Wall seconds between two looks."""

LATE_WALL_S: Final = 0.05
"""Wall seconds by which a look must be late to be noted: below, it is the ordinary jitter of a busy machine."""


class LagProbe:
    """Asks for a wake-up again and again, and notes how late it came."""

    def __init__(self, *, clock: Clock, start_at: float, note: Callable[[AnyEvent], None]) -> None:
        """Note events with moments counted from `start_at`, a reading of the clock."""
        self._clock, self._start_at, self._note = clock, start_at, note

    async def run(self) -> None:
        """Look until cancelled."""
        tick_s = TICK_WALL_S / self._clock.scale
        while True:
            due_at = self._clock.now() + tick_s
            await self._clock.sleep(tick_s)
            now = self._clock.now()
            late_wall_s = self._clock.wall_s(now - due_at)
            if late_wall_s > LATE_WALL_S:
                self._note(Lag(at=now - self._start_at, wall_s=late_wall_s))
