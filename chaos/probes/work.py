"""Work at the workbench: its deadline, its cancellation, its failure, and what the provider sees of it.

(INV-11, 15, 20, 21, 22, 27, 30, 35, 44.)
"""

import asyncio
import json
import secrets
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from chaos.probes.case import MARKER, PROMPT_S, Case, NotAskedError, Seen
from chaos.probes.held_provider import Reply, completion
from chaos.probes.keys import CANCELLED, fresh_key
from chaos.probes.planted import EXCEPTION
from chaos.probes.raw import Answer, RawClient, Stopwatch, describe, error_of
from chaos.probes.workbench import (
    HEARTBEAT_S,
    KIMI_TOOL,
    STUBBORN_S,
    ZERO_WALL_S,
    Workbench,
    admitted,
    at,
    at_zero,
    chat,
    figures,
    first_answer,
    misbehave,
    soon,
)

TIMEOUT_S: Final = 3.0
"""Seconds that a call has which is to be late: far from any heartbeat."""

RACES: Final = 10
"""Calls that are cancelled as they end."""

_LATE: Final = 504
_PROVIDER_ERROR: Final = (502, "PROVIDER_ERROR")
_TOOL_FAILED: Final = (500, "EXEC_ERROR")
_BIG: Final = 12 * 1024 * 1024
"""Characters of an answer that no socket's buffers hold."""

_FREE_WALL_S: Final = 3.0
"""Wall seconds after which a slot is surely free whose work has ended, also where a busy machine reads a large answer:
how soon it is free otherwise, the load's own events show."""

SECRET: Final = f"{MARKER}-told-by-the-provider"
_FAILURES: Final = {
    "a provider's 500": Reply(500, json.dumps({"error": {"message": SECRET}}).encode(), {"x-reason": SECRET}),
    "a provider's 401": Reply(401, json.dumps({"error": {"message": SECRET, "code": SECRET}}).encode()),
    "a provider's nonsense": Reply(200, SECRET.encode()),
    "a provider's redirect": Reply(302, b"", {"location": f"http://127.0.0.1:9/{SECRET}"}),
}


class _Result(msgspec.Struct):
    """As much of a frame as shows the very bytes of a result."""

    op: str
    request_id: str | None = None
    outputs: msgspec.Raw = msgspec.Raw(b"")


def cases(bench: Workbench) -> Iterator[Case]:
    """Give the questions."""
    late = "504 within 250 ms after its deadline"
    yield at(bench, "INV-20", "a provider that does not answer", late, _late_provider)
    yield at(bench, "INV-20", "a tool that ignores deadline and cancellation", late, _late_tool)
    yield at(bench, "INV-21", "a tool that ends after its TIMEOUT", "nothing more of the call", _late_result)
    yield at(bench, "INV-21", "the slot of work that goes on after TIMEOUT", "held until it has stopped", _late_slot)
    yield at(bench, "INV-22", "the timeout in the ack", "no more than was asked, and the one enforced", _granted)
    yield at(bench, "INV-27", "cancel", "the provider's request ends within 250 ms, the pools are at zero", _cancelled)
    yield at(bench, "INV-27", "cancel of a tool that ignores it", "one 499 at once, and nothing else", _cancel_ignored)
    yield at(bench, "INV-27", "cancels that race the end", "each call one terminal", _races)
    yield at(bench, "INV-11", "a client that reads nothing of a large result", "its slot is free all the same", _unread)
    yield at(bench, "INV-15", "the key of a call that ended well", "its result replayed byte for byte", _replayed)
    yield at(bench, "INV-15", "the key of a call that failed", "the error replayed, not executed again", _failed_again)
    yield at(bench, "INV-44", "trace_id", "the same at the provider, and in every answer", _trace)
    told = "told to nobody"
    for name, reply in _FAILURES.items():
        yield at(bench, "INV-35", f"the text of {name}", told, partial(_failure, reply=reply))
        yield at(bench, "INV-30", name, "harms no other call", partial(_beside_failure, reply=reply))
    yield at(bench, "INV-35", "the text of a tool's exception", told, _exception)
    yield at(bench, "INV-30", "a tool's exception", "harms no other call", partial(_beside_failure, reply=None))


