"""The clocks of a run: the one that the code under test is given, and the true one that stamps what happened."""

import asyncio
from collections.abc import Callable

from reference_daemon.clock import Clock


class GivenClock(Clock):
    """The clock of daemon, clients and shim. Its wall clock can be set, as people and NTP do.

    Attributes:
        shift_s: By how much the wall clock was set, in all.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow the loop's virtual time."""
        super().__init__(1.0, monotonic=loop.time)
        self.shift_s = 0.0

    def unix(self) -> float:
        """Return what the wall clock shows; it starts at 0, like the monotonic one."""
        return self._monotonic() + self.shift_s


class TrueClock(Clock):
    """The loop's own time, whatever becomes of the class that it inherits from."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow the loop's virtual time."""
        super().__init__(1.0, monotonic=loop.time)
        self._true_loop = loop

    def now(self) -> float:
        """Return the virtual time."""
        return self._true_loop.time()

    def timeout_at(self, at: float) -> asyncio.Timeout:
        """Return a timeout of the loop."""
        return asyncio.timeout_at(at)

    def call_at(self, at: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Set a timer of the loop."""
        return self._true_loop.call_at(at, callback, *args)
