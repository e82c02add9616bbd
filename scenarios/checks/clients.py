"""Rules for whoever calls: when a client tries again, and how long it waits before."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.exchanges import REFUSED_STATUS, Exchange, exchanges
from scenarios.checks.registry import Finding, rule
from scenarios.events import Frame
from scenarios.verdict import Violation

NONSENSE_S: Final = 3600.0
"""Above this a retry_after is no advice: no client waits an hour for a call of a minute."""

TICK_WALL_S: Final = 0.003
"""Wall seconds that a timer may fire early, and stamps of two frames may differ by."""

LATE_WALL_S: Final = 0.25
"""Wall seconds that a client may come later than its longest wait."""

LEAST_JITTERS: Final = 8
"""Waits that it takes to see whether jitter is uniform: with fewer no test is sure enough."""

SUREST: Final = 1e-6
"""Chance that uniform jitter is called not uniform: a gate that is run every day must not cry wolf."""

LEAST_RANGE_WALL_S: Final = 0.05
"""Wall seconds over which jitter must spread to be seen: below, the machine's own delays are as large."""


@rule("INV-40", "a client tries at most 3 times, after a 429, a 503 or a lost connection, as the same call")
def attempts(history: History) -> Finding:
    """A call is sent again only if it was refused or its connection ended, with its key, trace and time left.

    Evidence: the clients' frames, those with the same trace_id being one call; without frames the calls' own count.
    Cases are the calls that were refused, failed or sent again. Clients that send copies on purpose are left out.
    """
    most = history.retry.max_attempts
    judged, breaches = 0, list[Violation]()
    for attempt in _calls(history):
        if len(attempt) == 1 and not _failed(attempt[0]):
            continue
        judged += 1
        if len(attempt) > most:
            breaches.append(
                violation(f"sent {len(attempt)} times, allowed are {most}", *(one.asked for one in attempt))
            )
        for before, after in pairwise(attempt):
            what = _wrong_retry(history, before, after)
            if what is not None:
                breaches.append(violation(what, before.asked, *_last(before), after.asked))
    if not history.frames:
        judged, breaches = _by_count(history, most)
    return Finding(judged, breaches, missing=None if judged else "no call was refused, failed or sent again")


def _calls(history: History) -> Iterator[list[Exchange]]:
    """Yield the attempts of each logical call, in order."""
    calls: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
    for exchange in exchanges(history, "call_tool"):
        asked = exchange.asked
        if asked.trace_id is not None and asked.client not in history.repeaters:
            calls[asked.client, asked.trace_id].append(exchange)
    for attempt in calls.values():
        yield sorted(attempt, key=lambda exchange: exchange.asked.at)


def _last(exchange: Exchange) -> Sequence[Frame]:
    end = exchange.terminal
    return () if end is None else (end,)


def _failed(exchange: Exchange) -> bool:
    end = exchange.terminal
    return end is not None and end.status is not None


def _wrong_retry(history: History, before: Exchange, after: Exchange) -> str | None:
    """Return what is wrong with sending a call again; None if nothing is."""
    answer, asked = before.terminal, after.asked
    end = history.connection_end(before.asked.connection)
    lost = end is not None and end.at <= asked.at
    if answer is None and not lost:
        return "sent again while it had no answer"
    if answer is not None and answer.at <= asked.at and answer.status not in REFUSED_STATUS:
        return f"sent again after {answer.code or answer.status or 'its result'}"
    if asked.call_key_hash != before.asked.call_key_hash:
        return "sent again with another call_key"
    if asked.timeout_s is not None and asked.timeout_s <= 0:
        return "sent again with no time left"
    return None


def _by_count(history: History, most: int) -> tuple[int, list[Violation]]:
    calls = [call for call in history.calls if call.attempts > 1]
    return len(calls), [
        Violation(
            what=f"sent {call.attempts} times, allowed are {most}",
            at=call.finished_at,
            trace_ids=(call.trace_id,),
            request_ids=() if call.request_id is None else (call.request_id,),
        )
        for call in calls
        if call.attempts > most
    ]


