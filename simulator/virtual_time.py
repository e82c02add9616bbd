"""Callbacks at moments of SimPy's clock. A generator per call would cost several times as much."""

from collections.abc import Callable
from heapq import heappush
from typing import Any

from simpy import Environment
from simpy.events import NORMAL, Event

Act = Callable[[Any], None]
"""What is done at a moment; it is handed the timer, which it seldom needs."""


class Timer(Event):
    """A SimPy event with one callback and nothing else; `cancel` makes it come to nothing."""

    _ok, _value = True, None  # it cannot fail, and says nothing: what SimPy asks of an event that is to come

    def __init__(self, act: Act) -> None:
        """Hold what is to be done."""
        self.callbacks = [act]

    def cancel(self) -> None:
        """Do nothing when the moment comes."""
        self.callbacks = []


class VirtualTime(Environment):
    """The clock of one model run, in unscaled seconds from 0."""

    _now: float

    def __init__(self) -> None:
        """Begin at 0."""
        super().__init__(0.0)

    @property
    def now(self) -> float:
        """The moment."""
        return self._now

    def call_at(self, at: float, act: Act) -> Timer:
        """Call `act` at the moment `at`, or now if that has passed; equal moments keep their order."""
        timer = Timer(act)
        self.enter(at, timer)
        return timer

    def enter(self, at: float, timer: Timer) -> None:
        """Let the moment of `timer` come at `at`, or now if that has passed.

        The moment is kept as it is: SimPy's own `schedule` takes a delay, and adding it to the present rounds.
        """
        now = self._now
        heappush(self._queue, (at if at > now else now, NORMAL, next(self._eid), timer))  # noqa: FURB136 - `max` costs a call
