"""Callbacks at moments of SimPy's clock. A generator per call would cost several times as much."""

from collections.abc import Callable
from typing import Any

import simpy
from simpy.events import NORMAL, Event


class Timer:
    """A callback that is to come; `cancel` makes it come to nothing."""

    __slots__ = ("_act",)

    def __init__(self, act: Callable[[], None]) -> None:
        """Hold what is to be done."""
        self._act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """Do nothing when the moment comes."""
        self._act = None

    def fire(self, _: Any) -> None:
        """Act, unless cancelled."""
        act = self._act
        if act is not None:
            act()


class VirtualTime:
    """The clock of one model run, in unscaled seconds from 0."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._env = simpy.Environment()

    @property
    def now(self) -> float:
        """The moment."""
        return float(self._env.now)

    def call_at(self, at: float, act: Callable[[], None]) -> Timer:
        """Call `act` at the moment `at`, or now if that has passed; equal moments keep their order."""
        timer = Timer(act)
        event = Event(self._env)
        event._ok, event._value = True, None  # noqa: SLF001 - what SimPy's own Timeout does
        assert event.callbacks is not None  # noqa: S101 - a new event has a list
        event.callbacks.append(timer.fire)
        self._env.schedule(event, NORMAL, max(at - self.now, 0.0))
        return timer

    def run(self) -> None:
        """Run until nothing is left to come."""
        self._env.run()
