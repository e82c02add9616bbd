"""Clients that read slowly, or not at all, and clients that flood: what they cost is bounded, and nobody else pays."""

import asyncio
import json

import pytest
from websockets.frames import Opcode

from reference_daemon import daemon as daemon_module
from reference_daemon import link
from tests.daemon.conftest import House, Lines
from tests.daemon.raw_client import BOUND_S, RawClient, a_frame

MIB = 1024 * 1024


def call(number: int, size: int) -> bytes:
    """Return a call for a result of `size` bytes."""
    message = {"op": "call_tool", "request_id": str(number), "name": "many_bytes", "arguments": {"n": size}}
    return a_frame(json.dumps({**message, "call_key": f"k{number}"}).encode())


async def until_sessions(client: RawClient, count: int) -> None:
    """Ask for health until so many sessions are open."""
    async with asyncio.timeout(BOUND_S):
        while (await client.health())["sessions"] != count:
            pass


async def test_a_large_result_that_is_not_read_holds_no_slot(house: House) -> None:
    """A result of 30 MB that its client does not read is stored, its slot is free, and another session gets it."""
    daemon = await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
    sleepy, neighbour = await house.socket(daemon), await house.enter(daemon)
    sleepy.write(call(1, 30 * MIB))
    await house.started("many_bytes")
    await house.until_idle()
    figures = await neighbour.health()
    assert (figures["global_inflight"], figures["sessions"]) == (0, 2)
    await neighbour.send({"op": "attach", "request_id": "a", "call_key": "k1"})
    assert len((await neighbour.receive())["outputs"][0]["text"]) == 30 * MIB


async def test_who_reads_late_gets_everything(house: House) -> None:
    """A client that begins to read late gets everything, whole and in order."""
    daemon = await house.start()
    sleepy = await house.socket(daemon)
    for number in range(4):
        sleepy.write(call(number, 5 * MIB + number))
        await house.started("many_bytes")
    await house.until_idle()
    received = await sleepy.read(20 * MIB)
    at = [received.index(b'"' + b"x" * (5 * MIB + number) + b'"') for number in range(4)]
    assert at == sorted(at)


async def test_too_much_that_waits_cuts_off(house: House, monkeypatch: pytest.MonkeyPatch, logged: Lines) -> None:
    """A client for which more waits than the bound is cut off; the log says why; its results can be asked for."""
    monkeypatch.setattr(link, "MAX_WAITING_BYTES", 2 * MIB)
    daemon = await house.start()
    sleepy, neighbour = await house.socket(daemon), await house.enter(daemon)
    for number in range(20):  # the kernel's buffers take some of it
        sleepy.write(call(number, MIB))
        if (await neighbour.health())["sessions"] == 1:
            break
    await until_sessions(neighbour, 1)
    await house.until_idle()
    assert [line["reason"] for line in logged() if line["event"] == "session_closed"] == ["slow_reader"]
    await neighbour.send({"op": "attach", "request_id": "a", "call_key": "k0"})
    assert len((await neighbour.receive())["outputs"][0]["text"]) == MIB


async def test_heartbeats_are_left_out_for_who_does_not_read(house: House) -> None:
    """While a client does not read, no heartbeats pile up for it; its call goes on."""
    daemon = await house.start(scale=0.01, EXAI_WS_PROGRESS_INTERVAL_SECS=0.5)
    sleepy, neighbour = await house.socket(daemon), await house.enter(daemon)
    sleepy.write(call(1, 20 * MIB))
    await house.started("many_bytes")
    sleepy.write(a_frame(b'{"op":"call_tool","request_id":"h","name":"hold","call_key":"h"}'))
    context = await house.started("hold")
    while context.heartbeats < 20:
        await neighbour.health()
    [session] = [each for each in daemon._sessions if each.link.congested]
    assert [json.loads(frame)["op"] for frame in session.link._waiting] == ["call_tool_ack"]
    house.tools["hold"].release.set()


@pytest.mark.parametrize("hello", [b'{"op":"hello"}', b""], ids=["in a session", "before hello"])
async def test_ping_flood_without_reading(house: House, monkeypatch: pytest.MonkeyPatch, hello: bytes) -> None:
    """Answers to pings that nobody reads are bounded, too: who floods is cut off, in a session and before hello."""
    monkeypatch.setattr(link, "MAX_WAITING_BYTES", MIB)
    daemon = await house.start()
    neighbour = await house.enter(daemon)
    flooder = await house.socket(daemon, hello=hello)
    pings = a_frame(b"p" * 125, Opcode.PING) * 1000

    async def flood() -> None:
        for _ in range(1000):
            flooder.write(pings)
            await flooder.drain()

    with pytest.raises(ConnectionError):
        await flood()
    await until_sessions(neighbour, 1)


async def test_ping_flood(house: House) -> None:
    """A client that floods with pings and reads the answers is served, and so is its neighbour."""
    daemon = await house.start()
    flooder, neighbour = await house.enter(daemon), await house.enter(daemon)
    async with flooder.connection.send_context():
        for _ in range(10_000):
            flooder.connection.protocol.send_ping(b"p" * 125)
    assert await neighbour.health()
    assert await flooder.health()


async def test_a_peer_that_is_stuck_is_found_by_its_pings(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads nothing, and so answers no ping, is gone after the ping timeout, however much waits."""
    monkeypatch.setattr(daemon_module, "LEAST_PING_WALL_S", 0.1)
    daemon = await house.start(scale=0.001)
    stuck, neighbour = await house.socket(daemon), await house.enter(daemon)
    stuck.write(call(1, 20 * MIB))
    await house.started("many_bytes")
    await until_sessions(neighbour, 2)
    await until_sessions(neighbour, 1)


async def test_empty_fragments_for_ever(house: House) -> None:
    """A message whose fragments never end, each of them empty, costs its connection (1009) and nobody else."""
    daemon = await house.start()
    neighbour = await house.enter(daemon)
    endless = await house.socket(daemon)
    endless.write(a_frame(b"{", Opcode.TEXT, fin=False), a_frame(b"", Opcode.CONT, fin=False) * 20_000)
    await endless.drain()
    await until_sessions(neighbour, 1)
    assert (1009).to_bytes(2, "big") in await endless.read_all()
