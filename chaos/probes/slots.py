"""Caps at the workbench: as many calls as a cap says, no more and no fewer, and nothing that stays behind.

(INV-02, 06, 07, 08, 09, 10, 15, 24.)
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from chaos.probes.case import PROMPT_S, Case, NotAskedError, Seen
from chaos.probes.held_provider import Reply
from chaos.probes.keys import DUPLICATE, REUSED, fresh_key
from chaos.probes.raw import Answer, RawClient, a_call, describe, error_of
from chaos.probes.workbench import (
    GLM_CAP,
    GLOBAL_CAP,
    KIMI_TOOL,
    SESSION_CAP,
    TOOL_CAP,
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

_FULL: Final = (429, "OVER_CAPACITY")
_BOTH: Final = ((0, KIMI_TOOL), (0, KIMI_TOOL), (0, KIMI_TOOL), (1, KIMI_TOOL))


@dataclass(frozen=True, slots=True)
class Scope:
    """A cap, and how to get there.

    Attributes:
        name: As a 429 names it.
        cap: Slots.
        fill: Session and tool of each call that fills it, and no other.
        extra: Of the call that finds it full.
    """

    name: str
    cap: int
    fill: tuple[tuple[int, str], ...]
    extra: tuple[int, str]


SCOPES: Final = (
    Scope("provider:GLM", GLM_CAP, ((0, "chat"), (1, "chat")), (1, "chat")),
    Scope("session", SESSION_CAP, _BOTH[:3], (0, KIMI_TOOL)),
    Scope(f"tool:{KIMI_TOOL}", TOOL_CAP, _BOTH, (1, KIMI_TOOL)),
    Scope("global", GLOBAL_CAP, (*_BOTH, (1, "chat")), (2, "chat")),
)


def cases(bench: Workbench) -> Iterator[Case]:
    """Give the questions; those that look for what stays behind come first, since it would be in the others' way."""
    for name, event in _EVENTS.items():
        yield at(bench, "INV-07", f"pools after {name}", "at zero within 1 s", partial(_pools_after, event=event))
    yield at(bench, "INV-02", "first answers while calls run on the connection", "each within 250 ms", _beside_calls)
    yield at(bench, "INV-24", "health while calls run", "what runs, by pool", _health)
    for scope in SCOPES:
        name = f"{scope.name}, a cap of {scope.cap}"
        for rule, expected, judge in (
            ("INV-06", f"{scope.cap} run at most, also after one has ended", _no_more),
            ("INV-08", "the key of the call that was refused is taken next", _key_is_free),
            ("INV-09", f"{scope.cap} are let in, and another when one has ended", _no_fewer),
            ("INV-10", "the next one gets 429 at once, with its scope and a sensible retry_after", _refused),
            ("INV-15", "the refusal is not replayed", _not_replayed),
        ):
            yield at(bench, rule, name, expected, partial(_filled, scope=scope, judge=judge))


