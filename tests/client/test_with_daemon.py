"""Client and daemon together, over real sockets: what each promises the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reference_daemon.client import CallOutcome, CallResult, DaemonClient, TimeoutLayer
from reference_daemon.clock import Clock
from reference_daemon.daemon import Daemon
from reference_daemon.observability.metrics import Metrics
from reference_daemon.settings import Settings
from tests.daemon.fake_tools import FakeTool

SCALE = 0.05  # an interval of 5 s takes 0.25 s: far above what a busy machine delays a timer by


@dataclass
class House:
    """A daemon with one tool, whose calls wait until they are released.

    Attributes:
        tool: The tool.
        daemon: The daemon.
        clock: Source of time.
        metrics: What the daemon counts.
    """

    tool: FakeTool = field(default_factory=lambda: FakeTool("hold"))
    clock: Clock = field(default_factory=lambda: Clock(SCALE))
    metrics: Metrics = field(default_factory=Metrics)
    daemon: Daemon = field(init=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.daemon.port}"

    def client(self) -> DaemonClient:
        """Return a client of it."""
        return DaemonClient(self.url, clock=self.clock, label="test")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A daemon whose tool has a cap of one call."""
    made = House()
    settings = Settings(
        EXAI_WS_PORT=0,
        EXAI_WS_TOOL_MAX_INFLIGHT={"hold": 1},
        EXAI_WS_RETRY_AFTER="fixed:2",
        EXAI_WS_DISABLE_COALESCE_FOR_TOOLS=frozenset({"hold"}),
        _env_file=None,
    )
    made.daemon = Daemon(settings, {"hold": made.tool}, made.clock, made.metrics)
    async with made.daemon:
        yield made


def calling(client: DaemonClient, **options: Any) -> asyncio.Task[CallResult]:
    """Start a call."""
    return asyncio.create_task(client.call("hold", {"text": "held"}, **{"timeout_s": 170.0, **options}))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the daemon, which runs in the same loop, has done something that nobody is told about."""
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.0)


async def cut(client: DaemonClient) -> None:
    """Cut the client's connection, as a network does."""
    channel = await client._connector.open()
    channel.link.transport.abort()
    await channel.lost.wait()


async def test_call_is_one_thing_at_both_ends(house: House) -> None:
    """The tool sees the client's trace_id, request_id and hashed key, and less time than the client has."""
    async with house.client() as client:
        call = calling(client)
        context = await house.tool.starts.get()
        house.tool.release.set()
        result = await call
    assert (result.ok, result.outputs) == (True, ["held"])
    assert (context.trace_id, context.request_id) == (result.trace_id, result.request_id)
    assert context.call_key_hash == result.call_key_hash
    assert result.timeout_s == context.deadline_at - context.started_at < 169.0


async def test_heartbeats_come_while_it_waits(house: House) -> None:
    """A slow call shows that it is alive; the client notes when."""
    seen: asyncio.Queue[object] = asyncio.Queue()
    async with house.client() as client:
        call = calling(client, on_progress=seen.put_nowait)
        await seen.get()
        await seen.get()
        house.tool.release.set()
        result = await call
    assert len(result.heartbeats) >= 2
    assert result.acked_at is not None
    assert result.sent_at is not None
    assert result.sent_at <= result.acked_at < result.heartbeats[0] < result.heartbeats[1] < result.finished_at


async def test_refused_call_gets_in_later(house: House) -> None:
    """A call over the cap comes back when it was told to, and runs then."""
    async with house.client() as client:
        first = calling(client)
        await house.tool.starts.get()
        second = calling(client)
        await until(lambda: house.metrics._rejected["OVER_CAPACITY", "tool:hold"] == 1)
        house.tool.release.set()
        assert (await first).attempts == 1
        result = await second
    assert (result.ok, result.attempts) == (True, 2)
    assert result.retry_wait_s >= 2.0
    assert house.tool.most_running == 1