# --- deadlines -------------------------------------------------------------------------------------------------------


def _never(request_id: str, **more: float) -> Answer:
    return misbehave(request_id, {"seconds": STUBBORN_S, "stubborn": True, "provider": "GLM"}, **more)


async def _after_deadline(bench: Workbench, call: Answer) -> Seen:
    async with bench.clients(1) as (client,):
        await admitted(client, call)
        watch = Stopwatch()
        last = await client.until("call_tool_res", "r", bound_s=bench.wall_s(TIMEOUT_S + HEARTBEAT_S) + 2.0)
        late_s = watch.s() - bench.wall_s(TIMEOUT_S)
    return soon(f"{describe(last)}, after the deadline by", max(late_s, 0.0), right=error_of(last)[0] == _LATE)


async def _late_provider(bench: Workbench) -> Seen:
    return await _after_deadline(bench, chat("r", timeout=TIMEOUT_S))


async def _late_tool(bench: Workbench) -> Seen:
    return await _after_deadline(bench, _never("r", timeout=TIMEOUT_S))


async def _late_result(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, looker):
        await admitted(client, _never("r", timeout=TIMEOUT_S))
        last = await client.until("call_tool_res", "r", bound_s=bench.wall_s(STUBBORN_S) + 2.0)
        gone = await at_zero(looker, within_s=bench.wall_s(STUBBORN_S) + ZERO_WALL_S)
        # The answer to health comes after everything that was sent before it.
        await client.send({"op": "health", "request_id": "after"})
        more = []
        while (frame := await client.receive()).get("op") != "health_res":
            more.append(describe(frame))
    right = error_of(last)[0] == _LATE and gone.held and not more
    return Seen("; ".join([describe(last), *more]), right)


async def _late_slot(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, looker):
        await admitted(client, _never("r", timeout=TIMEOUT_S))
        watch = Stopwatch()
        await client.until("call_tool_res", "r", bound_s=bench.wall_s(STUBBORN_S) + 2.0)
        held = (await figures(looker)).get("")
        in_time = watch.s() < bench.wall_s(STUBBORN_S)  # else the machine stood still, and nothing is known
        gone = await at_zero(looker, within_s=bench.wall_s(STUBBORN_S) + ZERO_WALL_S)
    text = f"{held} in flight after the answer, then {gone.text}"
    return Seen(text, held == 1 and gone.held, late=not in_time)


async def _granted(bench: Workbench) -> Seen:
    async with bench.clients(1) as (client,):
        ack = await admitted(client, _never("r", timeout=TIMEOUT_S))
        last = await client.until("call_tool_res", "r", bound_s=bench.wall_s(STUBBORN_S) + 2.0)
    error = last.get("error")
    elapsed_s = float(error.get("elapsed") or 0.0) if isinstance(error, dict) else 0.0
    granted_s = float(ack.get("timeout") or 0.0)
    enforced = granted_s - 0.01 <= elapsed_s <= granted_s + PROMPT_S / bench.wall_s(1.0)
    text = f"asked {TIMEOUT_S:g} s, granted {granted_s:g} s, {describe(last)} after {elapsed_s:.2f} s"
    granted = 0.0 < granted_s <= TIMEOUT_S
    return Seen(text, granted and enforced, late=granted and elapsed_s > granted_s)


# --- cancel ----------------------------------------------------------------------------------------------------------


