"""One key stands for one piece of work (INV-13, 14, 15), and what a client calls itself grants nothing (INV-36)."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chaos.probes.case import MARKER, Case, NotAskedError, Seen, in_time
from chaos.probes.raw import BOUND_S, Answer, RawClient, Stopwatch, a_call, describe, error_of, session
from chaos.probes.target import Target

DUPLICATE: Final = (409, "DUPLICATE")
REUSED: Final = (422, "KEY_REUSED")
UNKNOWN: Final = (404, "UNKNOWN_CALL")
CANCELLED: Final = (499, "CANCELLED")
_FULL: Final = 429
_PAUSE_S: Final = 0.1
"""Wall seconds between tries: a slot of a stub is free after two seconds at most."""


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions; each holds at most one slot of a provider, and gives it back."""
    yield Case("INV-13", "a live key again", "409 DUPLICATE at once, naming the owner", _duplicate)
    yield Case("INV-13", "a live key again, in another session", "409 DUPLICATE, naming the owner", _duplicate_beside)
    yield Case("INV-14", "a live key with other work", "422 KEY_REUSED", _other_work_live)
    yield Case("INV-14", "a finished key with other work", "422 KEY_REUSED", _other_work_finished)
    yield Case("INV-15", "a finished key again", "replayed byte for byte under the new id", _replayed)
    yield Case("INV-30", "request_id reused while live", "error 409, the live call keeps its one terminal", _reused_id)
    yield Case("INV-36", "cancel of another session's call", "404, and the call goes on", _foreign_cancel)
    yield Case("INV-36", "hello with another session's id", "a session of its own, without rights", _foreign_label)
    yield Case("INV-30", "cancel of a finished id", "404 UNKNOWN_CALL", _cancel_finished)


def a_chat(request_id: str, *, prompt: str = "what is this?", **more: Any) -> Answer:
    """Return a call that a provider works on for a while: as short a one as there is."""
    return a_call("chat", request_id, {"prompt": f"{MARKER} {prompt}", "draw": 0.0}, **more)


def fresh_key() -> str:
    """Return a key that nobody had, and that is to be told nobody."""
    return f"{MARKER}-{uuid.uuid4()}"


async def started(client: RawClient, call: Mapping[str, Any]) -> None:
    """Send a call that is to be admitted, again and again while other questions hold all slots.

    Raises:
        NotAskedError: It never was.
    """
    watch = Stopwatch()
    while True:
        answer = await client.ask(call)
        if answer.get("op") == "call_tool_ack":
            return
        if error_of(answer)[0] != _FULL or watch.s() > BOUND_S:
            raise NotAskedError(f"the call that was to run was not admitted: {describe(answer)}")
        await asyncio.sleep(_PAUSE_S)


async def stopped(client: RawClient, request_id: str) -> Answer:
    """Cancel a call; return its terminal."""
    await client.send({"op": "cancel", "request_id": request_id})
    return await client.until("call_tool_res", request_id)


async def _first_answer(client: RawClient, call: Mapping[str, Any]) -> tuple[Answer, float]:
    """Send a call; return its first answer and the wall seconds until then. Heartbeats of others are dropped."""
    watch = Stopwatch()
    await client.send(call)
    while (frame := await client.receive()).get("request_id") != call["request_id"] or frame.get("op") == "progress":
        pass
    return frame, watch.s()


async def _duplicate(target: Target) -> Seen:
    async with session(target) as client:
        return await _again(client, client)


async def _duplicate_beside(target: Target) -> Seen:
    async with session(target) as client, session(target) as other:
        return await _again(client, other)


async def _again(owner: RawClient, other: RawClient) -> Seen:
    key, owner_id = fresh_key(), f"owner-{uuid.uuid4().hex[:8]}"
    await started(owner, a_chat(owner_id, call_key=key))
    answer, took_s = await _first_answer(other, a_chat("again", call_key=key))
    await stopped(owner, owner_id)
    error = answer.get("error")
    named = error.get("original_request_id") if isinstance(error, dict) else None
    right = answer.get("op") == "call_tool_res" and error_of(answer) == DUPLICATE and named == owner_id
    return in_time(f"{describe(answer)}, naming {'the owner' if named == owner_id else named}", took_s, right=right)


async def _other_work_live(target: Target) -> Seen:
    key = fresh_key()
    async with session(target) as client:
        await started(client, a_chat("owner", call_key=key))
        answer, _ = await _first_answer(client, a_chat("other", prompt="something else", call_key=key))
        await stopped(client, "owner")
    return Seen(describe(answer), error_of(answer) == REUSED)


async def _other_work_finished(target: Target) -> Seen:
    key = fresh_key()
    async with session(target) as client:
        await _finished(client, "first", key)
        answer, _ = await _first_answer(client, a_chat("other", call_key=key))
        if answer.get("op") == "call_tool_ack":
            await stopped(client, "other")
    return Seen(describe(answer), error_of(answer) == REUSED)


async def _finished(client: RawClient, request_id: str, key: str) -> Answer:
    """Run a call that takes no provider to its end."""
    await started(client, a_call("version", request_id, call_key=key))
    return await client.until("call_tool_res", request_id)


async def _replayed(target: Target) -> Seen:
    key = fresh_key()
    async with session(target) as client:
        first = await _finished(client, "first", key)
        again, _ = await _first_answer(client, a_call("version", "again", call_key=key))
    same = again.get("outputs") == first.get("outputs") and first.get("outputs") is not None
    held = again.get("op") == "call_tool_res" and again.get("replayed") is True and same
    text = f"{describe(again)}, replayed {again.get('replayed')}, payload {'the same' if same else 'another'}"
    return Seen(text, held)


async def _reused_id(target: Target) -> Seen:
    async with session(target) as client, session(target) as neighbour:
        await started(client, a_chat("r", call_key=fresh_key()))
        await client.send(a_call("version", "r"))
        answer = await client.until("error", "r")
        well = await neighbour.is_well()
        last = await stopped(client, "r")
        more = await client.is_well()
    held = error_of(answer) == DUPLICATE and error_of(last) == CANCELLED and well and more
    return Seen(f"{describe(answer)}, then {describe(last)}", held)


async def _foreign_cancel(target: Target) -> Seen:
    async with session(target) as owner, session(target) as stranger:
        return await _goes_on(owner, stranger)


async def _foreign_label(target: Target) -> Seen:
    async with session(target) as owner, session(target, session_id=owner.session_id) as stranger:
        if owner.session_id == stranger.session_id:
            return Seen("the same session id for both", held=False)
        return await _goes_on(owner, stranger)


async def _goes_on(owner: RawClient, stranger: RawClient) -> Seen:
    request_id = f"mine-{uuid.uuid4().hex[:8]}"
    await started(owner, a_chat(request_id, call_key=fresh_key()))
    refused = await stranger.ask({"op": "cancel", "request_id": request_id})
    await owner.send({"op": "health", "request_id": "between"})
    told = []
    while (frame := await owner.receive()).get("op") != "health_res":
        told.append(frame)
    ended = [frame for frame in told if frame.get("op") == "call_tool_res"]
    last = ended[0] if ended else await stopped(owner, request_id)
    held = error_of(refused) == UNKNOWN and not ended and error_of(last) == CANCELLED
    return Seen(f"{describe(refused)}; the call {'ended' if ended else 'went on'}", held)


async def _cancel_finished(target: Target) -> Seen:
    async with session(target) as client:
        await _finished(client, "done", fresh_key())
        answer = await client.ask({"op": "cancel", "request_id": "done"})
    return Seen(describe(answer), error_of(answer) == UNKNOWN)
