"""Keeps the events of a drill while it runs; complete at every moment, so that an interrupted drill has its history."""

from typing import Final

import msgspec

from reference_daemon.clock import Clock
from scenarios.events import AnyEvent

MOST_EVENTS: Final = 5_000_000
"""Events kept: about 2 GB; a drill of that size wants a smaller scenario."""


class Recorder:
    """The events so far, on the scenario's own time.

    Attributes:
        start_at: Start of the load, a reading of the clock.
        events: The events, in the order in which they were noted.
        dropped: How many came when there was no room any more.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin at this moment; `begin` says when the load really starts."""
        self._clock = clock
        self.start_at = clock.now()
        self.events: list[AnyEvent] = []
        self.dropped = 0

    def begin(self, start_at: float) -> None:
        """Count from `start_at`, a reading of the clock; what was noted before moves along."""
        shift = self.start_at - start_at
        self.events = [msgspec.structs.replace(event, at=event.at + shift) for event in self.events]
        self.start_at = start_at

    def since(self) -> float:
        """Return the seconds since the start of the load; negative before it."""
        return self._clock.now() - self.start_at

    def note(self, event: AnyEvent) -> None:
        """Keep an event."""
        if len(self.events) < MOST_EVENTS:
            self.events.append(event)
        else:
            self.dropped += 1
