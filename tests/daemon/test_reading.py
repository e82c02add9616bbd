"""Frames on their way in and out: whatever shape a message comes in, it is read once, whole, and in its order."""

import json
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode

from reference_daemon.link import Link
from tests.daemon.conftest import House
from tests.daemon.raw_client import RawSocket, a_frame


def call(request_id: str) -> bytes:
    """Return a call of a tool that waits until it is released."""
    arguments = {"text": request_id}  # without a key, the same work would be a duplicate
    return json.dumps({"op": "call_tool", "request_id": request_id, "name": "hold", "arguments": arguments}).encode()


def cancel(request_id: str) -> bytes:
    """Return a cancel."""
    return json.dumps({"op": "cancel", "request_id": request_id}).encode()


async def until(socket: RawSocket, words: bytes) -> bytes:
    """Read until `words` have come; return everything that came."""
    received = b""
    while words not in received:
        received += await socket.read(1)
    return received


def ops(received: bytes) -> list[tuple[str, str | None]]:
    """Return op and request_id of each frame, in order."""
    text = received.decode("latin-1")
    frames = []
    while (start := text.find("{")) >= 0:
        frame, length = json.JSONDecoder().raw_decode(text[start:])
        frames.append((frame["op"], frame.get("request_id")))
        text = text[start + length :]
    return frames


async def test_calls_in_the_same_write_as_the_hello(house: House) -> None:
    """What a client sends before it has read the answer to its hello is answered after that, in its order."""
    daemon = await house.start()
    socket = await house.socket(daemon, hello=b"")
    socket.write(a_frame(b'{"op":"hello"}'), *(a_frame(frame) for frame in (call("a"), cancel("a"), call("b"))))
    received = await until(socket, b'"b"')
    assert ops(received) == [
        ("hello_ack", None),
        ("call_tool_ack", "a"),
        ("call_tool_res", "a"),
        ("call_tool_ack", "b"),
    ]
    house.tools["hold"].release.set()


async def test_fragmented_call_keeps_its_place(house: House) -> None:
    """A call in fragments, and its cancel right behind it, are answered in that order."""
    daemon = await house.start()
    socket = await house.socket(daemon)
    await until(socket, b"hello_ack")
    whole = call("a")
    socket.write(
        a_frame(whole[:10], fin=False),
        a_frame(whole[10:20], Opcode.CONT, fin=False),
        a_frame(whole[20:], Opcode.CONT),
        a_frame(cancel("a")),
        a_frame(call("b")),
    )
    received = await until(socket, b'"b"')
    assert ops(received) == [("call_tool_ack", "a"), ("call_tool_res", "a"), ("call_tool_ack", "b")]
    house.tools["hold"].release.set()


@pytest.mark.parametrize("whole", [True, False], ids=["in one frame", "in fragments"])
async def test_what_is_no_utf8_closes_with_1007(house: House, whole: bool) -> None:
    """A text that is no UTF-8 ends its connection, in whatever shape it comes."""
    daemon = await house.start()
    socket = await house.socket(daemon)
    await until(socket, b"hello_ack")
    bad = b'{"op":"\xff"}'
    socket.write(*([a_frame(bad)] if whole else [a_frame(bad[:5], fin=False), a_frame(bad[5:], Opcode.CONT)]))
    assert (1007).to_bytes(2, "big") in await socket.read_all()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_frames_are_those_of_the_library(size: int) -> None:
    """The daemon frames a text as the library does, at every length of the length."""
    text = b"x" * size
    assert b"".join(Link._framed(cast("Any", None), text)) == Frame(Opcode.TEXT, text).serialize(mask=False)
