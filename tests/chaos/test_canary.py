"""Round trips that show whether a link is slow: enough of them, and not for ever."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from typing import cast

import pytest

from chaos import canary
from chaos.canary import AT_MOST, ENOUGH, NoAnswerError, round_trips
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock


class FakeClient:
    """A client, and the wall clock that its requests turn on."""

    def __init__(self, times_s: Iterator[float]) -> None:
        self._times_s = times_s
        self.at = 50.0

    async def health(self) -> None:
        """Take the next time, in wall seconds."""
        self.at += next(self._times_s)

    def measure(self) -> tuple[DaemonClient, Clock]:
        """Return what `round_trips` needs: itself as a client, and a clock of scale 0.5."""
        return cast("DaemonClient", self), Clock(0.5, monotonic=lambda: self.at)


async def test_times_are_unscaled_seconds() -> None:
    """0.25 s on the wall are 0.5 s of a drill of scale 0.5."""
    assert await round_trips(*FakeClient(repeat(0.25)).measure()) == (0.5,) * ENOUGH


async def test_goes_on_until_one_was_fast() -> None:
    """A busy machine slows the first seven down; the eighth shows that the link does not."""
    client = FakeClient(chain(repeat(1.0, 7), repeat(0.25)))
    times_s = await round_trips(*client.measure(), faster_than_s=1.0)
    assert times_s == (2.0,) * 7 + (0.5,)


async def test_a_round_trip_at_exactly_the_limit_is_not_fast() -> None:
    """The limit is the fastest that the fault allows."""
    client = FakeClient(chain(repeat(0.5, ENOUGH), repeat(0.25)))
    assert len(await round_trips(*client.measure(), faster_than_s=1.0)) == ENOUGH + 1


async def test_gives_up_when_none_gets_fast() -> None:
    """A link that stays slow is reported as measured."""
    assert len(await round_trips(*FakeClient(repeat(1.0)).measure(), faster_than_s=1.0)) == AT_MOST


async def test_a_daemon_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A black hole ends the drill within the limit, not never."""

    class Silent(FakeClient):
        async def health(self) -> None:
            """Never answer."""
            await asyncio.Event().wait()

    monkeypatch.setattr(canary, "ANSWER_WITHIN_S", 0.01)
    with pytest.raises(NoAnswerError, match=r"did not answer within 0\.01 s"):
        await round_trips(*Silent(repeat(0.0)).measure())
