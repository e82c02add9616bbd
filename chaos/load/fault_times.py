"""Which faults were active when: each call's row names every fault that was active at any time while it ran."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from reference_daemon.clock import Clock

LOOK_EVERY_WALL_S: Final = 0.01
"""Wall seconds between two looks; a fault that is put on and taken off between two is not seen by calls."""


class FaultTimes:
    """Remembers each change of the active faults."""

    def __init__(self, active: Callable[[], tuple[str, ...]], clock: Clock) -> None:
        """Ask `active` for the names of the active faults."""
        self._active, self._clock = active, clock
        self._moments: list[float] = [clock.now()]
        self._names: list[tuple[str, ...]] = [active()]

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_EVERY_WALL_S / self._clock.scale)

    def look(self) -> None:
        """Take note of what is active now."""
        names = self._active()
        if names != self._names[-1]:
            self._moments.append(self._clock.now())
            self._names.append(names)

    def since(self, at: float) -> tuple[str, ...]:
        """Return the faults that were active at some moment from `at` until now, in the order of their start."""
        self.look()
        if at >= self._moments[-1]:  # nothing has changed since
            return self._names[-1]
        first = max(bisect_right(self._moments, at) - 1, 0)
        return tuple(dict.fromkeys(name for names in self._names[first:] for name in names))
