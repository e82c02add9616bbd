"""Whose a key is, at the workbench: one that lapsed, one whose client went away, one that was kept for long.

(INV-12, 16, 17, 25, 26, 36, 37.)
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final

from chaos.probes.case import Case, NotAskedError, Seen
from chaos.probes.keys import DUPLICATE, UNKNOWN, fresh_key
from chaos.probes.raw import Answer, RawClient, Stopwatch, a_call, describe, dialled, error_of, hello_of
from chaos.probes.workbench import (
    KEY_TTL_S,
    RESULTS,
    SESSIONS,
    Workbench,
    admitted,
    at,
    at_zero,
    chat,
    first_answer,
    misbehave,
)

SUPERSEDED: Final = (409, "SUPERSEDED")
STUBBORN_S: Final = 20.0
"""Seconds that the owner of a lapsed key works on, whatever it is told: twice its key's time."""

TOO_MANY: Final = 4029
_GONE: Final = 410
_PAUSE_WALL_S: Final = 0.02
_NOTICED_WALL_S: Final = 0.25
"""Wall seconds in which a provider has surely noticed that its client went away."""


def cases(bench: Workbench) -> Iterator[Case]:
    """Give the questions."""
    fenced = "409 SUPERSEDED for the owner, and the newcomer runs"
    yield at(bench, "INV-17", "a lapsed key", fenced, _fenced)
    yield at(
        bench, "INV-12", "a lapsed key whose owner ignores its cancellation", "one works at a time", _one_at_a_time
    )
    yield at(bench, "INV-16", "a key that was taken over, when its old owner ends", "still its new owner's", _kept)
    yield at(bench, "INV-25", "a call whose connection is lost", "goes on, and its result is kept", _lost)
    yield at(bench, "INV-26", "the key of a call whose connection was lost", "attached, then replayed", _attached)
    yield at(
        bench, "INV-36", "cancel of a call that another session sent", "404, and the call goes on", _foreign_cancel
    )
    yield at(bench, "INV-37", f"{RESULTS + 5} results", f"{RESULTS} are kept", _bounded)
    yield at(bench, "INV-37", f"{SESSIONS + 1} sessions", f"{SESSIONS} are open, one is closed with 4029", _sessions)


# --- lapsed keys -----------------------------------------------------------------------------------------------------


async def _take_over(bench: Workbench, client: RawClient, call: Answer) -> Answer:
    """Send a call with a key that another one holds, until the key has lapsed; return the answer that is no 409."""
    watch, bound_s = Stopwatch(), bench.wall_s(3 * KEY_TTL_S) + 2.0
    while True:
        answer, _ = await first_answer(client, call)
        if error_of(answer) != DUPLICATE:
            return answer
        if watch.s() > bound_s:
            raise NotAskedError("the key never lapsed")
        await asyncio.sleep(_PAUSE_WALL_S)


