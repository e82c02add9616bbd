"""The one source of time: scale, absolute moments, and the border to wall time."""

import asyncio
import inspect
import time

import pytest

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError


@pytest.fixture
async def fast() -> Clock:
    """Ten times as fast as the test loop's own time."""
    return Clock(0.1, monotonic=asyncio.get_running_loop().time)


class TestScale:
    @pytest.mark.parametrize("scale", [0.0, -0.1, 1.1, float("nan"), float("inf")])
    def test_senseless_scales_are_refused(self, scale: float) -> None:
        """Time neither stands still nor runs backwards, and nothing needs it slower than the wall."""
        with pytest.raises(ConfigError, match="must be above 0 and at most 1") as refused:
            Clock(scale)
        assert refused.value.setting == "EXAI_TIME_SCALE"

    @pytest.mark.parametrize("scale", [1.0, 1e-9])
    def test_its_bounds_are_allowed(self, scale: float) -> None:
        """1 is the wall's own pace; any number above 0 is a pace."""
        assert Clock(scale).scale == scale

    def test_reading_is_wall_time_over_scale(self) -> None:
        """With scale 0.05 the wall's second is twenty."""
        wall = iter([100.0, 101.0])
        clock = Clock(0.05, monotonic=lambda: next(wall))
        assert clock.now() == pytest.approx(2000.0)
        assert clock.now() == pytest.approx(2020.0)

    def test_wall_seconds_are_the_way_back(self) -> None:
        """What leaves for real time is multiplied, once."""
        assert Clock(0.05).wall_s(20.0) == pytest.approx(1.0)
        assert Clock().wall_s(20.0) == 20.0

    def test_unix_time_is_never_scaled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What people read is the wall's date, whatever the scale."""
        monkeypatch.setattr(time, "time", lambda: 1_800_000_000.5)
        assert Clock(0.05).unix() == 1_800_000_000.5

    def test_steps_of_the_wall_clock_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Readings come from the monotonic clock alone: somebody who sets the date moves no deadline."""
        assert inspect.signature(Clock).parameters["monotonic"].default is time.monotonic
        clock = Clock(monotonic=lambda: 5.0)
        monkeypatch.setattr(time, "time", lambda: -1e9)
        assert clock.now() == 5.0


@pytest.mark.looptime
class TestWaiting:
    async def test_sleep_takes_scaled_time(self, fast: Clock) -> None:
        """Sixty seconds of this clock are six of the loop's."""
        loop = asyncio.get_running_loop()
        await fast.sleep(60.0)
        assert fast.now() == pytest.approx(60.0)
        assert loop.time() == pytest.approx(6.0)

    async def test_callback_comes_at_its_moment(self, fast: Clock) -> None:
        """`call_at` takes a reading of this clock, and hands its arguments on."""
        seen: list[tuple[str, float]] = []
        fast.call_at(30.0, lambda name: seen.append((name, fast.now())), "a")
        fast.call_at(10.0, lambda name: seen.append((name, fast.now())), "b")
        await fast.sleep(31.0)
        assert [name for name, _ in seen] == ["b", "a"]
        assert [at for _, at in seen] == pytest.approx([10.0, 30.0])

    async def test_callback_of_the_past_comes_at_once(self, fast: Clock) -> None:
        """A moment that has passed means the next turn of the loop."""
        await fast.sleep(50.0)
        seen: list[float] = []
        fast.call_at(10.0, lambda: seen.append(fast.now()))
        assert seen == []
        await fast.sleep(0.1)
        assert seen == [pytest.approx(50.0)]

    async def test_callback_can_be_taken_back(self, fast: Clock) -> None:
        """The handle cancels it."""
        seen: list[float] = []
        fast.call_at(10.0, lambda: seen.append(fast.now())).cancel()
        await fast.sleep(20.0)
        assert seen == []

    async def test_timeout_comes_at_its_moment(self, fast: Clock) -> None:
        """`timeout_at` takes an absolute moment, so that a loop around it does not drift."""
        await fast.sleep(10.0)
        with pytest.raises(TimeoutError):
            async with fast.timeout_at(25.0):
                await asyncio.Event().wait()
        assert fast.now() == pytest.approx(25.0)

    async def test_body_in_time_is_left_alone(self, fast: Clock) -> None:
        """A body that ends before the moment is not disturbed, then or later."""
        async with fast.timeout_at(25.0):
            await fast.sleep(24.0)
        await fast.sleep(10.0)
        assert fast.now() == pytest.approx(34.0)


async def test_default_clock_is_the_loops() -> None:
    """Moments of the default clock are moments of a real loop: both count from the same start."""
    assert Clock().now() == pytest.approx(asyncio.get_running_loop().time(), abs=1.0)  # far less passes between the two
