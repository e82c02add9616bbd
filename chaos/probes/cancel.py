"""A cancelled call, or one whose time is over, gets one answer (INV-27), and nothing after it (INV-21)."""

import asyncio
from collections.abc import Iterator
from typing import Final

from chaos.probes.case import Case, Seen
from chaos.probes.keys import CANCELLED, DUPLICATE, a_chat, fresh_key, started
from chaos.probes.raw import RawClient, Stopwatch, describe, error_of, session
from chaos.probes.target import Target

TIMEOUT_S: Final = 5.0
"""Seconds, unscaled, that the call with a deadline may take: far less than a provider does."""
ANSWER_S: Final = 60.0
"""Seconds, unscaled, after which the work of an abandoned call would have ended, had nobody stopped it."""
LISTEN_AT_MOST_WALL_S: Final = 5.0
STOP_WALL_S: Final = 2.0
"""Wall seconds after which cancelled work has surely stopped."""
_TIMEOUT: Final = 504


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions; each takes as long as the work would have."""
    yield Case("INV-27", "cancel of a running call", "one 499 CANCELLED", _cancelled)
    yield Case("INV-27", "cancel twice", "one 499 CANCELLED", _cancelled_twice)
    yield Case("INV-27", "the key of a cancelled call", "replayed as CANCELLED, not executed again", _key_afterwards)
    yield Case("INV-21", "after CANCELLED", "nothing more of the call", _after_cancelled)
    yield Case("INV-21", "after TIMEOUT", "one 504, and nothing more of the call", _after_timeout)


async def _terminals(client: RawClient, target: Target) -> list[str]:
    """Listen as long as the work might have taken; describe what came of the call."""
    wall_s = min(target.clock.wall_s(ANSWER_S), LISTEN_AT_MOST_WALL_S)
    frames = await client.everything_for(wall_s)
    return [describe(frame) for frame in frames if frame.get("request_id") == "r"]


async def _cancelled(target: Target) -> Seen:
    async with session(target) as client:
        await started(client, a_chat("r", call_key=fresh_key()))
        await client.send({"op": "cancel", "request_id": "r"})
        last = await client.until("call_tool_res", "r")
        well = await client.is_well()
    return Seen(describe(last), error_of(last) == CANCELLED and well)


async def _cancelled_twice(target: Target) -> Seen:
    async with session(target) as client:
        await started(client, a_chat("r", call_key=fresh_key()))
        await client.send({"op": "cancel", "request_id": "r"})
        await client.send({"op": "cancel", "request_id": "r"})
        await client.send({"op": "health", "request_id": "after"})
        frames = [await client.receive()]
        while frames[-1].get("op") != "health_res":
            frames.append(await client.receive())
        frames += await client.everything_for(0.2)
    ended = [frame for frame in frames if frame.get("op") == "call_tool_res"]
    text = "; ".join(describe(frame) for frame in frames if frame.get("request_id") == "r")
    return Seen(text, [error_of(frame) for frame in ended] == [CANCELLED])


async def _key_afterwards(target: Target) -> Seen:
    key = fresh_key()
    async with session(target) as client:
        await started(client, a_chat("r", call_key=key))
        await client.send({"op": "cancel", "request_id": "r"})
        await client.until("call_tool_res", "r")
        watch = Stopwatch()
        # Until the work has really stopped the key belongs to the call: a duplicate, and no breach.
        while error_of(answer := await client.ask(a_chat("again", call_key=key)))[0] == DUPLICATE[0]:
            if watch.s() > STOP_WALL_S:
                break
            await asyncio.sleep(0.05)
    return Seen(f"{describe(answer)}, replayed {answer.get('replayed')}", error_of(answer)[1] == "CANCELLED")


async def _after_cancelled(target: Target) -> Seen:
    async with session(target) as client:
        await started(client, a_chat("r", call_key=fresh_key()))
        await client.send({"op": "cancel", "request_id": "r"})
        last = await client.until("call_tool_res", "r")
        more = await _terminals(client, target)
    return Seen("; ".join([describe(last), *more]), error_of(last) == CANCELLED and not more)


async def _after_timeout(target: Target) -> Seen:
    async with session(target) as client:
        await started(client, a_chat("r", call_key=fresh_key(), timeout=TIMEOUT_S))
        bound_s = target.clock.wall_s(TIMEOUT_S) + LISTEN_AT_MOST_WALL_S
        last = await client.until("call_tool_res", "r", bound_s=bound_s)
        more = await _terminals(client, target)
    return Seen("; ".join([describe(last), *more]), error_of(last)[0] == _TIMEOUT and not more)
