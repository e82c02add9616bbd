"""Only the very token lets in (INV-33), its rotation is atomic, and guessing is slow (INV-34)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from chaos.probes.case import MARKER, Case, NotAskedError, Seen
from chaos.probes.handshake import let_in
from chaos.probes.raw import Answer, Stopwatch, dialled, http_status, session
from chaos.probes.target import Target

NEW: Final = f"{MARKER}-rotated-to-this-token"
SHORT: Final = "short"
TRIES: Final = 200
"""Bad tries at once."""
LEAST_WAIT_S: Final = 0.1
"""Wall seconds that a bad try must take: ten a second on one connection find no token."""
GOOD_WITHIN_S: Final = 1.0
"""Wall seconds within which a client with the token comes in meanwhile: generous, since 200 connections open then."""
ALONE: Final = 5
"""Bad tries one after another."""

UNAUTHORIZED: Final = 401

SESSIONS: Final = 10
ROTATIONS: Final = 100


def cases(target: Target) -> Iterator[Case]:
    """Give the questions about wrong tokens, and one about the right one."""
    token = target.token or ""
    tokens: tuple[tuple[str, object], ...] = (
        ("wrong token", f"{MARKER}-wrong-token"),
        ("prefix of the token", token[:-1]),
        ("first character of the token", token[:1]),
        ("longer token", token + "x"),
        ("token in other case", token.swapcase()),
        ("empty token", ""),
        ("null token", None),
        ("list as token", [token]),
        ("number as token", 5),
        ("non-ASCII token", f"{MARKER}-tökén-\N{SNOWMAN}"),
        ("token with a NUL", token + "\x00"),
        ("token of 60 KB", (token + MARKER) * (60_000 // len(token + MARKER))),
        ("token of 1 MB", "x" * 1_000_000),
    )
    why_not = None if target.token else "no token is known of this daemon"
    for name, value in tokens:
        yield Case("INV-33", name, "refused and closed", partial(_is_refused, token=value), why_not)
    yield Case("INV-33", "the very token", "let in", _the_token, why_not)
    for page in ("/metrics", "/healthz"):
        for name, given in (("no token", None), ("a prefix of the token", token[:-1]), ("a longer token", token + "x")):
            ask = partial(_page, path=page, given=given)
            yield Case("INV-33", f"{page} with {name}", f"HTTP {UNAUTHORIZED}, and nothing told", ask, why_not)


def rotation_cases(target: Target) -> Iterator[Case]:
    """Give the questions that replace the token: to be put one after another, with nothing else going on."""
    why_not = None if target.token else "no token is known of this daemon"
    if why_not is None and not target.rotate:
        why_not = "the token of this daemon is not ours to replace"
    nothing = "refused, and nothing changes"

    def case(name: str, expected: str, ask: Callable[[Target], Awaitable[Seen]]) -> Case:
        return Case("INV-34", name, expected, partial(_restoring, ask=ask), why_not)

    wrong = f"{MARKER}-wrong-old-token"
    yield case("rotation with a wrong old token", nothing, partial(_failed, old=wrong, new=NEW))
    yield case("rotation to an empty token", nothing, partial(_failed, old=None, new=""))
    yield case("rotation to a short token", nothing, partial(_failed, old=None, new=SHORT))
    yield case("a rotation right after a bad one", "refused, or made to wait", _hurried)
    yield case("rotation", "old refused, new let in, open sessions stay", _rotated)
    yield case(f"{ROTATIONS} rotations at once", "one succeeds, and its token alone counts", _hundred)


def guessing_cases(target: Target) -> Iterator[Case]:
    """Give the question about many bad tries."""
    why_not = None if target.token else "no token is known of this daemon"
    expected = f"each takes {LEAST_WAIT_S:g} s or more, a good client comes in meanwhile"
    yield Case("INV-34", f"{TRIES} bad tries at once", expected, _guessing, why_not)


async def _is_refused(target: Target, *, token: object) -> Seen:
    entered, story = await let_in(target, token)
    return Seen(story, not entered)


async def _page(target: Target, *, path: str, given: str | None) -> Seen:
    headers = [("Host", "localhost"), *([] if given is None else [("Authorization", f"Bearer {given}")])]
    status, answer = await http_status(target, headers, path)
    told = b"inflight" in answer
    return Seen(f"HTTP {status}{', with figures' if told else ''}", status == UNAUTHORIZED and not told)


async def _hurried(target: Target) -> Seen:
    async with session(target) as client:
        await client.ask(_rotation(f"{MARKER}-wrong-old-token", NEW))
        watch = Stopwatch()
        answer = await client.ask(_rotation(target.token, NEW))
        took_s = watch.s()
    slowed = answer.get("ok") is not True or took_s >= LEAST_WAIT_S
    said = "ok" if answer.get("ok") is True else str(answer.get("error"))
    return Seen(f"{said} after {took_s:.2f} s", slowed)


async def _the_token(target: Target) -> Seen:
    entered, story = await let_in(target, target.token)
    return Seen(story, entered)


async def _restoring(target: Target, *, ask: Callable[[Target], Awaitable[Seen]]) -> Seen:
    """Ask, and put the token back whatever happened: all other questions need it."""
    try:
        return await ask(target)
    finally:
        await restore(target, [NEW, "", SHORT, *(_numbered(number) for number in range(ROTATIONS))])


async def restore(target: Target, candidates: Sequence[str]) -> None:
    """Make the target's own token the one that counts again, from whichever of the candidates counts now.

    Raises:
        NotAskedError: None of them does.
    """
    if (await let_in(target, target.token))[0]:
        return
    # All at once, since each wrong one is made to wait.
    entered = await asyncio.gather(*(let_in(target, candidate) for candidate in candidates))
    for candidate, (right, _) in zip(candidates, entered, strict=True):
        if right:
            async with session(replace(target, token=candidate)) as client:
                await client.ask(_rotation(candidate, target.token))
            return
    raise NotAskedError("the token could not be put back")


async def _failed(target: Target, *, old: str | None, new: str) -> Seen:
    async with session(target) as client:
        answer = await client.ask(_rotation(target.token if old is None else old, new))
        (old_in, _), (new_in, _) = await asyncio.gather(let_in(target, target.token), let_in(target, new))
        stays = await client.is_well()
    held = answer.get("ok") is not True and old_in and not new_in and stays
    return Seen(_told(answer, old_in=old_in, new_in=new_in, stays=stays), held)


async def _rotated(target: Target) -> Seen:
    async with session(target) as client, session(target) as other:
        answer = await client.ask(_rotation(target.token, NEW))
        (old_in, _), (new_in, _) = await asyncio.gather(let_in(target, target.token), let_in(target, NEW))
        stays = await client.is_well() and await other.is_well()
    held = answer.get("ok") is True and not old_in and new_in and stays
    return Seen(_told(answer, old_in=old_in, new_in=new_in, stays=stays), held)


async def _hundred(target: Target) -> Seen:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(session(target)) for _ in range(SESSIONS)]
        for number in range(ROTATIONS):
            frame = _rotation(target.token, _numbered(number), request_id=str(number))
            await clients[number % SESSIONS].send(frame)
        answers = [await client.receive() for client in clients for _ in range(ROTATIONS // SESSIONS)]
    won = [str(answer.get("request_id")) for answer in answers if answer.get("ok") is True]
    lost = [str(number) for number in range(ROTATIONS) if str(number) not in won]
    tried = [*won[:5], *lost[:5]]
    entered = await asyncio.gather(
        let_in(target, target.token), *(let_in(target, _numbered(int(number))) for number in tried)
    )
    good = [number for number, (right, _) in zip(["old", *tried], entered, strict=True) if right]
    text = f"{len(won)} succeeded ({', '.join(won[:5])}); let in: {', '.join(good)}"
    return Seen(text, len(won) == 1 and good == won)


async def _alone(target: Target) -> float:
    """Return the wall seconds until a bad try is refused that nobody else makes another beside."""
    async with dialled(target) as client:
        watch = Stopwatch()
        await client.send({"op": "hello", "token": f"{MARKER}-guess"})
        await client.receive()
        return watch.s()


async def _guessing(target: Target) -> Seen:
    # One by one first: on a busy machine everything in a crowd is slow, also what nobody slows down.
    alone_s = [await _alone(target) for _ in range(ALONE)]
    async with AsyncExitStack() as stack:
        clients = await asyncio.gather(*(stack.enter_async_context(dialled(target)) for _ in range(TRIES)))

        async def one(number: int) -> float:
            watch = Stopwatch()  # each for itself: on a busy machine the last guess is sent long after the first
            await clients[number].send({"op": "hello", "token": f"{MARKER}-guess-{number}"})
            await clients[number].receive()
            return watch.s()

        async def answered_after() -> list[float]:
            return await asyncio.gather(*(one(number) for number in range(TRIES)))

        guesses = asyncio.create_task(answered_after())
        try:
            good = Stopwatch()
            entered, _ = await let_in(target, target.token)
            good_s = good.s()
            first_s = min(await guesses + alone_s)
        finally:
            guesses.cancel()
    text = f"first refused after {first_s:.2f} s, good client {'in' if entered else 'refused'} after {good_s:.2f} s"
    right = entered and first_s >= LEAST_WAIT_S
    return Seen(text, right and good_s <= GOOD_WITHIN_S, late=right and good_s > GOOD_WITHIN_S)


def _numbered(number: int) -> str:
    return f"{NEW}-{number}"


def _rotation(old: str | None, new: str | None, **more: object) -> dict[str, object]:
    return {"op": "rotate_token", "old": old, "new": new, **more}


def _told(answer: Answer, *, old_in: bool, new_in: bool, stays: bool) -> str:
    said = "ok" if answer.get("ok") is True else str(answer.get("error"))
    doors = f"old {'let in' if old_in else 'refused'}, new {'let in' if new_in else 'refused'}"
    return f"{said}; {doors}; open session {'stays' if stays else 'is gone'}"
