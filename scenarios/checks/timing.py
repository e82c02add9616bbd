"""Rules about how soon answers come; bounds in milliseconds are on the wall, whatever the time scale.

A client's stamps are judged where its link tells the truth: no fault on it, the daemon there, and the machine awake.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.exchanges import Exchange, exchanges, excused
from scenarios.checks.in_flight import InFlight, life
from scenarios.checks.intervals import quantile
from scenarios.checks.registry import Finding, rule
from scenarios.events import AnyEvent, DaemonCall, Frame, HealthSeen
from scenarios.verdict import Violation

FIRST_ANSWER_WALL_S: Final = 0.25
"""Until the first answer (INV-02); also how long a refusal takes (INV-10), and how late a timeout is (INV-20)."""

REFUSAL_P99_WALL_S: Final = 0.05
HEALTH_P99_WALL_S: Final = 0.1
LEAST_P99: Final = 100
"""Answers from which on a P99 is more than the slowest one; of fewer only the slowest one is bounded."""

PROXIED: Final = 4.0
"""Times the bound that a refusal may take through a proxy and a load driver that share the machine with the daemon: a
queue before the refusal would hold it for as long as calls take, which is far longer."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An answer that was awaited.

    Attributes:
        start: Moment from which it counts.
        end: Moment of the answer.
        bound_wall_s: What it may take at most.
        events: What shows it.
    """

    start: float
    end: float
    bound_wall_s: float
    events: tuple[AnyEvent, ...]


def _judge(history: History, waits: Iterable[Wait], what: str, *, p99_wall_s: float | None = None) -> Finding:
    """Judge each wait by its bound, and all of them by the bound of their P99 if they are enough."""
    judged = list(waits)
    late = [wait for wait in judged if history.wall_s(wait.end - wait.start) > wait.bound_wall_s]
    if p99_wall_s is not None and len(judged) >= LEAST_P99:
        p99_s = quantile([history.wall_s(wait.end - wait.start) for wait in judged], 0.99)
        if p99_s > p99_wall_s:
            # The slow ones make the P99; as few as possible must be explained by stalls to leave it open.
            over = [
                replace(wait, bound_wall_s=p99_wall_s)
                for wait in judged
                if history.wall_s(wait.end - wait.start) > p99_wall_s
            ]
            awake = [wait for wait in over if not history.stalled_between(wait.start, wait.end)]
            late = late or (awake if len(awake) > len(judged) // 100 else over)
    awake = [wait for wait in late if not history.stalled_between(wait.start, wait.end)]
    breaches = [_too_late(history, wait, what) for wait in awake]
    return Finding(len(judged), breaches, stalled=len(late) - len(awake), missing=None if judged else f"no {what}")


def _too_late(history: History, wait: Wait, what: str) -> Violation:
    took_ms = history.wall_s(wait.end - wait.start) * 1000
    never = " and counting" if math.isinf(took_ms) else ""
    return violation(
        f"{what} after {took_ms:.0f} ms{never}, allowed are {wait.bound_wall_s * 1000:.0f} ms", *wait.events
    )


@rule("INV-02", "every request gets its first answer within 250 ms")
def first_answer(history: History) -> Finding:
    """Every parseable request gets its first answer within 250 ms, also while other calls run on that connection.

    Evidence: the frames of witnesses, whose links have no proxy. An attach is left out: it may wait for a heartbeat.
    """
    waits = [wait for exchange in exchanges(history, "call_tool", "list_tools") for wait in _first(history, exchange)]
    finding = _judge(history, waits, "first answer to a witness")
    silent = [exchange for exchange in exchanges(history, "call_tool", "list_tools") if _unanswered(history, exchange)]
    breaches = [violation("no answer at all to a witness", exchange.asked) for exchange in silent]
    return Finding(
        finding.judged + len(silent),
        [*finding.violations, *breaches],
        stalled=finding.stalled,
        missing=None if finding.judged + len(silent) else finding.missing,
    )


def _first(history: History, exchange: Exchange) -> Iterator[Wait]:
    asked = exchange.asked
    if asked.connection not in history.witness_connections or not exchange.answers:
        return
    first = exchange.answers[0]
    if first.connection == asked.connection and not history.timing_blind(asked.connection, asked.at, first.at):
        yield Wait(asked.at, first.at, FIRST_ANSWER_WALL_S, (asked, first))


def _unanswered(history: History, exchange: Exchange) -> bool:
    """Return whether a witness waited for longer than the bound, and nothing came."""
    asked = exchange.asked
    if asked.connection not in history.witness_connections or exchange.answers:
        return False
    by = asked.at + history.unscaled_s(FIRST_ANSWER_WALL_S)
    unseen = history.timing_blind(asked.connection, asked.at, by) or history.stalled_between(asked.at, by)
    return by < history.end_at and not excused(history, exchange, by) and not unseen


@rule("INV-10", "429 and 409 are immediate, with advice when to come again")
def refused_at_once(history: History) -> Finding:
    """A refusal takes at most 250 ms, 50 ms at the P99, and a 429 names a finite retry_after above 0: no hidden queue.

    Evidence: the clients' frames; the P99 of witnesses only. Through a proxy four times the bound is allowed.
    """
    near, far, breaches, advice = list[Wait](), list[Wait](), list[Violation](), 0
    for exchange in exchanges(history, "call_tool"):
        asked, refusal = exchange.asked, exchange.refusal
        if refusal is None or refusal.status not in {429, 409}:
            continue
        if refusal.status == 429:  # noqa: PLR2004 - HTTP's "Too Many Requests"
            advice += 1
            if not _sensible(refusal.retry_after_s):
                breaches.append(violation(f"a 429 with retry_after {refusal.retry_after_s}", asked, refusal))
        if history.timing_blind(asked.connection, asked.at, refusal.at) or refusal.connection != asked.connection:
            continue
        witness = asked.connection in history.witness_connections
        bound = FIRST_ANSWER_WALL_S * (1.0 if witness else PROXIED)
        (near if witness else far).append(Wait(asked.at, refusal.at, bound, (asked, refusal)))
    seen = _judge(history, near, "a refusal", p99_wall_s=REFUSAL_P99_WALL_S)
    others = _judge(history, far, "a refusal")
    judged = max(seen.judged + others.judged, advice)
    return Finding(
        judged,
        [*breaches, *seen.violations, *others.violations],
        stalled=seen.stalled + others.stalled,
        missing=None if judged else "no client saw a 429 or a 409",
    )


def _sensible(retry_after_s: float | None) -> bool:
    return retry_after_s is not None and 0.0 < retry_after_s < math.inf


@rule("INV-20", "a timeout is answered within 250 ms after the deadline")
def deadline_kept(history: History) -> Finding:
    """Once a call's deadline has passed, its terminal comes within 250 ms, whatever the tool and the heartbeats do.

    Evidence: the daemon's own stamps, and the clients' where no fault is on their link. Only calls that reach their
    deadline are cases.
    """
    waits = [*_deadlines_in_daemon(history), *_deadlines_at_clients(history)]
    finding = _judge(history, waits, "a terminal answer after the deadline")
    return Finding(
        finding.judged,
        finding.violations,
        stalled=finding.stalled,
        missing=None if finding.judged else "no call reached its deadline",
    )


def _deadlines_in_daemon(history: History) -> Iterator[Wait]:
    answered = {life(step): step for step in history.daemon_calls if step.what == "answered"}
    for step in history.daemon_calls:
        if step.what != "admitted" or step.timeout_s is None:
            continue
        deadline, end = step.at + step.timeout_s, answered.get(life(step))
        yield from _past_deadline(history, deadline, end, (step,))


def _deadlines_at_clients(history: History) -> Iterator[Wait]:
    for exchange in exchanges(history, "call_tool"):
        ack, end = exchange.ack, exchange.terminal
        if ack is None or ack.timeout_s is None:
            continue
        deadline = ack.at + ack.timeout_s
        until = end.at if end is not None else deadline + history.unscaled_s(FIRST_ANSWER_WALL_S)
        lost = history.connection_end(ack.connection)
        if lost is not None and lost.at <= until:
            continue
        if not history.timing_blind(ack.connection, deadline, max(deadline, until)):
            yield from _past_deadline(history, deadline, end, (exchange.asked, ack))


def _past_deadline(
    history: History, deadline: float, end: Frame | DaemonCall | None, events: tuple[AnyEvent, ...]
) -> Iterator[Wait]:
    """Yield the wait from a deadline to the answer if the deadline was reached; a missing answer is endless."""
    latest = deadline + history.unscaled_s(FIRST_ANSWER_WALL_S)
    if end is not None:
        early = end.at < deadline and end.status != 504  # noqa: PLR2004 - HTTP's "Gateway Timeout"
        if not early and not history.daemon_away(deadline, max(deadline, end.at)):
            yield Wait(deadline, max(deadline, end.at), FIRST_ANSWER_WALL_S, (*events, end))
    elif latest < history.end_at and history.run.stopped_by is None and not history.daemon_away(events[0].at, latest):
        yield Wait(deadline, math.inf, FIRST_ANSWER_WALL_S, events)


@rule("INV-24", "health answers at once, and its figures are the history's")
def health_true(history: History) -> Finding:
    """Health answers within 100 ms at the P99, and what it says is in flight is what the daemon's log has in flight.

    Evidence: the witness's questions, and the daemon's log: a figure must be right at some moment from 50 ms before
    the question to 50 ms after the answer. Of fewer than 100 answers, the slowest may take 250 ms.
    """
    seen = [answer for answer in history.health if not history.daemon_away(answer.asked_at, answer.at)]
    waits = [Wait(answer.asked_at, answer.at, math.inf, (answer,)) for answer in seen]
    if len(seen) < LEAST_P99:
        waits = [Wait(wait.start, wait.end, FIRST_ANSWER_WALL_S, wait.events) for wait in waits]
    finding = _judge(history, waits, "an answer to health", p99_wall_s=HEALTH_P99_WALL_S)
    in_flight = InFlight(history.daemon_calls, history.processes) if history.daemon_calls else None
    wrong = [(answer, what) for answer in seen if (what := _untrue(history, in_flight, answer)) is not None]
    awake = [pair for pair in wrong if not history.stalled_between(pair[0].asked_at, pair[0].at)]
    return Finding(
        finding.judged,
        [*finding.violations, *(violation(what, answer) for answer, what in awake)],
        stalled=finding.stalled + len(wrong) - len(awake),
        missing=_health_missing(history, seen),
    )


def _health_missing(history: History, seen: Sequence[HealthSeen]) -> str | None:
    if not seen:
        return "no answer to health"
    return None if history.daemon_calls else "no log of the daemon to compare the figures with"


def _untrue(history: History, in_flight: InFlight | None, answer: HealthSeen) -> str | None:
    """Return which figure is wrong; None if all are right, or there is nothing to compare them with."""
    if in_flight is None:
        return None
    margin = history.unscaled_s(REFUSAL_P99_WALL_S)
    named = [("calls", "", answer.total)]
    named += [(f"calls of {tool}", f"tool:{tool}", number) for tool, number in answer.tools.items()]
    named += [(f"calls at {name}", f"provider:{name}", number) for name, number in answer.providers.items()]
    for what, pool, number in named:
        low, high = in_flight.between(answer.asked_at - margin, answer.at + margin, pool)
        if not low <= number <= high:
            return f"health says {number} {what} in flight, the daemon's log {low} to {high}"
    return None