async def _fenced(bench: Workbench) -> Seen:
    key = fresh_key()
    async with bench.clients(2) as (owner, newcomer):
        await admitted(owner, chat("owner", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        old = bench.provider.running[0]
        answer = await _take_over(bench, newcomer, chat("new", prompt="the same", call_key=key))
        if answer.get("op") != "call_tool_ack":
            return Seen(f"the newcomer got {describe(answer)}", held=False)
        told = await owner.everything_for(_NOTICED_WALL_S)
        stopped = await bench.provider.until(lambda: old.gone, bound_s=_NOTICED_WALL_S)
        await bench.provider.until(lambda: any(each is not old for each in bench.provider.running))
        bench.provider.let_go()
        last = await newcomer.until("call_tool_res", "new")
    ends = [frame for frame in told if frame.get("op") == "call_tool_res"]
    error = ends[0].get("error") if ends else None
    named = error.get("superseded_by") if isinstance(error, dict) else None
    right = [error_of(end) for end in ends] == [SUPERSEDED] and named == "new" and stopped and "outputs" in last
    what = "; ".join(describe(end) for end in ends) or "nothing"
    return Seen(f"the owner got {what}, its request {'ended' if stopped else 'goes on'}; {describe(last)}", right)


async def _one_at_a_time(bench: Workbench) -> Seen:
    key, wish = fresh_key(), {"seconds": STUBBORN_S, "stubborn": True, "work": fresh_key()}
    async with bench.clients(2) as (owner, newcomer):
        await admitted(owner, misbehave("owner", wish, call_key=key))
        answer = await _take_over(bench, newcomer, misbehave("new", wish, call_key=key))
        if answer.get("op") != "call_tool_ack":
            return Seen(f"the newcomer got {describe(answer)}", held=False)
        last = await newcomer.until("call_tool_res", "new", bound_s=bench.wall_s(3 * STUBBORN_S) + 2.0)
    outputs = last.get("outputs")
    ran = json.loads(outputs[0]["text"]) if outputs else {}
    return Seen(f"{describe(last)}, ran {ran.get('ran')} times, {ran.get('most')} at once", ran.get("most") == 1)


async def _kept(bench: Workbench) -> Seen:
    key = fresh_key()
    async with bench.clients(3) as (owner, newcomer, third):
        await admitted(owner, chat("owner", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        old = bench.provider.running[0]
        answer = await _take_over(bench, newcomer, chat("new", prompt="the same", call_key=key))
        if answer.get("op") != "call_tool_ack":
            return Seen(f"the newcomer got {describe(answer)}", held=False)
        # The new owner's work begins when the old owner's has ended.
        await bench.provider.until(lambda: any(each is not old for each in bench.provider.running))
        old.answer()
        await bench.provider.until(lambda: old not in bench.provider.running, bound_s=_NOTICED_WALL_S)
        again, _ = await first_answer(third, chat("third", prompt="the same", call_key=key))
        error = again.get("error")
        named = error.get("original_request_id") if isinstance(error, dict) else None
    return Seen(f"{describe(again)}, naming {named}", error_of(again) == DUPLICATE and named == "new")


# --- lost connections ------------------------------------------------------------------------------------------------


async def _lost(bench: Workbench) -> Seen:
    key = fresh_key()
    async with bench.clients(2) as (owner, other):
        await admitted(owner, chat("owner", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        asked = bench.provider.running[0]
        owner.connection.transport.abort()
        cut = await bench.provider.until(lambda: asked.gone, bound_s=_NOTICED_WALL_S)
        bench.provider.let_go()
        await bench.provider.until(lambda: asked not in bench.provider.running)
        await at_zero(other)  # else the attach would still find the call itself
        found = await _attach(other, key)
    text = f"the work {'was cancelled' if cut else 'went on'}; an attach gets {describe(found)}"
    return Seen(text, not cut and bool(found.get("outputs")))


async def _attach(client: RawClient, key: str) -> Answer:
    """Attach, and return the answer: the result, or the error."""
    await client.send({"op": "attach", "request_id": "attach", "call_key": key})
    while (frame := await client.receive()).get("op") == "progress":
        pass
    return frame


async def _attached(bench: Workbench) -> Seen:
    key, before = fresh_key(), len(bench.provider.asked)
    async with bench.clients(3) as (owner, other, third):
        await admitted(owner, chat("owner", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        owner.connection.transport.abort()
        await other.send({"op": "attach", "request_id": "attach", "call_key": key})
        follows = (await other.receive()).get("op") == "progress"
        bench.provider.let_go()
        last = await other.until("call_tool_res", "attach")
        again, _ = await first_answer(third, chat("again", prompt="the same", call_key=key))
    ran = len(bench.provider.asked) - before
    same = last.get("outputs") == again.get("outputs") and bool(last.get("outputs"))
    text = f"{'attached' if follows else 'not attached'}, then {describe(again)}, {ran} executions"
    return Seen(text, follows and same and again.get("replayed") is True and ran == 1)


async def _foreign_cancel(bench: Workbench) -> Seen:
    async with bench.clients(2) as (owner, stranger):
        await admitted(owner, chat("owner"))
        await bench.provider.until_running(1)
        asked = bench.provider.running[0]
        refused, _ = await first_answer(stranger, {"op": "cancel", "request_id": "owner"})
        cut = await bench.provider.until(lambda: asked.gone, bound_s=_NOTICED_WALL_S)
        bench.provider.let_go()
        last = await owner.until("call_tool_res", "owner")
    text = f"{describe(refused)}; {describe(last)}"
    return Seen(text, error_of(refused) == UNKNOWN and not cut and bool(last.get("outputs")))


# --- bounds ----------------------------------------------------------------------------------------------------------


async def _bounded(bench: Workbench) -> Seen:
    keys = [fresh_key() for _ in range(RESULTS + 5)]
    async with bench.clients(1) as (client,):
        for number, key in enumerate(keys):
            await admitted(client, a_call("version", f"r{number}", call_key=key))
            await client.until("call_tool_res", f"r{number}")
        first, last = [await _attach(client, key) for key in (keys[0], keys[-1])]
    text = f"the first is {describe(first)}, the last {describe(last)}"
    return Seen(text, error_of(first)[0] == _GONE and bool(last.get("outputs")))


async def _sessions(bench: Workbench) -> Seen:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(dialled(bench.target)) for _ in range(SESSIONS + 1)]
        acks = [await client.ask(hello_of(bench.target.token)) for client in clients]
        let_in = sum(ack.get("ok") is True for ack in acks)
        closed = await clients[-1].close_code() if acks[-1].get("ok") is not True else None
    text = f"{let_in} let in, the last one {acks[-1].get('error') or 'too'}, closed {closed}"
    return Seen(text, let_in == SESSIONS and closed == TOO_MANY)
