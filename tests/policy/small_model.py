"""Retry advice, tried out: nine calls at once on a cap of three, the real policy, the real retry policy, no daemon.

Calls of 35 to 55 s, three attempts, all to end within 180 s. Events happen in the order of their time; chance comes
from one generator per run.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Final

from reference_daemon.policy.config import Advice
from reference_daemon.policy.events import Admit, CallArrived, CallKind, Refuse
from reference_daemon.policy.retry import RetryAt, RetryPolicy
from tests.policy.builders import a_call, a_policy, end, warm

CALLS: Final = 9
DEADLINE_S: Final = 180.0
SHORTEST_S, LONGEST_S = 35.0, 55.0


@dataclass
class Rush:
    """One run of the model.

    Attributes:
        advice: How the policy advises.
        seed: Of all chance in this run.
        seen: Calls of the same lengths that ran before; from 20 on the policy knows their quantiles.
        ended_at: When each call that succeeded did, by its number.
    """

    advice: Advice
    seed: int
    seen: int = 0
    ended_at: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare the policy, and its past."""
        self._chance = random.Random(self.seed)
        self._policy = a_policy(advice=self.advice)
        self._retry = RetryPolicy()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._ids = count(1)
        self._start = warm(self._policy, [self._duration_s() for _ in range(self.seen)], kind=CallKind.EXPERT)
        self._deadline_at = self._start + DEADLINE_S

    def run(self) -> int:
        """Let all calls arrive at once; return how many succeeded in time."""
        for number in range(CALLS):
            self._send(number, attempt=1, at=self._start)
        while self._events:
            at, _, happen = heappop(self._events)
            happen(at)
        assert self._policy.snapshot().total == 0
        return len(self.ended_at)

    def _duration_s(self) -> float:
        return self._chance.uniform(SHORTEST_S, LONGEST_S)

    def _at(self, at: float, happen: Callable[[float], None]) -> None:
        heappush(self._events, (at, next(self._order), happen))

    def _send(self, number: int, *, attempt: int, at: float) -> None:
        self._at(at, lambda now: self._arrive(number, attempt, now))

    def _arrive(self, number: int, attempt: int, now: float) -> None:
        call = self._call(number)
        arrival = self._policy.arrive(call, now=now)
        if isinstance(arrival, Admit):
            self._at(now + self._duration_s(), lambda at: self._end(call, number, at))
            return
        assert isinstance(arrival, Refuse)
        draw = self._chance.random()
        again = self._retry.after_refusal(
            "OVER_CAPACITY",
            arrival.retry_after_s,
            attempt=attempt,
            now=now,
            deadline_at=self._deadline_at,
            draw=draw,
        )
        if isinstance(again, RetryAt):
            self._send(number, attempt=attempt + 1, at=again.at)

    def _call(self, number: int) -> CallArrived:
        """Return an attempt: a new call with the key that its logical call keeps, in a session of its own."""
        return a_call(
            next(self._ids), key=f"call {number}", session=f"s{number}", kind=CallKind.EXPERT, work=str(number)
        )

    def _end(self, call: CallArrived, number: int, now: float) -> None:
        end(self._policy, call.call_id, now=now)
        if now <= self._deadline_at:
            self.ended_at[number] = now


def successes(advice: Advice, *, seen: int = 0, seeds: int = 300) -> list[int]:
    """Return, for each seed, how many of the calls succeeded."""
    return [Rush(advice, seed, seen).run() for seed in range(seeds)]


def rate(succeeded: list[int]) -> float:
    """Return the part of all calls that succeeded."""
    return sum(succeeded) / (len(succeeded) * CALLS)


def too_few(succeeded: list[int]) -> float:
    """Return the part of the runs in which fewer than eight of nine succeeded."""
    return sum(each < CALLS - 1 for each in succeeded) / len(succeeded)
