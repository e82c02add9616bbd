"""Rules about the daemon's own end: in order after SIGTERM, and what follows a SIGKILL."""

import math
import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.lives import LATE_WALL_S, SKEW_WALL_S, Lives, boot_at, lives_of, slack
from scenarios.checks.registry import Finding, rule
from scenarios.checks.requests import OVER_CAPACITY, Request, failed, requests_of
from scenarios.events import AnyEvent, Execution, Frame, ProcessMove
from scenarios.history import Call, Outcome
from scenarios.verdict import Violation

SIGNAL_WALL_S: Final = 0.25
"""Wall seconds until a signal has reached the daemon's loop."""

EXIT_WALL_S: Final = 5.0
"""Wall seconds beyond the drain grace that a daemon may take to end."""


# --- INV-28 ----------------------------------------------------------------------------------------------------------


@rule("INV-28", "SIGTERM: new calls get 503, each call in flight an answer, exit 0")
def ends_gracefully(history: History) -> Finding:
    """A daemon that gets SIGTERM admits nobody, answers every call in flight within its grace, and exits with 0.

    Evidence: what happened to the process; the daemon's log, or without it the clients' frames. Whether calls got their
    whole grace is judged where the signal was a fault of the scenario: a drill that ends has no patience.
    """
    lives = lives_of(history)
    requests = requests_of(history)
    grace_s = history.run.timeouts_s.get("drain grace")
    patience_s = math.inf if grace_s is None else grace_s + history.unscaled_s(EXIT_WALL_S)
    judged, breaches, missing = 0, list[Violation](), None
    for term in _terms(history):
        ended = next((move for move in history.processes if move.what == "ended" and move.boot == term.boot), None)
        killed_at = _killed_at(history, term)
        if killed_at < term.at + patience_s:
            missing = "a daemon was killed or stopped before it could end by itself"
            continue
        judged += 1
        if ended is not None or history.end_at > term.at + patience_s:
            breaches += _bad_exit(term, ended, killed_at)
        breaches += _after_term(history, requests, term, ended)
        breaches += _cut_too_soon(history, requests, term, grace_s)
        if history.daemon_calls:
            breaches += _unanswered_calls(lives, term, ended)
        else:
            breaches += _unanswered_requests(history, requests, term, ended)
    return Finding(judged, breaches, missing)


def _terms(history: History) -> Iterator[ProcessMove]:
    """Return the first SIGTERM to each start of the daemon; a second one asks for the same."""
    seen: set[int] = set()
    for move in history.processes:
        if move.what == "signalled" and move.signal == "SIGTERM" and move.boot not in seen:
            seen.add(move.boot)
            yield move


def _killed_at(history: History, term: ProcessMove) -> float:
    """Return when the daemon was killed or stopped before it had ended after SIGTERM; infinite if it was not."""
    killed = -signal.Signals.SIGKILL
    for move in history.processes:
        if move.boot == term.boot and move.at >= term.at:
            if move.what == "signalled" and move.signal in {"SIGKILL", "SIGSTOP"}:
                return move.at
            if move.what == "ended":  # a drill may kill without a word when it loses its patience
                return move.at if move.exit_code == killed else math.inf
    return math.inf


def _bad_exit(term: ProcessMove, ended: ProcessMove | None, killed_at: float) -> Iterator[Violation]:
    if ended is None or killed_at <= ended.at:
        yield violation("the daemon did not end within its grace", term, *([] if ended is None else [ended]))
    elif ended.exit_code not in {0, None}:
        yield violation(f"the daemon exited with {ended.exit_code} after SIGTERM", term, ended)


def _after_term(
    history: History, requests: list[Request], term: ProcessMove, ended: ProcessMove | None
) -> Iterator[Violation]:
    """Find calls that a draining daemon admitted, or refused as if they might come back to it."""
    until = math.inf if ended is None else ended.at
    drains_at = term.at + slack(history, SIGNAL_WALL_S)
    if history.stalled_between(term.at, drains_at):
        return
    for step in history.daemon_calls:
        if step.boot != term.boot or step.at <= drains_at:
            continue
        if step.what == "admitted":
            yield violation("a call was admitted after SIGTERM", term, step)
        elif step.what == "refused" and step.status == OVER_CAPACITY:
            yield violation("a call was refused with 429 after SIGTERM, not with 503", term, step)
    for request in requests if not history.daemon_calls else ():
        if request.ack is not None and drains_at < request.sent.at < request.ack.at < until:
            yield violation("a call was acked after SIGTERM", term, request.sent, request.ack)


def _cut_too_soon(
    history: History, requests: list[Request], term: ProcessMove, grace_s: float | None
) -> Iterator[Violation]:
    """Find calls that were interrupted before the grace that the scenario's signal gave them was over."""
    late = slack(history, SIGNAL_WALL_S)
    moved = history.active(term.at - late, term.at + late, "daemon")
    again = [move for move in history.processes if move.signal == "SIGTERM" and move.boot == term.boot]
    if grace_s is None or len(again) > 1 or not any(window.name != "daemon-away" for window in moved):
        return  # a second signal says that there is no time for a grace
    until = term.at + grace_s - slack(history, SKEW_WALL_S)
    for step in history.daemon_calls:
        if step.what == "answered" and step.outcome == "interrupted" and step.boot == term.boot and step.at < until:
            yield violation("a call was interrupted before the grace was over", term, step)
    for request in requests if not history.daemon_calls else ():
        answer = request.terminal
        if answer is not None and answer.code == "INTERRUPTED" and term.at < answer.at < until:
            yield violation("a call was interrupted before the grace was over", term, request.sent, answer)