async def _cancelled(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, looker):
        await admitted(client, chat("r"))
        await bench.provider.until_running(1)
        asked, watch = bench.provider.running[0], Stopwatch()
        await client.send({"op": "cancel", "request_id": "r"})
        last = await client.until("call_tool_res", "r")
        stopped = await bench.provider.until(lambda: asked.gone, bound_s=ZERO_WALL_S)
        took_s = watch.s()
        zero = await at_zero(looker, within_s=PROMPT_S)
    at_provider = "ended" if stopped else "goes on"
    text = f"{describe(last)}, the provider's request {at_provider}, {zero.text}"
    return soon(text, took_s, right=error_of(last) == CANCELLED and stopped and zero.held)


async def _cancel_ignored(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, looker):
        await admitted(client, _never("r"))
        watch = Stopwatch()
        await client.send({"op": "cancel", "request_id": "r"})
        last = await client.until("call_tool_res", "r", bound_s=bench.wall_s(STUBBORN_S) + 2.0)
        took_s = watch.s()
        await at_zero(looker, within_s=bench.wall_s(STUBBORN_S) + ZERO_WALL_S)
        well = await client.is_well()
    text = f"{describe(last)}{'' if well else ', and more'}"
    return soon(text, took_s, right=error_of(last) == CANCELLED and well)


async def _races(bench: Workbench) -> Seen:
    ends: list[int] = []
    async with bench.clients(1) as (client,):
        for number in range(RACES):
            await admitted(client, chat(f"r{number}"))
            await bench.provider.until_running(1)
            bench.provider.let_go()
            await client.send({"op": "cancel", "request_id": f"r{number}"})
            await client.send({"op": "health", "request_id": "between"})
            frames = [await client.receive()]
            while frames[-1].get("op") != "health_res" or not _ended(frames, f"r{number}"):
                frames.append(await client.receive())
            ends.append(_ended(frames, f"r{number}"))
        await client.send({"op": "health", "request_id": "after"})
        late = 0
        while (frame := await client.receive()).get("request_id") != "after":
            late += frame.get("op") == "call_tool_res"
    wrong = sum(end != 1 for end in ends) + late
    return Seen(f"{RACES} calls, {wrong} with another number of terminals", not wrong)


def _ended(frames: Sequence[Answer], request_id: str) -> int:
    """Return how many terminal answers a request has got."""
    return sum((frame.get("op"), frame.get("request_id")) == ("call_tool_res", request_id) for frame in frames)


# --- results ---------------------------------------------------------------------------------------------------------


async def _unread(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, looker):
        await admitted(client, chat("r", KIMI_TOOL))
        await bench.provider.until_running(1)
        client.connection.transport.pause_reading()
        bench.provider.let_go(completion("x" * _BIG))
        await bench.provider.until(lambda: not bench.provider.running)
        zero = await at_zero(looker, within_s=_FREE_WALL_S)
        client.connection.transport.abort()
    return zero


