import asyncio

import pytest

from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.shim.progress import ProgressReporter, reporting

pytestmark = pytest.mark.looptime

Told = tuple[float, float | None, str | None]


def beat(phase: str = "expert", remaining: float = 100.0) -> wire.Progress:
    """Return a heartbeat."""
    return wire.Progress("r", "analyze", 0.0, phase=phase, remaining=remaining)


class Caller:
    """Takes notifications as fast as it likes."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.takes_s = 0.0

    async def report(self, progress: float, total: float | None, message: str | None) -> None:
        """Take a notification."""
        await asyncio.sleep(self.takes_s)
        self.told.append((progress, total, message))


@pytest.fixture
def caller() -> Caller:
    """Who asked for progress."""
    return Caller()


def reporter_to(caller: Caller) -> ProgressReporter:
    """Report from now on a call of 180 s with heartbeats every 5 s. Virtual time begins with the test's own body."""
    clock = Clock(monotonic=asyncio.get_running_loop().time)
    return ProgressReporter(caller.report, clock, timeout_s=180.0, interval_s=5.0)


class TestReporting:
    async def test_heartbeat_is_passed_on(self, caller: Caller) -> None:
        """Progress is the time since the call was asked for; the message says phase and what is left."""
        async with reporting(reporter_to(caller)) as note:
            await asyncio.sleep(5.0)
            note(beat(remaining=85.0))
            await asyncio.sleep(5.0)
            note(beat("web", remaining=80.0))
            await asyncio.sleep(0.0)
            await asyncio.sleep(0.001)
        assert caller.told == [(5.0, 180.0, "expert, 85 s left"), (10.0, 180.0, "web, 80 s left")]

    async def test_silence_is_broken(self, caller: Caller) -> None:
        """Without heartbeats the caller hears of us after one and a half intervals, before 8 s have passed."""
        async with reporting(reporter_to(caller)):
            await asyncio.sleep(15.1)
        assert caller.told == [
            (7.5, 180.0, "waiting for the daemon, 172 s left"),
            (15.0, 180.0, "waiting for the daemon, 165 s left"),
        ]

    async def test_progress_never_repeats_itself(self, caller: Caller) -> None:
        """Of two heartbeats in the same millisecond, the second is left out."""
        async with reporting(reporter_to(caller)) as note:
            await asyncio.sleep(3.0)
            note(beat())
            await asyncio.sleep(0.0001)
            note(beat())
            await asyncio.sleep(0.0001)
        assert [progress for progress, *_ in caller.told] == [3.0]

    async def test_slow_caller_gets_the_latest(self, caller: Caller) -> None:
        """While a notification cannot be sent, heartbeats do not pile up."""
        caller.takes_s = 3.5
        async with reporting(reporter_to(caller)) as note:
            for second in range(1, 7):
                await asyncio.sleep(1.0)
                note(beat(remaining=100.0 - second))
            await asyncio.sleep(4.0)
        assert [message for *_, message in caller.told] == ["expert, 99 s left", "expert, 96 s left"]

    async def test_nothing_comes_afterwards(self, caller: Caller) -> None:
        """A heartbeat that is noted when the call has ended goes nowhere."""
        async with reporting(reporter_to(caller)) as note:
            await asyncio.sleep(1.0)
        note(beat())
        await asyncio.sleep(20.0)
        assert caller.told == []

    async def test_old_daemon_says_less(self, caller: Caller) -> None:
        """Without phase and remaining time, the shim's own count is told."""
        async with reporting(reporter_to(caller)) as note:
            await asyncio.sleep(5.0)
            note(beat("", remaining=0.0))
            await asyncio.sleep(0.001)
        assert caller.told == [(5.0, 180.0, "running, 175 s left")]
