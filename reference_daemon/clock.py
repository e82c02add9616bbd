"""The only source of time, and the only place that knows the time scale.

With `scale` 0.05 a second of the daemon's time takes 0.05 s on the wall, so that a drill with calls of 35 to 55 s
ends in a minute. Settings, policy, wire and histories stay in unscaled seconds. `wall_s` converts at the borders to
real time (HTTP timeouts, toxics, ping intervals); nothing else may.
"""

import asyncio
import time
from collections.abc import Callable

from reference_daemon.policy.errors import ConfigError


class Clock:
    """Monotonic, scaled time for one event loop.

    Attributes:
        scale: Wall seconds per second of this clock; 0 < scale <= 1.
    """

    def __init__(self, scale: float = 1.0, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Make a clock.

        Args:
            scale: Wall seconds per second of this clock.
            monotonic: Wall clock in seconds with the event loop's epoch: `loop.time` where a test turns the loop's
                own clock.

        Raises:
            ConfigError: `scale` is not above 0, or above 1.
        """
        if not 0.0 < scale <= 1.0:
            raise ConfigError("EXAI_TIME_SCALE", scale, "must be above 0 and at most 1")
        self.scale = scale
        self._monotonic = monotonic

    def now(self) -> float:
        """Return the time in unscaled seconds, from an arbitrary start; it never goes back."""
        return self._monotonic() / self.scale

    def unix(self) -> float:
        """Return Unix time in wall seconds, for people who read it; nothing is decided by it."""
        return time.time()

    def wall_s(self, duration_s: float) -> float:
        """Convert a duration of this clock to wall seconds, for a border to real time."""
        return duration_s * self.scale

    async def sleep(self, delay_s: float) -> None:
        """Sleep for `delay_s` seconds of this clock."""
        await asyncio.sleep(delay_s * self.scale)

    def timeout_at(self, at: float) -> asyncio.Timeout:
        """Return a context manager that cancels its body, and raises TimeoutError, at the moment `at`."""
        return asyncio.timeout_at(at * self.scale)

    def call_at(self, at: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Call `callback(*args)` at the moment `at`, or in the next turn of the loop if that has passed.

        The loop may wake a clock tick early: a callback that decides by time must ask `now()` again.
        """
        return asyncio.get_running_loop().call_at(at * self.scale, callback, *args)