async def _replayed(bench: Workbench) -> Seen:
    key, before = fresh_key(), len(bench.provider.asked)
    async with bench.clients(1) as (client,):
        await admitted(client, chat("first", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        bench.provider.let_go()
        await client.until("call_tool_res", "first")
        again, _ = await first_answer(client, chat("again", prompt="the same", call_key=key))
    first_bytes, again_bytes = (_outputs_of(client.seen, name) for name in ("first", "again"))
    ran, same = len(bench.provider.asked) - before, first_bytes == again_bytes and first_bytes is not None
    text = f"{describe(again)}, payload {'the same' if same else 'another'}, {ran} executions"
    return Seen(text, again.get("replayed") is True and same and ran == 1)


def _outputs_of(texts: Sequence[str], request_id: str) -> bytes | None:
    """Return the outputs of a request's result as they came over the wire."""
    for text in texts:
        result = msgspec.json.decode(text, type=_Result)
        if (result.op, result.request_id) == ("call_tool_res", request_id):
            return bytes(result.outputs)
    return None


async def _failed_again(bench: Workbench) -> Seen:
    key, before = fresh_key(), len(bench.provider.asked)
    async with bench.clients(1) as (client,):
        await admitted(client, chat("first", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        bench.provider.let_go(Reply(500, b"{}"))
        first = await client.until("call_tool_res", "first")
        again, _ = await first_answer(client, chat("again", prompt="the same", call_key=key))
    ran = len(bench.provider.asked) - before
    same = first.get("error") == again.get("error")
    text = f"{describe(again)}, replayed {again.get('replayed')}, {ran} executions"
    return Seen(text, again.get("replayed") is True and same and ran == 1)


async def _trace(bench: Workbench) -> Seen:
    trace = secrets.token_hex(16)
    async with bench.clients(1) as (client,):
        ack = await admitted(client, chat("r", trace_id=trace))
        await bench.provider.until_running(1)
        at_provider = bench.provider.running[0].trace_id
        bench.provider.let_go()
        last = await client.until("call_tool_res", "r")
    seen = {"ack": ack.get("trace_id"), "provider": at_provider, "answer": last.get("trace_id")}
    wrong = [name for name, value in seen.items() if value != trace]
    return Seen(f"another one in {', '.join(wrong)}" if wrong else "the same everywhere", not wrong)


# --- failures --------------------------------------------------------------------------------------------------------


def _told(last: Answer, right: tuple[int, str]) -> Seen:
    """Judge what a failure says of its cause."""
    text = json.dumps(last)
    shown = EXCEPTION.search(text)
    told = ["the planted text"] if MARKER in text else []
    told += [shown[1] or "a traceback"] if shown else []
    return Seen(
        f"{describe(last)}{', showing ' + ' and '.join(told) if told else ''}", not told and error_of(last) == right
    )


async def _failure(bench: Workbench, *, reply: Reply) -> Seen:
    async with bench.clients(1) as (client,):
        await admitted(client, chat("r", call_key="a key that is no secret " + secrets.token_hex(8)))
        await bench.provider.until_running(1)
        bench.provider.let_go(reply)
        return _told(await client.until("call_tool_res", "r"), _PROVIDER_ERROR)


async def _exception(bench: Workbench) -> Seen:
    async with bench.clients(1) as (client,):
        await admitted(client, misbehave("r", {"raises": SECRET}))
        last = await client.until("call_tool_res", "r")
    # The kind of exception is told on purpose, its text is not.
    told = MARKER in json.dumps(last)
    return Seen(f"{describe(last)}{', showing the text' if told else ''}", not told and error_of(last) == _TOOL_FAILED)


async def _beside_failure(bench: Workbench, *, reply: Reply | None) -> Seen:
    """Let a call fail between two that run, on their connection and on another one."""
    async with bench.clients(2) as (client, neighbour):
        await admitted(client, chat("own", KIMI_TOOL))
        await admitted(neighbour, chat("other", KIMI_TOOL))
        await bench.provider.until_running(2)
        goes_on = list(bench.provider.running)
        failed = await _fail(bench, client, reply)
        for asked in goes_on:
            asked.answer()
        ended = await asyncio.gather(client.until("call_tool_res", "own"), neighbour.until("call_tool_res", "other"))
        well = await client.is_well() and await neighbour.is_well()
    harmed = [describe(each) for each in ended if not each.get("outputs")]
    text = (
        f"{describe(failed)}; {'; '.join(harmed) or 'the others ended well'}{'' if well else '; a connection is ill'}"
    )
    return Seen(text, bool(error_of(failed)[0]) and not harmed and well)


async def _fail(bench: Workbench, client: RawClient, reply: Reply | None) -> Answer:
    if reply is None:
        await admitted(client, misbehave("fails", {"raises": SECRET}))
    else:
        await admitted(client, chat("fails"))
        await bench.provider.until_running(3)
        asked = bench.provider.held_for(" fails")
        if asked is None:
            raise NotAskedError("the call that was to fail did not reach the provider")
        asked.answer(reply)
    return await client.until("call_tool_res", "fails")
