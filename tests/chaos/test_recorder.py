"""The events of a drill while it runs."""

import pytest

from chaos import recorder as module
from chaos.recorder import Recorder
from reference_daemon.clock import Clock
from scenarios.events import Lag


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the moment that the test has set."""
        return self.now


def test_moments_count_from_the_load() -> None:
    """What was noted before the load's start moves to moments before it."""
    time = FakeTime()
    recorder = Recorder(Clock(1.0, monotonic=time))
    recorder.note(Lag(at=recorder.since(), wall_s=0.1))
    recorder.begin(103.0)
    time.now = 105.0
    assert (recorder.events[0].at, recorder.since()) == (-3.0, 2.0)


def test_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound events are counted, not kept."""
    monkeypatch.setattr(module, "MOST_EVENTS", 1)
    recorder = Recorder(Clock())
    for _ in range(3):
        recorder.note(Lag(at=0.0, wall_s=0.1))
    assert (len(recorder.events), recorder.dropped) == (1, 2)
