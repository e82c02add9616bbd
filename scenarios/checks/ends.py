"""Rules about how calls end when something goes away: a client, a connection, or the wish for an answer."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.lives import SKEW_WALL_S, Live, Lives, boot_at, lives_of, slack
from scenarios.checks.registry import Finding, rule
from scenarios.checks.requests import Request, requests_of, same_boot
from scenarios.events import AnyEvent, DaemonCall, Frame
from scenarios.verdict import Violation

NO_LOG: Final = "the daemon's own log is missing"

CANCEL_WALL_S: Final = 0.25
"""Wall seconds within which a cancelled call's work has stopped and its slots are free."""

UNKNOWN_CALL: Final = 404
GONE: Final = 410
CANCELLED: Final = 499

# --- INV-25 ----------------------------------------------------------------------------------------------------------


@rule("INV-25", "a lost client cancels nothing; its result is kept")
def lost_client_cancels_nothing(history: History) -> Finding:
    """A call whose client went away runs to its end, and its result waits for the client.

    Evidence: the daemon's answers with nobody there: none is a cancellation that no client asked for; and attaches by
    the key of an admitted call, within the result TTL: none finds nothing.
    """
    lives = lives_of(history)
    requests = [*requests_of(history), *requests_of(history, "attach")]
    wished = {
        (frame.client, frame.to_request_id or frame.request_id) for frame in history.frames if frame.op == "cancel"
    }
    given_up = {request.key for request in requests if (request.sent.client, request.request_id) in wished}
    given_up |= {request.request_id for request in requests if (request.sent.client, request.request_id) in wished}
    seen = {request.request_id for request in requests}  # others' cancels, a shim's for example, are not seen
    lost = [
        live
        for live in lives.calls
        if live.answered is not None and not live.answered.client_there and live.admitted.request_id in seen
    ]
    breaches = [
        violation("a call was cancelled because its client went away", *_steps(live), *(ran.start for ran in live.ran))
        for live in lost
        if given_up.isdisjoint({live.admitted.request_id, live.admitted.call_key_hash or live.admitted.request_id})
        and _cancelled(history, live)
    ]
    tries = [found for attach in requests_of(history, "attach") for found in _kept(history, lives, attach)]
    breaches += [found for found in tries if found is not None]
    return Finding(len(lost) + len(tries), breaches, None if history.daemon_calls else NO_LOG)


def _cancelled(history: History, live: Live) -> bool:
    """Return whether a call was cancelled, or failed just as its execution was cancelled on a healthy link."""
    outcome = live.answered.outcome if live.answered is not None else None
    if outcome != "error" or not live.ran:
        return outcome == "cancelled"
    last = live.ran[-1]
    healthy = not history.active(last.start.at, last.until, last.link, f"provider:{last.start.provider}")
    return healthy and last.end is not None and last.end.what == "cancelled"


def _kept(history: History, lives: Lives, attach: Request) -> Iterator[Violation | None]:
    """Judge an attach to a call that was admitted: it finds the call, or its result within the TTL."""
    ttl_s, first = history.run.timeouts_s.get("result ttl"), attach.first
    if ttl_s is None or first is None or attach.key is None or attach.again:
        return
    if any("RESULT_MAX" in name for name in history.run.settings):
        return  # a result may go before its time
    skew, boot = slack(history, SKEW_WALL_S), boot_at(history, attach.sent.at)
    key = [live for live in lives.calls if live.key == (boot, attach.key) and live.admitted.explicit]
    simple = len(key) == 1 and not key[0].admitted.waits and boot == boot_at(history, first.at)
    if not simple or attach.sent.at <= key[0].admitted.at + skew or first.at > key[0].admitted.at + ttl_s:
        return
    if first.status in {UNKNOWN_CALL, GONE} and first.op == "error":
        yield violation("an attach within the result TTL finds nothing", key[0].admitted, attach.sent, first)
    else:
        yield None


def _steps(live: Live) -> list[DaemonCall]:
    return [step for step in (live.admitted, live.answered, live.stopped) if step is not None]


# --- INV-26 ----------------------------------------------------------------------------------------------------------


@rule("INV-26", "a reconnect with the same key attaches or replays, and never runs again")
def never_a_second_execution(history: History) -> Finding:
    """An explicit key is executed once per start of the daemon; a client that reconnects keeps its call's key.

    Evidence: admissions in the daemon's log within the result TTL (without it, acks of answered calls), and the keys
    that clients sent for one call. Keys that were taken over are left out: their owners were fenced.
    """
    ttl_s = history.run.timeouts_s.get("result ttl")
    if ttl_s is None:
        return Finding(0, missing="the result TTL is not known")
    requests = requests_of(history)
    keys = Counter(request.key for request in [*requests, *requests_of(history, "attach")] if request.key is not None)
    judged, breaches = sum(1 for sent in keys.values() if sent > 1), list(_changed_keys(requests))
    dropped = any("RESULT_MAX" in name for name in history.run.settings)
    if not dropped:
        again = _admitted_again(history, ttl_s) if history.daemon_calls else _acked_again(history, requests, ttl_s)
        breaches += again
    return Finding(judged + len(breaches), breaches)