# --- a full pool -----------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What became of calls that fill a pool, and of those that come too many.

    Attributes:
        let_in: Calls of the first that were admitted.
        refusal: Answer to the one too many.
        took_s: Wall seconds until then.
        again: Answer to its second try, with its key, when another call has ended.
        fresh: Answer to a call with another key, where the second try was not admitted.
        over: Answer to one more, when the slot is taken again.
        most: The most that the provider had at once.
    """

    let_in: int = 0
    refusal: Answer = field(default_factory=dict)
    took_s: float = 0.0
    again: Answer = field(default_factory=dict)
    fresh: Answer | None = None
    over: Answer = field(default_factory=dict)
    most: int = 0


async def _filled(bench: Workbench, *, scope: Scope, judge: Callable[[Story, Scope], Seen]) -> Seen:
    async with bench.clients(3) as clients:
        return judge(await _fill(bench, clients, scope), scope)


async def _fill(bench: Workbench, clients: list[RawClient], scope: Scope) -> Story:
    """Let the story happen."""
    story, (who, tool), key = Story(), scope.extra, fresh_key()
    for number, (whose, name) in enumerate(scope.fill):
        answer, _ = await first_answer(clients[whose], chat(f"fill-{number}", name))
        story.let_in += _is_in(answer)
    await bench.provider.until_running(story.let_in)
    story.refusal, story.took_s = await first_answer(clients[who], chat("extra", tool, prompt="the same", call_key=key))
    await _end_one(bench, clients, scope)
    story.again, _ = await first_answer(clients[who], chat("again", tool, prompt="the same", call_key=key))
    if not _is_in(story.again):
        story.fresh, _ = await first_answer(clients[who], chat("fresh", tool))
    story.over, _ = await first_answer(clients[who], chat("over", tool))
    ins = (story.refusal, story.again, story.fresh or {}, story.over)
    await bench.provider.until_running(story.let_in - 1 + sum(_is_in(answer) for answer in ins))
    story.most = bench.provider.most
    return story


async def _end_one(bench: Workbench, clients: list[RawClient], scope: Scope) -> None:
    """Let the first of the pool's calls end, and wait for its answer: then its slot is free."""
    whose, _ = scope.fill[0]
    asked = bench.provider.held_for("fill-0")
    if asked is None:
        raise NotAskedError("the pool's first call did not reach the provider")
    asked.answer()
    await clients[whose].until("call_tool_res", "fill-0")


def _is_in(answer: Answer) -> bool:
    return answer.get("op") == "call_tool_ack"


def _no_more(story: Story, scope: Scope) -> Seen:
    first = story.let_in + _is_in(story.refusal)
    later = first - 1 + sum(_is_in(each) for each in (story.again, story.fresh or {}, story.over))
    text = f"{first} let in, {later} after one had ended, {story.most} at once at the provider"
    return Seen(text, max(first, later, story.most) <= scope.cap)


def _no_fewer(story: Story, scope: Scope) -> Seen:
    taken = _is_in(story.again) or (error_of(story.again) != _FULL and _is_in(story.fresh or {}))
    text = f"{story.let_in} let in, then {'one more' if taken else 'none'} in the place of the one that ended"
    return Seen(text, story.let_in == scope.cap and taken)


def _refused(story: Story, scope: Scope) -> Seen:
    error = story.refusal.get("error")
    told = error if isinstance(error, dict) else {}
    after_s = told.get("retry_after")
    sensible = isinstance(after_s, int | float) and 0.0 < after_s < math.inf
    named = (told.get("scope"), told.get("limit"), told.get("in_use")) == (scope.name, scope.cap, scope.cap)
    right = error_of(story.refusal) == _FULL and named and sensible
    text = f"{describe(story.refusal)}, {told.get('in_use')} of {told.get('limit')} of {told.get('scope')}"
    return soon(f"{text}, retry_after {after_s}", story.took_s, right=right)


def _key_is_free(story: Story, _scope: Scope) -> Seen:
    return Seen(describe(story.again), error_of(story.again) not in {DUPLICATE, REUSED})


def _not_replayed(story: Story, _scope: Scope) -> Seen:
    replayed = story.again.get("replayed") is True
    return Seen(f"{describe(story.again)}{', replayed' if replayed else ''}", not replayed)


# --- what stays behind -----------------------------------------------------------------------------------------------


async def _pools_after(bench: Workbench, *, event: Callable[[Workbench, RawClient], Awaitable[None]]) -> Seen:
    async with bench.clients(2) as (client, looker):
        await event(bench, client)
        bench.provider.open_up()
        return await at_zero(looker)


async def _refusals(bench: Workbench, client: RawClient) -> None:
    for number in range(SESSION_CAP):
        await admitted(client, chat(f"held-{number}", KIMI_TOOL))
    await bench.provider.until_running(SESSION_CAP)
    await first_answer(client, chat("refused", KIMI_TOOL))
    async with bench.clients(1) as (other,):
        for number in range(GLM_CAP):
            await first_answer(other, chat(f"glm-{number}"))
        await first_answer(other, chat("refused by another pool"))


