"""Bad WebSocket frames, frames at the limit of size, floods, and fields that are odd but allowed (INV-30)."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from websockets.frames import Opcode

from chaos.probes.bad_input import judged, prompt_beside
from chaos.probes.case import MARKER, Case, Seen
from chaos.probes.keys import fresh_key
from chaos.probes.raw import BOUND_S, Stopwatch, a_call, a_frame, describe, error_of, session
from chaos.probes.target import Target

PINGS: Final = 1000
CALLS: Final = 1000
_HEX_ID: Final = 32


def cases(_target: Target) -> Iterator[Case]:
    """Give the small questions."""
    for name, frame, code in (
        ("invalid UTF-8", a_frame(b'{"op":"health","x":"\xff\xfe"}'), 1007),
        ("binary frame", a_frame(b'{"op":"health"}', Opcode.BINARY), 1003),
    ):
        expected = f"closed {code}, neighbour unharmed"
        yield Case("INV-30", name, expected, partial(_closed, frame=frame, code=code))
    for name, more in (
        ("timeout 1e9", {"timeout": 1e9}),
        ("trace_id of 10 KB", {"trace_id": "a" * 10_240}),
        ("trace_id with line breaks", {"trace_id": f"{MARKER}\nlevel=error\r\n"}),
        ("trace_id an object", {"trace_id": {}}),
        ("unknown fields", {"xyzzy": [1, 2, 3]}),
    ):
        expected = "taken, with a trace_id of 32 hex digits, and a result"
        yield Case("INV-30", name, expected, partial(_taken, more=more))


def heavy_cases(target: Target) -> Iterator[Case]:
    """Give the questions that take much of both machines: to be put one after another."""
    most = target.max_message_bytes
    unknown = None if target.embedded else "the largest message of a foreign daemon is not known"
    for name, size in (("max - 1", most - 1), ("max", most)):
        expected = "answered, connection stays, neighbour unharmed"
        yield Case("INV-30", f"message of {name} bytes", expected, partial(_sized, size=size), unknown)
    too_big = "closed 1009, neighbour unharmed"
    yield Case("INV-30", "message of max + 1 bytes", too_big, partial(_too_big, size=most + 1), unknown)
    yield Case("INV-30", f"{PINGS} pings in one write", "neighbour unharmed", _pings)
    yield Case("INV-30", f"{CALLS} calls in one write", "each one terminal, neighbour unharmed", _calls)


async def _closed(target: Target, *, frame: bytes, code: int) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        client.write(frame)
        closed, beside_s = await asyncio.gather(client.close_code(), prompt_beside(neighbour))
        return judged(f"closed {closed}", right=closed == code, took_s=beside_s)


async def _too_big(target: Target, *, size: int) -> Seen:
    return await _closed(target, frame=a_frame(_health_of(size)), code=1009)


async def _sized(target: Target, *, size: int) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        watch = Stopwatch()
        client.write(a_frame(_health_of(size)))
        answer, beside_s = await asyncio.gather(client.receive(), prompt_beside(neighbour))
        took_s = watch.s()
        well = await client.is_well()
    right = answer.get("op") == "health_res" or error_of(answer)[0] in {400, 413}
    return judged(describe(answer), right=right and well, took_s=max(took_s, beside_s), well=well)


def _health_of(size: int) -> bytes:
    start, end = b'{"op":"health","request_id":"r","x":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


async def _taken(target: Target, *, more: dict[str, Any]) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        watch = Stopwatch()
        # A key of its own: the same call may be in flight for another question, and would be its duplicate.
        call = a_call("version", "r", call_key=fresh_key(), **more)
        first, beside_s = await asyncio.gather(client.ask(call), prompt_beside(neighbour))
        took_s = watch.s()
        acked = first.get("op") == "call_tool_ack"
        last = await client.until("call_tool_res", "r") if acked else first
        well = await client.is_well()
    trace_id = str(first.get("trace_id"))
    plain = len(trace_id) == _HEX_ID and set(trace_id) <= set("0123456789abcdef")
    right = acked and plain and "outputs" in last and well
    text = f"{describe(first)}, trace_id {trace_id[:_HEX_ID]}, then {describe(last)}"
    return judged(text, right=right, took_s=max(took_s, beside_s), well=well)


async def _pings(target: Target) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        client.write(*(a_frame(b"flood", Opcode.PING) for _ in range(PINGS)))
        beside_s = await prompt_beside(neighbour)
    return judged("neighbour answered", right=True, took_s=beside_s)


async def _calls(target: Target) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        frames = (json.dumps(a_call("version", str(number))) for number in range(CALLS))
        client.write(*(a_frame(frame.encode()) for frame in frames))
        beside = asyncio.create_task(prompt_beside(neighbour))
        terminals: dict[str, int] = {}
        async with asyncio.timeout(BOUND_S * 2):
            while len(terminals) < CALLS:
                frame = await client.receive()
                if frame.get("op") == "call_tool_res":
                    request_id = str(frame.get("request_id"))
                    terminals[request_id] = terminals.get(request_id, 0) + 1
        beside_s = await beside
        well = await client.is_well()
    twice = sum(count > 1 for count in terminals.values())
    text = f"{len(terminals)} ended, {twice} of them twice"
    return judged(text, right=well and twice == 0, took_s=beside_s, well=well)
