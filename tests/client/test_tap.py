"""The tap of a client: it is told of every frame and every connection, in order; and what a client may do to one."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from reference_daemon import wire
from reference_daemon.client import CallOutcome, CallResult, DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.logical_call import work_key
from tests.client.scripted import Draws, MemoryLink, ScriptedDaemon, ack, ack_and_drop, answer, beat, refuse_attach

pytestmark = pytest.mark.looptime


class ListTap:
    """Writes down what it is told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.told: list[tuple[Any, ...]] = []

    def opened(self, session_id: str, boot_id: str | None) -> int:
        """Count the connections."""
        number = sum(1 for what, *_ in self.told if what == "opened") + 1
        self.told.append(("opened", number, session_id, boot_id))
        return number

    def sent(self, connection: int, frame: msgspec.Struct) -> None:
        """Note the kind of a frame."""
        self.told.append(("sent", connection, type(frame)))

    def received(self, connection: int, frame: wire.Reply | None) -> None:
        """Note the kind of a frame."""
        self.told.append(("received", connection, None if frame is None else type(frame)))

    def closed(self, connection: int, *, lost: bool) -> None:
        """Note how a connection ended."""
        self.told.append(("lost" if lost else "closed", connection))


@pytest.fixture
def tap() -> ListTap:
    """A tap that was told nothing."""
    return ListTap()


@pytest.fixture
def tapped(clock: Clock, daemon: ScriptedDaemon, tap: ListTap) -> DaemonClient:
    """A client with that tap, not connected yet."""
    return DaemonClient("ws://127.0.0.1:1", clock=clock, rng=cast("None", Draws((0.5,))), tap=tap)


async def test_is_told_of_every_frame_in_order(tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap) -> None:
    """From the hello that was accepted to the end of the connection."""
    daemon.on_call = [beat(5.0)]
    async with tapped:
        call = asyncio.create_task(tapped.call("chat", {}, timeout_s=60.0))
        await daemon.until(wire.CallTool)
        await asyncio.sleep(6.0)
        answer()(daemon.links[0], daemon.sent(wire.CallTool)[0])
        assert (await call).ok
    assert tap.told == [
        ("opened", 1, "s", "boot-1"),
        ("sent", 1, wire.CallTool),
        ("received", 1, wire.CallToolAck),
        ("received", 1, wire.Progress),
        ("received", 1, wire.CallToolReply),
        ("closed", 1),
    ]


async def test_is_told_of_a_loss_and_of_the_next_connection(
    tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap
) -> None:
    """Each connection has the number that the tap gave it."""
    daemon.on_call, daemon.on_attach = [ack_and_drop], [answer(replayed=True)]
    async with tapped:
        assert (await tapped.call("chat", {}, timeout_s=60.0)).outcome is CallOutcome.REPLAYED
    assert [what for what in tap.told if what[0] in {"opened", "lost", "closed"}] == [
        ("opened", 1, "s", "boot-1"),
        ("lost", 1),
        ("opened", 2, "s", "boot-1"),
        ("closed", 2),
    ]
    assert ("sent", 2, wire.Attach) in tap.told


async def test_is_told_of_frames_that_cannot_be_read(
    tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap
) -> None:
    """They belong to nobody, but they came."""
    async with tapped:
        daemon.links[0].answer_raw(b"{")
        await asyncio.sleep(0.1)
    assert ("received", 1, None) in tap.told


async def test_is_not_told_of_what_a_lost_connection_does_not_take(
    tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap
) -> None:
    """A cancel after the loss was not sent."""
    daemon.on_call, daemon.absent_for = [ack], 0
    async with tapped:
        call = asyncio.create_task(tapped.call("chat", {}, timeout_s=60.0))
        await daemon.until(wire.CallTool)
        daemon.links[0].open = False
        call.cancel()
        await asyncio.wait([call])
    assert ("sent", 1, wire.Cancel) not in tap.told


class TestDrop:
    async def test_ends_a_call_in_doubt_and_makes_no_other_connection(
        self, tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap
    ) -> None:
        """A client that crashes says nothing, and never comes back."""
        daemon.on_call = [ack]
        await tapped.connect()
        call = asyncio.create_task(tapped.call("chat", {}, timeout_s=60.0))
        await daemon.until(wire.CallTool)
        tapped.drop()
        assert (await call).outcome is CallOutcome.UNKNOWN
        await tapped.close()
        assert len(daemon.connects) == 1
        assert daemon.sent(wire.Cancel) == []
        assert tap.told[-1] == ("closed", 1)

    async def test_without_a_connection_is_nothing(
        self, tapped: DaemonClient, daemon: ScriptedDaemon, tap: ListTap
    ) -> None:
        """There is nothing to drop, to pause, or to go on with."""
        tapped.pause_reading()
        tapped.resume_reading()
        tapped.drop()
        await tapped.close()
        assert (daemon.connects, tap.told) == ([], [])


async def test_pause_stops_the_reading_of_the_open_connection(
    tapped: DaemonClient, daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transport reads no more, until it is told to."""
    turns: list[str] = []

    def noting(what: str) -> Callable[[MemoryLink], None]:
        return lambda link: turns.append(what)

    monkeypatch.setattr(MemoryLink, "pause_reading", noting("pause"), raising=False)
    monkeypatch.setattr(MemoryLink, "resume_reading", noting("resume"), raising=False)
    async with tapped:
        tapped.pause_reading()
        tapped.resume_reading()
    assert turns == ["pause", "resume"]


async def test_result_can_be_watched_while_it_is_filled_in(tapped: DaemonClient, daemon: ScriptedDaemon) -> None:
    """Whoever has to stop before the end knows what was seen until then."""
    daemon.on_call = [ack]
    seen: list[CallResult] = []
    async with tapped:
        call = asyncio.create_task(tapped.call("chat", {}, timeout_s=60.0, on_start=seen.append))
        await daemon.until(wire.CallTool)
        await asyncio.sleep(0.1)
        assert (seen[0].attempts, seen[0].acked_at is not None, seen[0].finished_at) == (1, True, 0.0)
        answer()(daemon.links[0], daemon.sent(wire.CallTool)[0])
        assert await call is seen[0]


async def test_derived_key_is_not_sent_and_finds_the_call_again(tapped: DaemonClient, daemon: ScriptedDaemon) -> None:
    """The client knows the key that the daemon derives, and attaches by it."""
    daemon.on_call, daemon.on_attach = [ack_and_drop], [answer(replayed=True)]
    async with tapped:
        result = await tapped.call("analyze", {"b": 1, "a": 2}, timeout_s=60.0, derive_key=True)
    assert daemon.sent(wire.CallTool)[0].call_key is None
    assert daemon.sent(wire.Attach)[0].call_key == result.call_key == work_key("analyze", {"a": 2, "b": 1})


async def test_call_without_a_key_that_the_daemon_does_not_know_is_not_sent_again(
    tapped: DaemonClient, daemon: ScriptedDaemon
) -> None:
    """For some tools the daemon derives no key: that it finds none does not say that the call never ran."""
    daemon.on_call, daemon.on_attach = [ack_and_drop], [refuse_attach("UNKNOWN_CALL")]
    async with tapped:
        result = await tapped.call("analyze", {}, timeout_s=60.0, derive_key=True)
    assert (result.outcome, result.attempts) == (CallOutcome.UNKNOWN, 1)
