"""From a scenario and its seed to the stream of calls; drill and simulator make the very same one.

Every draw of chance comes from here: arrivals, tools, keys, and the draw that fixes how long a call's provider takes.
So a real run and its simulation differ in what they do with the calls, not in the luck.

Each phase has one stream of chance per purpose, and each call of a closed phase one of its own. So a phase that is
added or changed leaves the others as they were, and it does not matter which user's call ends first.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count, cycle, repeat, starmap, takewhile
from random import Random
from typing import Final

from scenarios.model import Scenario
from scenarios.model_load import Closed, Phase

CHAT_TOOLS: Final = frozenset({"chat", "kimi_chat_with_tools"})
"""Tools that take a prompt."""

LOCAL_TOOLS: Final = frozenset({"version", "listmodels"})
"""Tools that the daemon answers by itself; they take no arguments. All others are workflow tools."""

# What makes 128 bits of chance a UUID of version 4 (RFC 9562, 5.4): four bits of version, two of variant.
_UUID_FREE: Final = ~((0xF << 76) | (0x3 << 62)) & ((1 << 128) - 1)
_UUID_SET: Final = (0x4 << 76) | (0x2 << 62)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call that is to be made.

    Attributes:
        number: Its number in the run, from 0. Calls of closed phases come after all others, and may leave gaps.
        phase: The phase that it belongs to.
        at: When it should start, in seconds since the start of the load.
        client: Number of the client that makes it, from 0 over all phases.
        user: Number of the user in a closed phase; None in an open one.
        tool: Name of the tool.
        draw: From [0, 1): fixes the provider's latency for this call, whichever attempt gets through.
        call_key: Key that is sent with every attempt; None: derived by the daemon.
        trace_id: 32 hex digits.
        nonce: Token in the work, by which its result is known: 16 hex digits; the work holds `nonce:` and these.
    """

    number: int
    phase: Phase
    at: float
    client: int
    user: int | None
    tool: str
    draw: float
    call_key: str | None
    trace_id: str
    nonce: str


@dataclass(frozen=True, slots=True)
class _Work:
    """What is the same in every call of a phase with shared or derived keys."""

    draw: float
    nonce: str
    call_key: str | None
    tool: str | None


@dataclass(frozen=True, slots=True)
class _User:
    """A user of a closed phase."""

    phase: Phase
    closed: Closed
    start: float
    client: int
    stream: str
    same: _Work | None