async def _result(bench: Workbench, client: RawClient) -> None:
    await admitted(client, chat("r"))
    await bench.provider.until_running(1)
    bench.provider.let_go()
    await client.until("call_tool_res", "r")


async def _provider_failure(bench: Workbench, client: RawClient) -> None:
    await admitted(client, chat("r"))
    await bench.provider.until_running(1)
    bench.provider.let_go(Reply(500, b"{}"))
    await client.until("call_tool_res", "r")


async def _exception(_bench: Workbench, client: RawClient) -> None:
    await admitted(client, misbehave("r", {"raises": "on purpose", "provider": "GLM"}))
    await client.until("call_tool_res", "r")


async def _cancel(bench: Workbench, client: RawClient) -> None:
    await admitted(client, chat("r"))
    await bench.provider.until_running(1)
    await client.send({"op": "cancel", "request_id": "r"})
    await client.until("call_tool_res", "r")


async def _timeout(_bench: Workbench, client: RawClient) -> None:
    await admitted(client, chat("r", timeout=2.0))
    await client.until("call_tool_res", "r")


async def _lost_connection(bench: Workbench, client: RawClient) -> None:
    await admitted(client, chat("r"))
    await bench.provider.until_running(1)
    client.connection.transport.abort()


async def _bad_arguments(_bench: Workbench, client: RawClient) -> None:
    await first_answer(client, a_call("chat", "r", {"prompt": []}))
    await first_answer(client, a_call("nobody", "s", {}))


_EVENTS: Final[dict[str, Callable[[Workbench, RawClient], Awaitable[None]]]] = {
    "refusals": _refusals,
    "a result": _result,
    "a provider's failure": _provider_failure,
    "a tool's exception": _exception,
    "a cancel": _cancel,
    "a timeout": _timeout,
    "a lost connection": _lost_connection,
    "bad arguments": _bad_arguments,
}


# --- beside calls that run -------------------------------------------------------------------------------------------


async def _beside_calls(bench: Workbench) -> Seen:
    async with bench.clients(1) as (client,):
        await admitted(client, chat("long"))
        await bench.provider.until_running(1)
        took: dict[str, float] = {}
        right = True
        for call in (
            a_call("version", "quick", call_key=fresh_key()),
            {"op": "list_tools", "request_id": "tools"},
            chat("another", KIMI_TOOL),
            {"op": "health", "request_id": "health"},
            a_call("nobody", "unfit", {}),
        ):
            answer, took_s = await first_answer(client, call)
            took[str(call["request_id"])] = took_s
            right = right and answer.get("op") not in {"progress", "error"}
            if took_s > PROMPT_S:
                break  # the rest would tell no more, and each of them may wait as long
            await asyncio.sleep(0)
    slowest = max(took, key=lambda name: took[name])
    return soon(f"the slowest was {slowest}", took[slowest], right=right)


async def _health(bench: Workbench) -> Seen:
    wrong = []
    async with bench.clients(2) as (client, looker):
        for number, tool in enumerate((KIMI_TOOL, KIMI_TOOL, "chat"), start=1):
            await admitted(client, chat(f"r{number}", tool))
            await bench.provider.until_running(number)
            kimi = sum(each.provider == "KIMI" for each in bench.provider.running)
            real = {"": number, f"tools:{KIMI_TOOL}": kimi, "providers:KIMI": kimi, "providers:GLM": number - kimi}
            said = await figures(looker)
            wrong += [
                f"{name or 'all'} {said.get(name)} instead of {count}"
                for name, count in real.items()
                if said.get(name) != count
            ]
    return Seen("; ".join(wrong) or "right after each of three", not wrong)
