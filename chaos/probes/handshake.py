"""What may come before the hello: nothing, and a stranger is told nothing (INV-32)."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Final

from websockets.exceptions import ConnectionClosed

from chaos.probes.case import Case, Seen
from chaos.probes.raw import BOUND_S, Message, RawClient, Stopwatch, a_frame, dialled, hello_of
from chaos.probes.target import Target

MAX_HELLO_BYTES: Final = 64 * 1024
TOO_BIG: Final = 1009
_DEEP: Final = "[" * 20_000 + "]" * 20_000
_LEAST_WALL_S: Final = 2.0
"""Wall seconds that a hello may take at least, however time is scaled (if the limit itself is not shorter)."""
_SPARE_S: Final = 0.75
"""Wall seconds on top of the hello timeout: the closing handshake, on a busy machine."""

_NO_HELLO: Final[tuple[tuple[str, Message], ...]] = (
    ("empty", ""),
    ("not JSON", "hello"),
    ("truncated", '{"op":"hello"'),
    ("two documents", '{"op":"hello"}{"op":"hello"}'),
    ("BOM", '\ufeff{"op":"hello"}'),
    ("array", "[]"),
    ("number", "5"),
    ("null", "null"),
    ("string", '"hello"'),
    ("NaN", '{"op":"hello","x":1,"token":NaN}'),
    ("deep nesting", f'{{"op":"hello","x":{_DEEP}}}'),
    ("op missing", "{}"),
    ("op of a wrong type", '{"op":5}'),
)
_TOO_EARLY: Final[tuple[tuple[str, Message], ...]] = (
    ("health", {"op": "health"}),
    ("list_tools", {"op": "list_tools"}),
    ("call_tool", {"op": "call_tool", "request_id": "r", "name": "version", "arguments": {}}),
    ("cancel", {"op": "cancel", "request_id": "r"}),
    ("rotate_token", {"op": "rotate_token", "old": "x", "new": "y"}),
    ("unknown op", {"op": "xyzzy"}),
)


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions that are answered at once."""
    for name, message in _NO_HELLO:
        expected = "hello_ack invalid_hello, closed 4000"
        yield _refused(f"{name} instead of hello", expected, message, "invalid_hello", 4000)
    for name, message in _TOO_EARLY:
        expected = "hello_ack missing_hello and nothing else, closed 4001"
        yield _refused(f"{name} before hello", expected, message, "missing_hello", 4001)
    yield Case("INV-32", "hello of over 64 KiB", f"closed {TOO_BIG}", _big_hello)
    yield Case("INV-32", "hello by the byte", "accepted", _hello_by_the_byte)


def slow_cases(_target: Target) -> Iterator[Case]:
    """Give the question that takes the hello timeout."""
    yield Case("INV-32", "no hello", "closed 4002 within the hello timeout", _silence)
    yield Case("INV-32", "a hello that is never finished", "closed 4002 within the hello timeout", _unfinished)


def _refused(name: str, expected: str, message: Message, error: str, code: int) -> Case:
    return Case("INV-32", name, expected, partial(_first_frame, message=message, error=error, code=code))


async def _first_frame(target: Target, *, message: Message, error: str, code: int) -> Seen:
    async with dialled(target) as client:
        await client.send(message)
        closed = await client.close_code()
        right = {"op": "hello_ack", "ok": False, "error": error}
        answers = [json.loads(text) for text in client.seen]
        return Seen(_story(client, closed), answers == [right] and closed == code)


async def _big_hello(target: Target) -> Seen:
    async with dialled(target) as client:
        await client.send(json.dumps(hello_of(target.token)).ljust(MAX_HELLO_BYTES + 1))
        closed = await client.close_code()
        return Seen(_story(client, closed), closed == TOO_BIG and not client.seen)


async def _hello_by_the_byte(target: Target) -> Seen:
    async with dialled(target) as client:
        await client.connection.send(iter(json.dumps(hello_of(target.token))))
        ack = await client.receive()
        if target.token is None and ack.get("error") == "unauthorized":
            return Seen("understood, and refused for want of a token", held=True)
        return Seen(f"hello_ack ok {ack.get('ok')} {ack.get('error') or ''}".strip(), ack.get("ok") is True)


async def _silence(target: Target) -> Seen:
    return await _sent_away(target, b"")


async def _unfinished(target: Target) -> Seen:
    return await _sent_away(target, a_frame(b'{"op":', fin=False))


async def _sent_away(target: Target, first: bytes) -> Seen:
    limit_s = target.hello_timeout_s
    within_s = max(target.clock.wall_s(limit_s), min(limit_s, _LEAST_WALL_S)) + _SPARE_S
    async with dialled(target) as client:
        watch = Stopwatch()
        if first:
            client.write(first)
        closed = await client.close_code(bound_s=within_s + BOUND_S)
        took_s = watch.s()
        late = took_s > within_s
        text = f"{_story(client, closed)} after {took_s:.1f} s"
        return Seen(text, closed == 4002 and not late, late=late)  # noqa: PLR2004 - the code for "no hello"


def _story(client: RawClient, closed: int | None) -> str:
    said = " ".join(text[:120] for text in client.seen) or "nothing said"
    return f"{said}, closed {closed}"


async def let_in(target: Target, token: object) -> tuple[bool, str]:
    """Say hello with a token; return whether it was let in, and what came instead."""
    async with dialled(target) as client:
        try:
            ack = await client.ask({"op": "hello", "token": token})
        except ConnectionClosed:
            return False, f"closed {client.connection.close_code}"
        if ack.get("ok") is True:
            return True, "let in"
        return False, f"{ack.get('error')}, closed {await client.close_code()}"