class Workload:
    """The calls of a scenario."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        """Prepare the streams; nothing is drawn yet."""
        self._seed = seed
        self._open: list[tuple[Phase, float, int]] = []
        self._users: list[_User] = []
        client = 0
        for start, phase in scenario.phases():
            if phase.arrivals.closed is None:
                self._open.append((phase, start, client))
            else:
                self._users += _users(phase, phase.arrivals.closed, start, client, seed)
            client += phase.clients
        self._made = [0] * len(self._users)

    def open_calls(self) -> Iterator[PlannedCall]:
        """Return the calls of all open phases in the order of their moments; always the same for one seed."""
        names = [_names(phase, self._seed) for phase, _, _ in self._open]
        for number, (at, index, client, tool, draw) in enumerate(self.open_choices()):
            call_key, trace_id, nonce = next(names[index])
            yield PlannedCall(
                number=number,
                phase=self._open[index][0],
                at=at,
                client=client,
                user=None,
                tool=tool,
                draw=draw,
                call_key=call_key,
                trace_id=trace_id,
                nonce=nonce,
            )

    def open_choices(self) -> Iterator[tuple[float, int, int, str, float]]:
        """Return moment, number of the phase among the open ones, client, tool and draw of each call of `open_calls`.

        That is all that a model needs while it runs; the texts that make up the rest cost more than the choices.
        """
        phases = [self._choices_of(index) for index in range(len(self._open))]
        return phases[0] if len(phases) == 1 else heapq.merge(*phases)  # no two are equal: each has its own index

    def open_phases(self) -> list[Phase]:
        """Return the open phases, in the order of their numbers."""
        return [phase for phase, _, _ in self._open]

    def closed_users(self) -> Iterator[tuple[Phase, int]]:
        """Return phase and number of each user of the closed phases."""
        return ((user.phase, number) for number, user in enumerate(self._users))

    def next_call(self, user: int, now: float) -> PlannedCall | None:
        """Return the user's next call, its `at` after the thinking that begins at `now`; None if the user is done.

        `now` is in seconds since the start of the load: 0 (or anything before the phase's start) for the first call,
        which comes at the phase's start; later the end of the user's last call.
        """
        who, made = self._users[user], self._made[user]
        if who.closed.calls is not None and made >= who.closed.calls:
            return None
        chance = Random(f"{who.stream}/call-{made}")
        think = chance.expovariate(1.0) * who.closed.think  # always drawn, so that the rest does not depend on it
        at = now + think if made else who.start
        if at >= who.start + who.phase.duration:
            return None
        self._made[user] += 1
        return _closed_call(who, chance, at=at, user=user, made=made, number=self._number(user, made))

    def _number(self, user: int, made: int) -> int:
        """Number a closed call by user and turn: the same one however the users' calls interleave."""
        return self._open_count + made * len(self._users) + user

    @cached_property
    def _open_count(self) -> int:
        return sum(1 for index in range(len(self._open)) for _ in self._moments_of(index))

    def _choices_of(self, index: int) -> Iterator[tuple[float, int, int, str, float]]:
        """Return the choices of one phase. They are zipped: a model takes half of its arrivals' time to draw them."""
        phase, _, client = self._open[index]
        clients = cycle(range(client, client + phase.clients))
        return zip(self._moments_of(index), repeat(index), clients, *_choices(phase, self._seed))

    def _moments_of(self, index: int) -> Iterator[float]:
        phase, start, _ = self._open[index]
        moments = _arrivals(phase, _chance(self._seed, phase, "arrivals"))
        return (start + moment for moment in moments) if start else moments


def arguments(call: PlannedCall) -> dict[str, object]:
    """Return the arguments that a call's tool takes; equal for calls with the same tool, nonce, draw and phase."""
    if call.tool in LOCAL_TOOLS:
        return {}
    given: dict[str, object] = {"thinking_mode": "minimal", "use_websearch": False, "draw": call.draw}
    if call.phase.model is not None:
        given["model"] = call.phase.model
    if call.tool in CHAT_TOOLS:
        return {"prompt": f"Which pass over the input can be left out? nonce:{call.nonce}", **given}
    final = call.phase.expert
    return {
        "step": f"{'Conclude' if final else 'Begin'} the {call.tool} of the sample module.",
        "step_number": 1,
        "total_steps": 1 if final else 2,
        "next_step_required": not final,
        "findings": f"The sample module parses its input twice; the second pass is not needed. nonce:{call.nonce}",
        "assistant": True,
        **given,
    }


def _chance(seed: int, phase: Phase, purpose: str) -> Random:
    """Return the stream of chance that only this purpose of this phase draws from."""
    return Random(f"{seed}/{phase.phase}/{purpose}")


def _arrivals(phase: Phase, chance: Random) -> Iterator[float]:
    """Return the moments of a phase's calls, in order, in seconds since the phase's start."""
    kinds = phase.arrivals
    if kinds.poisson:
        return _poisson(kinds.poisson.rate, phase.duration, chance)
    if kinds.uniform:
        return _steps(kinds.uniform.gap, phase.duration)
    if kinds.burst:
        every, size = kinds.burst.every or phase.duration, kinds.burst.size
        return (moment for moment in _steps(every, phase.duration) for _ in range(size))
    return iter(sorted(kinds.trace.times if kinds.trace else ()))


def _poisson(rate: float, duration: float, chance: Random) -> Iterator[float]:
    gap = chance.expovariate
    moment = gap(rate)
    while moment < duration:
        yield moment
        moment += gap(rate)


def _steps(gap: float, duration: float) -> Iterator[float]:
    """Return the multiples of `gap` below `duration`; multiplied, not summed, so that no error grows."""
    return takewhile(lambda moment: moment < duration, (step * gap for step in count()))


def _choices(phase: Phase, seed: int) -> tuple[Iterator[str], Iterator[float]]:
    """Return the tools and the draws of a phase's calls, without an end."""
    same = _same_work(phase, seed)
    draws = _draws(_chance(seed, phase, "draws")) if same is None else repeat(same.draw)
    if same is not None and same.tool is not None:
        return repeat(same.tool), draws
    if phase.sequence is not None:
        return cycle(phase.sequence), draws
    return map(_picker(phase), _draws(_chance(seed, phase, "tools")), count()), draws


def _draws(chance: Random) -> Iterator[float]:
    """Return the numbers that a stream of chance draws from [0, 1), without an end."""
    return starmap(chance.random, repeat(()))


def _names(phase: Phase, seed: int) -> Iterator[tuple[str | None, str, str]]:
    """Return call_key, trace_id and nonce of a phase's calls, without an end."""
    keys, traces, nonces = (_chance(seed, phase, purpose) for purpose in ("keys", "traces", "nonces"))
    same = _same_work(phase, seed)
    while True:
        if same is None:
            yield _uuid4(keys), _trace_id(traces), _nonce(nonces)
        else:
            yield same.call_key, _trace_id(traces), same.nonce


def _users(phase: Phase, closed: Closed, start: float, client: int, seed: int) -> list[_User]:
    same = _same_work(phase, seed)
    return [
        _User(phase, closed, start, client + user % phase.clients, f"{seed}/{phase.phase}/user-{user}", same)
        for user in range(closed.users)
    ]


def _closed_call(who: _User, chance: Random, *, at: float, user: int, made: int, number: int) -> PlannedCall:
    """Draw what a closed call is, always in the same order."""
    tool, draw = _picker(who.phase)(chance.random(), made), chance.random()
    call_key, trace_id, nonce = _uuid4(chance), _trace_id(chance), _nonce(chance)
    same = who.same
    return PlannedCall(
        number=number,
        phase=who.phase,
        at=at,
        client=who.client,
        user=user,
        tool=same.tool or tool if same else tool,
        draw=same.draw if same else draw,
        call_key=same.call_key if same else call_key,
        trace_id=trace_id,
        nonce=same.nonce if same else nonce,
    )


def _same_work(phase: Phase, seed: int) -> _Work | None:
    """Return the work of a phase whose calls all mean the same; None if each is work of its own."""
    if phase.keys == "unique":
        return None
    chance = _chance(seed, phase, "same-work")
    draw, nonce, call_key, tool = chance.random(), _nonce(chance), _uuid4(chance), _picker(phase)(chance.random(), 0)
    # One key stands for one piece of work, so for one tool; derived keys tell tools apart by themselves.
    return _Work(draw, nonce, call_key, tool) if phase.keys == "shared" else _Work(draw, nonce, None, None)


def _picker(phase: Phase) -> Callable[[float, int], str]:
    """Return the choice of a tool by a draw from [0, 1) and by the turn; a user of a closed phase has its own turns."""
    if phase.sequence is not None:
        sequence = phase.sequence
        return lambda _, turn: sequence[turn % len(sequence)]
    mix = phase.mix or {}
    tools, ends = tuple(mix), tuple(accumulate(mix.values()))
    return lambda draw, _: tools[min(bisect_right(ends, draw * ends[-1]), len(tools) - 1)]


def _uuid4(chance: Random) -> str:
    digits = f"{chance.getrandbits(128) & _UUID_FREE | _UUID_SET:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _trace_id(chance: Random) -> str:
    return f"{chance.getrandbits(128):032x}"


def _nonce(chance: Random) -> str:
    return f"{chance.getrandbits(64):016x}"