def _changed_keys(requests: Iterable[Request]) -> Iterator[Violation]:
    """Find calls that were sent again on another connection under another key."""
    first: dict[tuple[str, str, str], Request] = {}
    for request in requests:
        sent = request.sent
        if sent.trace_id is None or sent.fingerprint is None or request.key is None:
            continue
        before = first.setdefault((sent.client, sent.trace_id, sent.fingerprint), request)
        if before.sent.connection != sent.connection and before.key != request.key:
            yield violation("a call was sent again under another key", before.sent, sent)


def _admitted_again(history: History, ttl_s: float) -> Iterator[Violation]:
    """Find keys under which a second call was admitted, though the first one's result was kept, or it still ran."""
    for key in lives_of(history).by_key():
        if any(live.admitted.waits or not live.admitted.explicit for live in key):
            continue
        for before, live in pairwise(key):
            if live.admitted.at < before.admitted.at + ttl_s:
                ran = [each.start for each in (*before.ran, *live.ran)]
                yield violation("one key was executed twice", before.admitted, live.admitted, *ran)


def _acked_again(history: History, requests: Iterable[Request], ttl_s: float) -> Iterator[Violation]:
    """Find keys that were acked again after their call was answered, and not cut."""
    keys: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        if request.key is not None and request.ack is not None and not request.again:
            keys[request.key].append(request)
    for key in keys.values():
        for before, later in pairwise(key):
            answered = before.terminal is not None and not before.cut and before.terminal.at <= later.sent.at
            in_time = later.ack is not None and later.ack.at < before.sent.at + ttl_s
            if answered and in_time and same_boot(history, before, later):
                yield violation("one key was executed twice", before.sent, later.sent)


# --- INV-27 ----------------------------------------------------------------------------------------------------------


@rule("INV-27", "a cancel ends a live call at once, with one answer")
def cancel_ends_the_call(history: History) -> Finding:
    """A live call that is cancelled gets one 499 or, racing, its result; its execution and its slots end within 250 ms.

    Evidence: the client's frames; for the work the daemon's and the provider's logs. How soon a provider notices is not
    judged while a fault is on its link.
    """
    requests = {(request.sent.client, request.request_id): request for request in requests_of(history)}
    lives = {live.admitted.request_id: live for live in lives_of(history).calls}
    judged, stalled, breaches = 0, 0, list[Violation]()
    for frame in history.frames:
        if frame.op != "cancel" or frame.direction != "sent":
            continue
        request = requests.get((frame.client, frame.to_request_id or frame.request_id or ""))
        if request is None or request.again or not _live_when(request, frame):
            continue
        judged += 1
        breaches += _answers_to_cancel(history, request, frame)
        live = lives.get(request.request_id)
        if live is not None and live.answered is not None and live.answered.outcome == "cancelled":
            late = list(_late_after_cancel(history, live))
            if late and history.stalled_between(live.answered.at, late[0].at or live.answered.at):
                stalled += 1
            else:
                breaches += late
    return Finding(judged, breaches, None, stalled)


def _live_when(request: Request, cancel: Frame) -> bool:
    """Return whether a request was acked and unanswered when its session sent the cancel."""
    if request.sent.connection != cancel.connection:
        return False  # another session may not cancel it
    acked = request.ack is not None and request.ack.at < cancel.at
    return acked and (request.terminal is None or request.terminal.at > cancel.at)


def _answers_to_cancel(history: History, request: Request, cancel: Frame) -> Iterator[Violation]:
    """Find what is wrong with the answers of a cancelled request."""
    frames = history.frames_by_request[request.sent.client, request.request_id]
    answers = [each for each in frames if each.direction == "received" and each.op == "call_tool_res"]
    if len(answers) > 1:
        yield violation("a cancelled call has more than one terminal answer", cancel, *answers)
    until = cancel.at + slack(history, 2 * CANCEL_WALL_S + SKEW_WALL_S)
    gone = history.connection_end(request.sent.connection)
    watched = history.end_at > until and (gone is None or gone.at > until)
    late = not answers or answers[0].at > until
    blind = history.timing_blind(request.sent.connection, cancel.at, until) or history.stalled_between(cancel.at, until)
    if watched and late and not blind and history.run.stopped_by is None:
        yield violation("a cancelled call has no answer within 500 ms", request.sent, cancel, *answers)


def _late_after_cancel(history: History, live: Live) -> Iterator[Violation]:
    """Find work that went on after its call was cancelled, and slots that were held when no work was left."""
    assert live.answered is not None  # noqa: S101 - the caller looked
    most = slack(history, CANCEL_WALL_S + SKEW_WALL_S)
    last, at = live.answered.at, live.answered.at
    for ran in live.ran:
        end = math.inf if ran.end is None else ran.end.at
        links = (ran.link, f"provider:{ran.start.provider}", "daemon")
        if history.active(ran.start.at, min(end, at + most), *links):
            return
        if end > at + most and history.end_at > at + most:
            events: list[AnyEvent] = [live.answered, ran.start, *([] if ran.end is None else [ran.end])]
            yield violation("an execution went on after its call was cancelled", *events)
        last = max(last, end)
    if live.ran and live.stopped is not None and live.stopped.at > last + most:
        yield violation("a cancelled call held its slots after its work had stopped", live.answered, live.stopped)