def _unanswered_calls(lives: Lives, term: ProcessMove, ended: ProcessMove | None) -> list[Violation]:
    """Find calls in flight at the signal that were not answered before the daemon ended."""
    return [
        violation("a call in flight at SIGTERM got no answer", live.admitted, term, ended)
        for live in lives.calls
        if ended is not None and live.admitted.boot == term.boot and live.answered is None
    ]


def _unanswered_requests(
    history: History, requests: list[Request], term: ProcessMove, ended: ProcessMove | None
) -> list[Violation]:
    """Find acked requests whose connection the daemon's end cut off before their answer, on a healthy link."""
    breaches: list[Violation] = []
    for request in requests:
        end = history.connection_end(request.sent.connection)
        if request.ack is None or request.terminal is not None or end is None or ended is None:
            continue
        by_the_end = term.at < end.at and abs(end.at - ended.at) <= slack(history, LATE_WALL_S)
        if by_the_end and end.what == "lost" and not history.active(request.sent.at, end.at, "client-daemon"):
            breaches.append(violation("a call in flight at SIGTERM got no answer", request.sent, term, end, ended))
    return breaches


# --- INV-29 ----------------------------------------------------------------------------------------------------------


@rule("INV-29", "SIGKILL: nothing is silently run again, a lost call is unknown")
def nothing_runs_again(history: History) -> Finding:
    """After a kill no call runs again unless its client sends it again, and a call is ok only if its result came.

    Evidence: when the daemon was killed, the starts in the providers' logs by trace_id, the clients' frames and calls.
    """
    kills = [move for move in history.processes if move.what == "signalled" and move.signal == "SIGKILL"]
    by_trace: dict[str, list[Execution]] = defaultdict(list)
    for seen in history.executions:
        if seen.what == "start" and seen.trace_id is not None:
            by_trace[seen.trace_id].append(seen)
    frames = _frames_of_calls(history)
    judged, breaches = 0, list[Violation]()
    for call in history.calls:
        killed = [kill for kill in kills if _in_flight(call, kill)]
        if killed:
            judged += 1
            breaches += _run_again(history, call, killed[-1], by_trace[call.trace_id], frames[call.trace_id])
            breaches += _ok_without_result(call, killed[-1], frames[call.trace_id])
    missing = None if history.executions or not judged else "the providers' logs are missing"
    return Finding(judged, breaches, missing)


def _frames_of_calls(history: History) -> dict[str, list[Frame]]:
    """Return the frames of each trace; those of an attach belong to the traces that its key was sent with."""
    traces: dict[str, set[str]] = defaultdict(set)
    for frame in history.frames:
        if frame.op == "call_tool" and frame.call_key_hash is not None and frame.trace_id is not None:
            traces[frame.call_key_hash].add(frame.trace_id)
    found: dict[str, list[Frame]] = defaultdict(list)
    for frames in history.frames_by_request.values():
        owners = {frame.trace_id for frame in frames if frame.trace_id is not None}
        for frame in frames:
            owners |= traces.get(frame.call_key_hash or "", set()) if frame.op == "attach" else set()
        for trace_id in owners:
            found[trace_id] += frames
    return found


def _in_flight(call: Call, kill: ProcessMove) -> bool:
    sent = call.sent_at is not None and call.sent_at <= kill.at
    return sent and (call.finished_at is None or kill.at <= call.finished_at)


def _run_again(
    history: History, call: Call, kill: ProcessMove, starts: list[Execution], frames: list[Frame]
) -> Iterator[Violation]:
    """Find executions in a later start of the daemon of a call that was in flight, and was not sent there again."""
    again = [start for start in starts if start.at > kill.at and boot_at(history, start.at) > kill.boot]
    sent = [frame.at for frame in frames if frame.direction == "sent" and frame.op == "call_tool"]
    own = slack(history, SKEW_WALL_S)
    for start in again:
        if not any(kill.at < at <= start.at + own for at in sent):
            yield violation("a call ran again after the daemon was killed, though nobody sent it again", kill, start)
    if call.outcome is Outcome.UNKNOWN and len({boot_at(history, start.at) for start in starts}) > 1:
        yield violation("a call whose outcome is unknown was executed by two starts of the daemon", kill, *starts)


def _ok_without_result(call: Call, kill: ProcessMove, frames: list[Frame]) -> Iterator[Violation]:
    """Find a call that counts as successful though no result came."""
    results = [
        frame for frame in frames if frame.direction == "received" and frame.op == "call_tool_res" and not failed(frame)
    ]
    if call.outcome.succeeded and frames and not results:
        events: list[AnyEvent] = [kill, *frames]
        yield violation("a call that a kill cut off counts as successful, but no result came", *events, at=kill.at)
