"""Callbacks at moments of SimPy's clock. A generator per call would cost several times as much."""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from simpy import Environment
from simpy.events import NORMAL, Event

Act = Callable[[Any], None]
"""What is done at a moment; it is handed the timer, which it seldom needs."""


class Timer(Event):
    """A SimPy event with one callback and nothing else; `cancel` makes it come to nothing.

    Once its moment has come it may be entered again.
    """

    _ok, _value = True, None  # it cannot fail, and says nothing: what SimPy asks of an event that is to come
    callbacks: Sequence[Act]  # type: ignore[assignment]  # SimPy's list is for those who wait; nobody waits for a timer

    def __init__(self, act: Act) -> None:
        """Hold what is to be done."""
        self.callbacks = (act,)

    def cancel(self) -> None:
        """Do nothing when the moment comes."""
        self.callbacks = ()


class VirtualTime(Environment):
    """The clock of one model run, in unscaled seconds from 0.

    Attributes:
        now: The moment.
    """

    now: float = 0.0  # SimPy has a property here; all that a model does asks for it, several times per event

    def __init__(self) -> None:
        """Begin at 0."""
        super().__init__(0.0)

    @property
    def _now(self) -> float:
        """Where SimPy keeps the moment."""
        return self.now

    @_now.setter
    def _now(self, now: float) -> None:
        self.now = now

    def run(self, until: float | Event | None = None) -> Any:
        """Let every moment come, up to `until` or to the last one.

        To the last one it does what SimPy's own loop does, less what only events need that can fail or be waited for:
        all that is entered here are timers.
        """
        if until is not None:
            return super().run(until)
        queue, pop = self._queue, heappop
        while queue:
            self.now, _, _, timer = pop(queue)
            for act in timer.callbacks:
                act(timer)
        return None

    def call_at(self, at: float, act: Act) -> Timer:
        """Call `act` at the moment `at`, or now if that has passed; equal moments keep their order."""
        timer = Timer(act)
        self.enter(at, timer)
        return timer

    def enter(self, at: float, timer: Timer) -> None:
        """Let the moment of `timer` come at `at`, or now if that has passed.

        The moment is kept as it is: SimPy's own `schedule` takes a delay, and adding it to the present rounds.
        """
        now = self.now
        heappush(self._queue, (at if at > now else now, NORMAL, next(self._eid), timer))  # noqa: FURB136 - `max` costs a call