async def test_refused_call_gives_up_after_three(house: House) -> None:
    """While the cap stays full, the third refusal is the outcome, and names what is full; each wait was told."""
    async with house.client() as client:
        first = calling(client)
        await house.tool.starts.get()
        waits: list[tuple[str, float, int]] = []
        result = await calling(client, on_wait=lambda why, wait_s, made: waits.append((why.code, wait_s, made)))
        house.tool.release.set()
        await first
    assert (result.outcome, result.attempts, house.tool.ran) == (CallOutcome.OVER_CAPACITY, 3, 1)
    assert [(code, made) for code, _, made in waits] == [("OVER_CAPACITY", 1), ("OVER_CAPACITY", 2)]
    assert sum(wait_s for _, wait_s, _ in waits) == pytest.approx(result.retry_wait_s)
    assert result.error is not None
    assert "tool:hold" in result.error.message
    assert result.retry_wait_s >= 4.0


async def test_lost_connection_costs_no_execution(house: House) -> None:
    """A call whose connection is cut twice runs once, and its client has the result."""
    async with house.client() as client:
        call = calling(client)
        await house.tool.starts.get()
        await cut(client)
        await client.health()
        await cut(client)
        await client.health()
        house.tool.release.set()
        result = await call
    assert (result.ok, result.attempts, house.tool.ran) == (True, 1, 1)
    assert result.reconnects >= 1


async def test_result_of_the_time_without_connection_is_replayed(house: House) -> None:
    """A call that ends while its client is away is answered from the store."""
    async with house.client() as client:
        call = calling(client)
        await house.tool.starts.get()
        await cut(client)
        house.tool.release.set()
        await house.daemon.calls.wait_until_idle()
        result = await call
    assert (result.outcome, result.outputs, house.tool.ran) == (CallOutcome.REPLAYED, ["held"], 1)


async def test_call_without_a_key_runs_once(house: House) -> None:
    """For this tool the daemon derives no key; a call whose connection is cut is not sent again."""
    async with house.client() as client:
        call = calling(client, derive_key=True)
        await house.tool.starts.get()
        await cut(client)
        result = await call
        house.tool.release.set()
        await house.daemon.calls.wait_until_idle()
    assert (result.outcome, house.tool.ran) == (CallOutcome.UNKNOWN, 1)


async def test_cancelled_call_stops_in_the_daemon(house: House) -> None:
    """Who cancels a call ends its work, and its slot is free again."""
    async with house.client() as client:
        call = calling(client)
        await house.tool.starts.get()
        call.cancel()
        await asyncio.wait([call])
        await house.daemon.calls.wait_until_idle()
        assert house.tool.running == 0
        house.tool.release.set()
        assert (await calling(client)).ok


async def test_client_closed_right_after_a_cancel_still_sends_it(house: House) -> None:
    """Ctrl-C cancels the call and closes the client in one go: the daemon is told before the connection ends."""
    async with house.client() as client:
        call = calling(client)
        await house.tool.starts.get()
        call.cancel()
        await asyncio.wait([call])
    await house.daemon.calls.wait_until_idle()
    assert house.tool.running == 0


async def test_daemon_answers_a_late_call_before_its_client_gives_up(house: House) -> None:
    """The client waits a grace longer than it says, so the timeout is the daemon's, with its reasons."""
    async with house.client() as client:
        result = await calling(client, timeout_s=6.0)
    assert (result.outcome, result.timeout_layer) == (CallOutcome.TIMEOUT, TimeoutLayer.DAEMON)
    assert result.error is not None
    assert result.error.code == "TIMEOUT"


async def test_daemon_that_ends_interrupts_and_is_not_asked_again(house: House) -> None:
    """A call that was cut by the daemon's end may have run: its outcome is final."""
    async with house.client() as client:
        call = calling(client)
        await house.tool.starts.get()
        house.daemon.calls.interrupt()
        result = await call
    assert (result.outcome, result.attempts) == (CallOutcome.INTERRUPTED, 1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
async def test_nothing_is_left_of_closed_clients(house: House) -> None:
    """Clients that connected, called, lost their connection and closed leave no task and no descriptor."""

    async def live_and_die() -> None:
        async with house.client() as client:
            call = calling(client)
            await house.tool.starts.get()
            await cut(client)
            await call

    def left() -> tuple[int, int, int]:
        return len(house.daemon._sessions), len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))

    house.tool.release.set()
    before = left()
    for _ in range(3):
        await live_and_die()
    await until(lambda: left() == before)
