"""From a seed to a plan. Chance prefers what is close together: few keys, few slots, the same moments."""

from random import Random
from typing import Final, Literal, get_args

from tests.explore.plan import (
    Ask,
    Attach,
    Call,
    Cancel,
    Cut,
    CutAtPiece,
    Ending,
    Plan,
    Question,
    Restart,
    Setup,
    SlowReader,
    StandStill,
    Step,
    Vanish,
    WallStep,
)

CLIENTS: Final = ("anna", "ben", "witness")
"""Clients that are the reference client; the witness's link has neither delay nor fault."""

SHIM: Final = "shim"
RAW: Final = ("raw", "wild")
"""Clients that send what they like, with request_ids of their own choice."""

_TOOLS: Final = ("chat", "chat", "kimi_chat_with_tools", "analyze", "analyze", "testgen", "version")
_KEYED_TOOLS: Final = ("chat", "analyze")
_ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)
Mood = Literal["mixed", "burst", "keys", "network", "restarts", "calm"]
"""What a plan is mostly about."""

_APART_S: Final = 0.0011
"""Just over a tick: no two moves of raw clients meet, since in one moment nobody can see that a call has ended."""

_QUESTIONS: Final[tuple[Question, ...]] = get_args(Question)
_MOODS: Final[tuple[Mood, ...]] = ("mixed", "burst", "keys", "keys", "network", "restarts", "calm")


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed."""
    chance = Random(f"plan/{seed}")
    mood = chance.choice(_MOODS)
    setup = _setup(chance, mood)
    span_s = chance.choice((4.0, 15.0, 40.0))
    steps: list[Step] = [*_calls(chance, mood, setup, span_s)]
    steps += _raw(chance, mood, setup, span_s)
    steps += _faults(chance, mood, span_s)
    return Plan(seed, setup, tuple(sorted(steps, key=lambda step: step.at)))


def _setup(chance: Random, mood: Mood) -> Setup:
    pick = chance.choice
    call_s = pick((12.0, 30.0, 60.0))
    return Setup(
        total=pick({"burst": (1, 2, 3), "keys": (2, 6, 12)}.get(mood, (1, 2, 3, 6, 12))),
        session=pick((2, 8)) if mood == "keys" else pick((1, 2, 4, 8)),
        analyze=pick((1, 2, 3)),
        testgen=pick((1, 2)),
        glm=pick((2, 6)) if mood == "keys" else pick((1, 2, 4)),
        kimi=pick((1, 2, 6)),
        call_s=call_s,
        expert_s=pick((6.0, 15.0, 40.0)),
        beat_s=pick((1.0, 2.5, 5.0)),
        inflight_ttl_s=pick((None, 1.0, 3.0, 8.0)) if mood == "keys" else pick((None, None, None, 5.0)),
        result_ttl_s=pick((5.0, 60.0, 600.0)),
        results=pick((10_000, 10_000, 10_000, 2)),
        grace_s=pick((0.5, 5.0, 30.0)),
        advice=pick(("appointment", "appointment", "residual", "fixed:2")),
        client_s=pick((20.0, 60.0)),
        delay_s=pick((0.0, 0.0, 0.004, 0.06)),
        slices=chance.random() < 0.25,
        wild=chance.random() < 0.4,
    )


def _moment(chance: Random, span_s: float) -> float:
    """Draw a moment; half of them on whole seconds, so that things meet."""
    at = chance.random() * span_s
    return float(round(at)) if chance.random() < 0.5 else round(at, 2)


def _takes_s(chance: Random) -> float:
    return chance.choice((0.0, 0.3, 1.0, 3.0, 3.0, 8.0, 8.0, 20.0, 45.0))


def _calls(chance: Random, mood: Mood, setup: Setup, span_s: float) -> list[Call]:
    """Draw the calls of the reference clients and of the shim."""
    calls: list[Call] = []
    if mood == "burst":
        at = _moment(chance, 3.0)
        takes_s = chance.choice((1.0, 4.0))
        for number in range(chance.randrange(8, 16)):
            client = chance.choice((*CLIENTS, SHIM))
            timeout_s = chance.choice((60.0, 120.0))
            tool = chance.choice(("chat", "analyze", "testgen"))
            calls.append(
                Call(at=at, n=number, client=client, tool=tool, work=number, takes_s=takes_s, timeout_s=timeout_s)
            )
    if mood == "keys":
        calls += _rivals(chance, span_s)
    for _ in range(chance.randrange(3, 14)):
        calls.append(_call(chance, mood, setup, span_s, len(calls)))
    return calls


def _rivals(chance: Random, span_s: float) -> list[Call]:
    """Draw calls that follow each other closely under the same key, while the first of them still runs."""
    rivals: list[Call] = []
    for key in range(chance.randrange(1, 4)):
        at = _moment(chance, span_s)
        for _ in range(chance.randrange(2, 6)):
            call = Call(
                at=at,
                n=len(rivals),
                client=chance.choice(CLIENTS),
                tool=_KEYED_TOOLS[key % 2],
                work=1000 + key * 10 + (chance.random() < 0.1),
                key=key,
                takes_s=chance.choice((1.0, 8.0, 8.0, 20.0)),
                ending=chance.choice(_ENDINGS) if chance.random() < 0.1 else "ok",
                timeout_s=chance.choice((3.0, 15.0, 90.0)),
                cancel_s=chance.choice((0.5, 2.0)) if chance.random() < 0.15 else None,
            )
            rivals.append(call)
            at += chance.choice((0.0, 0.3, 1.0, 1.5, 3.0, 5.0))
    return rivals


def _call(chance: Random, mood: Mood, setup: Setup, span_s: float, n: int) -> Call:
    keyed = chance.random() < (0.6 if mood == "keys" else 0.25)
    key = chance.randrange(4) if keyed else None
    # The same key mostly stands for the same work; now and then for other work, which is refused.
    work = n if key is None else 1000 + key * 10 + (chance.random() < 0.15)
    tool = chance.choice(_TOOLS) if key is None else _KEYED_TOOLS[key % 2]
    derive = key is None and chance.random() < 0.25
    if derive:
        work = 5000 + chance.randrange(2)
    troubled = chance.random() < (0.05 if mood == "calm" else 0.3)
    return Call(
        at=_moment(chance, span_s),
        n=n,
        client=chance.choice((*CLIENTS, SHIM)),
        tool=tool,
        work=work,
        key=key,
        derive=derive,
        takes_s=_takes_s(chance),
        ending=chance.choice(_ENDINGS) if troubled else "ok",
        timeout_s=chance.choice((3.0, 15.0, 40.0, 90.0)),
        attempt_s=chance.choice((None, None, None, 10.0)),
        cancel_s=chance.choice((0.0, 1.0, 3.0, 5.0, 8.0)) if chance.random() < 0.12 else None,
    )


def _raw(chance: Random, mood: Mood, setup: Setup, span_s: float) -> list[Step]:
    """Draw what raw clients do: equal request_ids, foreign keys, attaches and cancels of anything."""
    steps: list[Step] = []
    if chance.random() < (0.2 if mood == "calm" else 0.6):
        for number in range(chance.randrange(1, 8)):
            client, request = chance.choice(RAW), chance.randrange(6)
            kind = chance.random()
            at = _moment(chance, span_s) + _APART_S * (number + 1)
            if kind < 0.5:
                call = _call(chance, mood, setup, span_s, 500 + number)
                steps.append(_as_raw(call, client, request, at))
            elif kind < 0.75:
                steps.append(Attach(at=at, client=client, request=10 + number, key=chance.randrange(4)))
            else:
                steps.append(Cancel(at=at, client=client, request=request, owner=chance.choice(RAW)))
    if chance.random() < 0.15:
        for _ in range(chance.randrange(1, 4)):
            at, client = _moment(chance, span_s), chance.choice(CLIENTS)
            steps.append(Ask(at=at, client=client, what=chance.choice(_QUESTIONS)))
    return steps


def _as_raw(call: Call, client: str, request: int, at: float) -> Call:
    return Call(
        at=at,
        n=call.n,
        client=client,
        tool=call.tool,
        work=call.work,
        key=call.key,
        derive=call.derive,
        takes_s=call.takes_s,
        ending=call.ending,
        timeout_s=call.timeout_s,
        request=request,
    )


def _faults(chance: Random, mood: Mood, span_s: float) -> list[Step]:
    steps = list[Step]()
    most = {"network": 6, "mixed": 3, "keys": 2}.get(mood, 0)
    steps += [_fault(chance, span_s) for _ in range(chance.randrange(most + 1))]
    if mood == "restarts" or (mood == "mixed" and chance.random() < 0.2):
        for _ in range(chance.choice((1, 1, 2))):
            how: Literal["SIGTERM", "SIGKILL"] = chance.choice(("SIGTERM", "SIGKILL"))
            steps.append(Restart(at=_moment(chance, span_s), how=how, down_s=chance.choice((0.0, 0.5, 4.0, 40.0))))
    if chance.random() < 0.08:
        by_s = chance.choice((-3600.0, -2.0, 2.0, 7.0, 3600.0))
        steps.append(WallStep(at=_moment(chance, span_s), by_s=by_s))
    return steps


def _fault(chance: Random, span_s: float) -> Step:
    at, client = _moment(chance, span_s), chance.choice((*CLIENTS[:2], SHIM, *RAW[:1]))
    kind = chance.randrange(6)
    if kind == 0:
        return Cut(at=at, client=client)
    if kind == 1:
        way: Literal["up", "down"] = chance.choice(("up", "down"))
        return Cut(at=at, client=client, seen_by=way)
    if kind == 2:
        after = chance.choice((0, 0, 1, 2, 3, 5))
        where: Literal["up", "down"] = chance.choice(("up", "down"))
        return CutAtPiece(at=at, client=client, way=where, after=after, part=chance.random() < 0.5)
    if kind == 3:
        return StandStill(at=at, client=client, for_s=chance.choice((0.2, 2.0, 12.0)))
    if kind == 4:
        return SlowReader(at=at, client=client, for_s=chance.choice((2.0, 12.0, 30.0)))
    return Vanish(at=at, client=client)
