"""The probe of the event loop: it notes when nothing could be measured."""

import asyncio

import pytest

from chaos.load.lag import LagProbe
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, Lag

pytestmark = pytest.mark.looptime


class Stalls:
    """A clock that a test turns forward behind the loop's back, as a machine does that stands still."""

    def __init__(self) -> None:
        """Run with the loop."""
        self.by_s = 0.0
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> float:
        """Return the time."""
        return self._loop.time() + self.by_s


@pytest.mark.parametrize(("stall_s", "noted"), [(0.049, []), (0.051, [0.051]), (0.4, [0.4])])
async def test_notes_a_wake_up_that_comes_late(stall_s: float, noted: list[float]) -> None:
    """Late by more than 50 ms on the wall, and by how much; less is ordinary jitter."""
    stalls = Stalls()
    clock = Clock(0.1, monotonic=stalls)
    start_at = clock.now()
    events: list[AnyEvent] = []
    probe = asyncio.create_task(LagProbe(clock=clock, start_at=start_at, note=events.append).run())
    await asyncio.sleep(0.05)
    stalls.by_s += stall_s
    await asyncio.sleep(0.2)
    probe.cancel()
    await asyncio.wait([probe])
    lags = [event for event in events if isinstance(event, Lag)]
    assert [lag.wall_s for lag in lags] == pytest.approx(noted)
    assert [lag.at for lag in lags] == pytest.approx([(0.06 + stall_s) / 0.1 for _ in noted])
