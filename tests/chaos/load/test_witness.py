"""The witness: it looks at the daemon without a proxy, over restarts, and says when all is quiet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chaos.load.witness import Witness
from reference_daemon import wire
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, Connection, Frame, HealthSeen
from tests.client.scripted import MemoryLink, ScriptedDaemon, answer

pytestmark = pytest.mark.looptime

MakeWitness = Callable[[], Witness]


class HealthyDaemon(ScriptedDaemon):
    """Answers `health` with the figures that the test sets."""

    busy: int = 0

    def take(self, link: MemoryLink, frame: Any) -> None:
        """Take a frame; answer what asks for health."""
        super().take(link, frame)
        if isinstance(frame, wire.Health):
            pools = {"chat": {"inflight": self.busy, "capacity": 4}}
            figures = {"global_inflight": self.busy, "global_capacity": 24, "sessions": 2, "draining": False}
            link.answer(wire.HealthResult(ok=True, health=figures | {"tools": pools, "providers": {}}))


@pytest.fixture
async def daemon(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HealthyDaemon]:
    """A daemon that answers at once."""
    healthy = HealthyDaemon(clock, on_call=[answer("1.0")])
    monkeypatch.setattr("reference_daemon.channel._connect", healthy.connect)
    yield healthy
    assert asyncio.all_tasks() - {asyncio.current_task()} == set()


@pytest.fixture
def events() -> list[AnyEvent]:
    """What the witness noted."""
    return []


@pytest.fixture
def make_witness(clock: Clock, daemon: HealthyDaemon, events: list[AnyEvent]) -> MakeWitness:
    """Return a function that makes a witness of a load that starts now: within the test, time is virtual."""
    return lambda: Witness("ws://127.0.0.1:1", clock=clock, start_at=clock.now(), token=None, note=events.append)


@asynccontextmanager
async def running(witness: Witness) -> AsyncIterator[None]:
    """Let a witness look meanwhile."""
    task = asyncio.create_task(witness.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def of(events: list[AnyEvent], kind: type[Any]) -> list[Any]:
    """Return the events of a kind."""
    return [event for event in events if isinstance(event, kind)]


async def test_looks_twice_a_second(make_witness: MakeWitness, daemon: HealthyDaemon, events: list[AnyEvent]) -> None:
    """Each time it asks for health and makes a call, whose frames are events like all others."""
    daemon.busy = 3
    async with running(make_witness()):
        await asyncio.sleep(1.2)
    seen = of(events, HealthSeen)
    assert [event.asked_at for event in seen] == pytest.approx([0.0, 0.5, 1.0])
    assert (seen[0].total, seen[0].total_cap, seen[0].tools, seen[0].sessions) == (3, 24, {"chat": 3}, 2)
    assert [frame.op for frame in of(events, Frame)][:4] == ["health", "health_res", "call_tool", "call_tool_res"]
    assert not any(event.quiescent for event in seen)


async def test_its_connections_are_known_as_such(make_witness: MakeWitness, events: list[AnyEvent]) -> None:
    """Their numbers are none of the load's."""
    async with running(make_witness()):
        await asyncio.sleep(0.1)
    assert [(seen.connection, seen.what, seen.witness) for seen in of(events, Connection)] == [
        (-1, "opened", True),
        (-1, "closed", True),
    ]


async def test_survives_a_restart(make_witness: MakeWitness, daemon: HealthyDaemon, events: list[AnyEvent]) -> None:
    """While the daemon is away there is nothing to see; afterwards it looks on, over a new connection."""
    async with running(make_witness()):
        await asyncio.sleep(0.1)
        daemon.absent_for = 3
        daemon.links[0].abort()
        await asyncio.sleep(2.5)
    assert [event.asked_at for event in of(events, HealthSeen)] == pytest.approx([0.0, 2.0, 2.5], abs=0.1)
    assert [seen.what for seen in of(events, Connection)] == ["opened", "lost", "opened", "closed"]


class TestQuiescent:
    async def test_asks_until_nothing_is_in_flight(
        self, make_witness: MakeWitness, daemon: HealthyDaemon, events: list[AnyEvent]
    ) -> None:
        """It notes the moment at which all was zero, and only that one."""
        daemon.busy = 1
        asyncio.get_running_loop().call_later(0.31, setattr, daemon, "busy", 0)
        assert await make_witness().quiescent(1.0)
        (seen,) = of(events, HealthSeen)
        assert (seen.quiescent, seen.total) == (True, 0)
        assert seen.at == pytest.approx(0.32)

    async def test_gives_up_in_time_and_says_what_was_left(
        self, make_witness: MakeWitness, daemon: HealthyDaemon, events: list[AnyEvent]
    ) -> None:
        """What is in flight for ever is a finding, not a wait."""
        daemon.busy = 2
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        assert not await make_witness().quiescent(1.0)
        assert loop.time() - began_at == pytest.approx(1.0)
        (seen,) = of(events, HealthSeen)
        assert (seen.quiescent, seen.total, seen.tools) == (False, 2, {"chat": 2})

    async def test_knows_nothing_of_a_daemon_that_is_away(
        self, make_witness: MakeWitness, daemon: HealthyDaemon, events: list[AnyEvent]
    ) -> None:
        """No answer is no quiet."""
        daemon.absent_for = 10_000
        assert not await make_witness().quiescent(1.0)
        assert of(events, HealthSeen) == []
