"""Bad frames: each gets one clear coded answer, soon, and harms nobody else (INV-30)."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from chaos.probes.case import MARKER, PROMPT_S, Case, Seen, in_time
from chaos.probes.raw import Answer, Message, RawClient, Stopwatch, a_call, describe, error_of, session
from chaos.probes.target import Target

_LONG: Final = "x" * 256
_HUGE: Final = "x" * 300_000
_DEEP: Final = "[" * 100_000 + "]" * 100_000
_BAD: Final = (400, "BAD_REQUEST")
_NO_TOOL: Final = (404, "TOOL_NOT_FOUND")
_NO_CALL: Final = (404, "UNKNOWN_CALL")
_OWN_OPS: Final = ("hello_ack", "call_tool_ack", "progress", "call_tool_res", "health_res", "error")


@dataclass(frozen=True)
class Bad:
    """A frame that is wrong, and what its answer must name.

    Attributes:
        name: What is wrong with it.
        message: The frame.
        request_id: The id that the answer names; None if none could be read.
        error: Status and code.
    """

    name: str
    message: Message
    request_id: str | None = None
    error: tuple[int, str] = _BAD


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions whose connection stays open."""
    for bad in (*_frames(), *_fields(), *_calls()):
        status, code = bad.error
        named = f" for {bad.request_id}" if bad.request_id else ""
        expected = f"{status} {code}{named}, connection stays, neighbour unharmed"
        yield Case("INV-30", bad.name, expected, partial(_answered, bad=bad))


def _frames() -> Iterator[Bad]:
    """Give frames that are no requests at all."""
    yield Bad("not JSON", "hello")
    yield Bad("empty frame", "")
    yield Bad("truncated", '{"op":"health"')
    yield Bad("two documents", '{"op":"health"}{"op":"health"}')
    yield Bad("BOM", '\ufeff{"op":"health"}')
    yield Bad("array", "[]")
    yield Bad("number", "5")
    yield Bad("null", "null")
    yield Bad("string", '"health"')
    yield Bad("NaN", '{"op":"call_tool","request_id":"r","name":"version","arguments":{"n":NaN}}')
    call = '{"op":"call_tool","request_id":"r","name":"version","arguments":'
    yield Bad("1e999", call + '{"n":1e999}}', "r")
    yield Bad("deep frame", f'{{"op":"health","x":{_DEEP}}}')
    yield Bad("deep arguments", f'{call}{{"a":{_DEEP}}}}}')
    yield Bad("deep and never closed", "[" * 200_000)
    yield Bad("half a surrogate pair", '{"op":"call_tool","request_id":"\\ud800","name":"version"}')


def _fields() -> Iterator[Bad]:
    """Give requests with an op that is none, and others whose fields are missing."""
    ops: dict[str, Any] = {"unknown": "xyzzy", "null": None, "of a wrong type": ["health"], "empty": "", "huge": _HUGE}
    yield Bad("op missing", {"request_id": "r"}, "r")
    for name, op in ops.items():
        yield Bad(f"op {name}", {"op": op, "request_id": "r"}, "r")
    for op in _OWN_OPS:
        yield Bad(f"the daemon's own {op}", {"op": op, "request_id": "r", "ok": True}, "r")
    yield Bad("second hello", {"op": "hello", "request_id": "r"}, "r")
    yield Bad("request_id missing", {"op": "call_tool", "name": "version"})
    yield Bad("name missing", {"op": "call_tool", "request_id": "r"}, "r")
    yield Bad("cancel without an id", {"op": "cancel"})
    yield Bad("cancel of an unknown id", {"op": "cancel", "request_id": "r"}, "r", _NO_CALL)
    yield Bad("attach without a key", {"op": "attach", "request_id": "r"}, "r")
    yield Bad(
        "attach to an unknown key", {"op": "attach", "request_id": "r", "call_key": f"{MARKER}-no"}, "r", _NO_CALL
    )
    yield Bad("health with an id that is none", {"op": "health", "request_id": 5})
    yield Bad("rotation without tokens", {"op": "rotate_token", "request_id": "r"}, "r")


def _calls() -> Iterator[Bad]:
    """Give calls with one bad field."""
    for name, tool in (("unknown", "nobody"), ("empty", ""), ("with control characters", "version\n\x1b[31m\x00")):
        yield Bad(f"name {name}", a_call(tool, "r"), "r", _NO_TOOL)
    yield Bad("name huge", a_call(_HUGE, "r"), "r", _NO_TOOL)
    fields: dict[str, tuple[tuple[str, Any], ...]] = {
        "name": (("of a wrong type", 5), ("null", None)),
        "arguments": (("null", None), ("an array", []), ("a string", "{}"), ("65 levels deep", _nested(65))),
        "call_key": (("of a wrong type", 5), ("empty", ""), ("of 256 characters", _LONG)),
        "timeout": (("-1", -1), ("0", 0), ("a text", "x"), ("true", True), ("of 400 digits", 10**400)),
    }
    for field, values in fields.items():
        for name, value in values:
            yield Bad(f"{field} {name}", a_call("version", "r") | {field: value}, "r")
    yield Bad("arguments against the schema", a_call("analyze", "r", {"step": MARKER, "step_number": "one"}), "r")
    ids: tuple[tuple[str, Any], ...] = (("empty", ""), ("null", None), ("an object", {}), ("a number", 7))
    for name, value in (*ids, ("of 256 characters", _LONG), ("huge", _HUGE)):
        yield Bad(f"request_id {name}", a_call("version", "r") | {"request_id": value})


def _nested(levels: int) -> dict[str, Any]:
    value: Any = MARKER
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


async def _answered(target: Target, *, bad: Bad) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        own, beside_s = await asyncio.gather(_timed(client, bad.message), prompt_beside(neighbour))
        answer, took_s = own
        well = await client.is_well()
    right = (
        answer.get("op") in {"error", "call_tool_res"}
        and error_of(answer) == bad.error
        and answer.get("request_id") == bad.request_id
    )
    return judged(describe(answer), right=right and well, took_s=max(took_s, beside_s), well=well)


async def _timed(client: RawClient, message: Message) -> tuple[Answer, float]:
    watch = Stopwatch()
    answer = await client.ask(message)
    return answer, watch.s()


async def prompt_beside(neighbour: RawClient) -> float:
    """Ask something on the neighbour's connection; return the wall seconds until its answer.

    Raises:
        AnswerMixedUpError: Another answer came.
    """
    watch = Stopwatch()
    answer = await neighbour.ask({"op": "health", "request_id": "neighbour"})
    if (answer.get("op"), answer.get("request_id")) != ("health_res", "neighbour"):
        raise AnswerMixedUpError(describe(answer))
    return watch.s()


class AnswerMixedUpError(Exception):
    """A neighbour got an answer that is not its own."""


def judged(text: str, *, right: bool, took_s: float, well: bool = True) -> Seen:
    """Judge an answer that is to be right and prompt, on a connection that is to stay."""
    if not well:
        text += ", and the connection does not answer any more"
    return in_time(f"{text}" if took_s <= PROMPT_S else f"{text} (own or neighbour's)", took_s, right=right)