@dataclass(frozen=True, slots=True)
class _Wait:
    """A wait between a refusal and the next attempt.

    Attributes:
        refused: The refusal.
        again: The next attempt.
        least_s: What it must last: the advice, or the backoff where that is longer or the advice makes no sense.
        advised: Whether the advice made sense.
    """

    refused: Frame
    again: Frame
    least_s: float
    advised: bool

    @property
    def took_s(self) -> float:
        """How long it lasted."""
        return self.again.at - self.refused.at


@rule("INV-41", "a client waits as long as it was told, plus jitter that is really uniform")
def waits(history: History) -> Finding:
    """A refused client comes again after retry_after or later, within its jitter; advice without sense is replaced.

    Evidence: the clients' frames. Whether jitter is uniform is judged on all waits together, by the test of Kolmogorov
    and Smirnov; too few of them leave the rule undecided.
    """
    seen = list(_waits(history))
    breaches, stalled = list[Violation](), 0
    for wait in seen:
        what = _wrong_wait(history, wait)
        if what is None:
            continue
        if what.endswith("late") and history.stalled_between(wait.refused.at, wait.again.at):
            stalled += 1
        else:
            breaches.append(violation(f"waited {wait.took_s:.4g} s: {what}", wait.refused, wait.again))
    uneven, missing = _uneven(history, seen)
    return Finding(
        len(seen),
        [*breaches, *uneven],
        stalled=stalled,
        missing=missing if seen else "no refused call was sent again",
    )


def _waits(history: History) -> Iterator[_Wait]:
    retry = history.retry
    for attempt in _calls(history):
        for number, (before, after) in enumerate(pairwise(attempt), start=1):
            answer = before.terminal
            if answer is None or answer.status not in REFUSED_STATUS or answer.connection != after.asked.connection:
                continue
            backoff_s = min(retry.first * 2.0 ** min(number - 1, 30), retry.max)
            advice_s = answer.retry_after_s
            advised = advice_s is not None and 0.0 < advice_s <= NONSENSE_S
            least_s = max(advice_s or 0.0, backoff_s) if advised else backoff_s
            yield _Wait(answer, after.asked, least_s, advised)


def _wrong_wait(history: History, wait: _Wait) -> str | None:
    """Return what is wrong with a wait; None if nothing is."""
    advice_s = (wait.refused.retry_after_s or 0.0) if wait.advised else 0.0
    if wait.took_s < advice_s - history.unscaled_s(TICK_WALL_S):
        return f"told to wait {advice_s:.4g} s"
    longest_s = wait.least_s * (1.0 + history.retry.jitter)
    if wait.took_s > longest_s + history.unscaled_s(LATE_WALL_S):
        return f"at most {longest_s:.4g} s with its jitter, so it is late"
    return None


def _uneven(history: History, seen: Sequence[_Wait]) -> tuple[list[Violation], str | None]:
    """Return a breach if the jitter is not uniform, or why nobody can tell."""
    jitter = history.retry.jitter
    if jitter == 0.0:
        return [], None
    clear = [
        wait
        for wait in seen
        if history.wall_s(wait.least_s * jitter) >= LEAST_RANGE_WALL_S
        and not history.stalled_between(wait.refused.at, wait.again.at)
    ]
    if len(clear) < LEAST_JITTERS:
        return [], f"{len(clear)} clear waits are too few to see whether jitter is uniform"
    parts = [min(max((wait.took_s / wait.least_s - 1.0) / jitter, 0.0), 1.0) for wait in clear]
    distance = _distance(parts)
    allowed = math.sqrt(-math.log(SUREST / 2) / (2 * len(parts)))
    if distance <= allowed:
        return [], None
    what = f"the jitter of {len(parts)} waits is not uniform: it is off by {distance:.2f}, allowed are {allowed:.2f}"
    return [violation(what, *(frame for wait in clear[:3] for frame in (wait.refused, wait.again)))], None


def _distance(parts: Sequence[float]) -> float:
    """Return the largest distance between the parts' distribution and the uniform one on [0, 1]."""
    ordered, n = sorted(parts), len(parts)
    return max(max(rank / n - part, part - (rank - 1) / n) for rank, part in enumerate(ordered, start=1))
