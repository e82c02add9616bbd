"""The rule about heartbeats: they come in time, tell the truth, and never touch the work."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.exchanges import CANCELLED_STATUS, DEADLINE_STATUS, Exchange, exchanges
from scenarios.checks.registry import Finding, rule
from scenarios.events import DaemonCall, Execution, Frame
from scenarios.verdict import Violation

STRETCH: Final = 1.1
"""Intervals that may pass between two heartbeats."""

LONGEST_GAP_S: Final = 8.0
"""Seconds that may pass at most, whatever the interval: clients give up on a silent daemon soon after."""

ALLOWED_SHARE: Final = 0.1
ALLOWED_WALL_S: Final = 0.15
"""What is allowed beyond the bound, the larger of both: a share of it, or so many wall seconds."""

SPARE_S: Final = 2.5
"""Seconds that an inner budget may end before its outer one, to leave time for the answer."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """A silence of a call."""

    before: Frame
    after: Frame | None
    end: float


@rule("INV-19", "heartbeats come in time, and never cancel or delay the work")
def heartbeats(history: History) -> Finding:
    """No silence lasts longer than 1.1 intervals or 8 s, elapsed grows, and no work ends because of a heartbeat.

    Evidence: the clients' frames; silences only where no fault is on the link. What ended early: a 499 that nobody
    asked for, a timeout or a cancelled execution long before any of the call's budgets was over.
    """
    judged, breaches, stalled = 0, list[Violation](), 0
    bound_s = gap_bound_s(history)
    cancels = [frame for frame in history.frames if frame.op == "cancel" and frame.direction == "sent"]
    for exchange in exchanges(history, "call_tool", "attach"):
        for gap in _gaps(history, exchange):
            judged += 1
            if gap.end - gap.before.at <= bound_s:
                continue
            if history.stalled_between(gap.before.at, gap.end):
                stalled += 1
            else:
                breaches.append(_silence(gap, bound_s))
        breaches += _not_growing(exchange)
        breaches += _ended_early(history, exchange, cancels)
    breaches += _cancelled_early(history)
    return Finding(judged, breaches, stalled=stalled, missing=None if judged else "no admitted call on a sound link")


def gap_bound_s(history: History) -> float:
    """Return how long a call may be silent, in unscaled seconds, with what is allowed for the machine."""
    bound_s = min(STRETCH * history.heartbeat_interval_s, LONGEST_GAP_S)
    if history.simulated:
        return bound_s
    return bound_s + max(ALLOWED_SHARE * bound_s, history.unscaled_s(ALLOWED_WALL_S))


def _gaps(history: History, exchange: Exchange) -> Iterator[_Gap]:
    """Yield the silences from the ack to the terminal answer, or to the run's end, that the link shows truly."""
    frames = [frame for frame in exchange.answers if frame.op in {"call_tool_ack", "progress", "call_tool_res"}]
    if not frames or exchange.refusal is not None:
        return
    for before, after in pairwise(frames):
        if before.op != "call_tool_res" and not history.timing_blind(before.connection, before.at, after.at):
            yield _Gap(before, after, after.at)
    last, end = frames[-1], history.end_at
    running = last.op != "call_tool_res" and history.connection_end(last.connection) is None
    if running and history.run.stopped_by is None and not history.timing_blind(last.connection, last.at, end):
        yield _Gap(last, None, end)


def _silence(gap: _Gap, bound_s: float) -> Violation:
    events = (gap.before,) if gap.after is None else (gap.before, gap.after)
    took_s = gap.end - gap.before.at
    return violation(f"silent for {took_s:.3g} s after its {gap.before.op}, allowed are {bound_s:.3g} s", *events)


def _not_growing(exchange: Exchange) -> list[Violation]:
    known = [beat for beat in exchange.heartbeats if beat.elapsed_s is not None]
    return [
        violation(f"elapsed went from {before.elapsed_s} s to {after.elapsed_s} s", before, after)
        for before, after in pairwise(known)
        if (after.elapsed_s or 0.0) <= (before.elapsed_s or 0.0)
    ]


def _ended_early(history: History, exchange: Exchange, cancels: Sequence[Frame]) -> list[Violation]:
    """Look for an end that nobody asked for: the work was cancelled from within."""
    ack, terminal = exchange.ack, exchange.terminal
    if ack is None or terminal is None or history.daemon_away(ack.at, terminal.at):
        return []
    if terminal.status == CANCELLED_STATUS and not _was_cancelled(exchange, cancels):
        return [violation("answered CANCELLED, and nobody cancelled it", exchange.asked, ack, terminal)]
    lived_s = terminal.at - exchange.asked.at  # at most so long: an ack may come late
    if terminal.status == DEADLINE_STATUS and lived_s < _first_budget_s(history, ack.timeout_s) - SPARE_S:
        what = f"answered {terminal.code} after {lived_s:.3g} s, long before any of its budgets was over"
        return [violation(what, exchange.asked, ack, terminal)]
    return []


def _was_cancelled(exchange: Exchange, cancels: Sequence[Frame]) -> bool:
    """Return whether somebody sent a cancel that may mean this call: also one who attached to its key."""
    asked = exchange.asked
    return any(
        asked.request_id in {frame.request_id, frame.to_request_id} or frame.client != asked.client for frame in cancels
    )


def _first_budget_s(history: History, timeout_s: float | None) -> float:
    """Return the shortest budget that a call may have run out of; minus infinity if its own is unknown."""
    if timeout_s is None:
        return -math.inf
    named = (history.run.timeouts_s.get(name) for name in ("step timeout", "expert budget"))
    return min([timeout_s, *(budget for budget in named if budget is not None)])


def _cancelled_early(history: History) -> list[Violation]:
    """Look for executions that the daemon left for no reason that its log knows."""
    ended = {event.execution: event for event in history.executions if event.what == "cancelled"}
    starts = [event for event in history.executions if event.what == "start" and event.execution in ended]
    steps: defaultdict[str | None, list[DaemonCall]] = defaultdict(list)
    for step in history.daemon_calls:
        steps[step.trace_id].append(step)
    return [
        violation(
            "the daemon left an execution, and its call had time and was not cancelled", start, ended[start.execution]
        )
        for start in starts
        if start.trace_id is not None and _for_no_reason(history, steps[start.trace_id], start, ended[start.execution])
    ]


def _for_no_reason(history: History, steps: Sequence[DaemonCall], start: Execution, end: Execution) -> bool:
    """Return whether the call of a cancelled execution went on or was answered as if nothing had cut it short."""
    admitted = next((step for step in steps if step.what == "admitted"), None)
    if (
        admitted is None
        or history.run.stopped_by is not None
        or history.active(start.at, end.at, "daemon", f"daemon-provider:{start.provider}")
    ):
        return False
    answers: Sequence[str] = [step.outcome or "" for step in steps if step.what == "answered"]
    if any(answer not in {"ok", "error"} for answer in answers):
        return False
    return end.at - admitted.at < _first_budget_s(history, admitted.timeout_s) - SPARE_S
