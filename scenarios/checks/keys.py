"""Rules about keys: none runs twice at once, duplicates hear of their owner, results are replayed as they were."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.lives import OWN_WALL_S, SKEW_WALL_S, Live, Lives, Ran, lives_of, slack
from scenarios.checks.registry import Finding, rule
from scenarios.checks.requests import (
    DRAINING,
    DUPLICATE,
    KEY_REUSED,
    OVER_CAPACITY,
    Request,
    failed,
    is_cut,
    requests_of,
    same_boot,
)
from scenarios.events import DaemonCall, Frame
from scenarios.verdict import Violation

NO_LOG: Final = "the daemon's own log is missing"

ANSWER_WALL_S: Final = 0.25
"""Wall seconds within which a request has its first answer."""

NEVER_KEPT: Final = frozenset({DUPLICATE, KEY_REUSED, OVER_CAPACITY, DRAINING})
"""Statuses of refusals, which no tool can end with; with 400 it can, if it finds its arguments wrong as it runs."""

BEFORE_KEYS: Final = frozenset({400, 404, 413, DRAINING})
"""Statuses of refusals that are decided before the key is looked at."""

# --- INV-12 ----------------------------------------------------------------------------------------------------------


@rule("INV-12", "executions of one key never overlap")
def never_twice_at_once(history: History) -> Finding:
    """No two executions for the same key run at the same time, over restarts neither.

    Evidence: starts and ends in the providers' logs; the key by trace_id, from the daemon's log or the clients' frames.
    """
    lives = lives_of(history)
    keys: dict[str, list[Ran]] = defaultdict(list)
    asked: list[Frame | DaemonCall] = [*history.frames, *history.daemon_calls]
    known = {event.trace_id: event.call_key_hash for event in asked if event.call_key_hash is not None}
    for ran in lives.executions:
        key = ran.live.admitted.call_key_hash if ran.live is not None else known.get(ran.start.trace_id)
        if key is not None and ran.start.trace_id is not None:
            keys[key].append(ran)
    breaches: list[Violation] = []
    for executions in keys.values():
        last = executions[0]
        for ran in executions[1:]:
            if ran.start.at < last.until and not _blind(history, ran):
                breaches.append(violation("two executions of one key overlap", last.start, ran.start))
            last = max(last, ran, key=lambda each: each.until)
    missing = None if history.executions else "the providers' logs are missing"
    return Finding(sum(map(len, keys.values())), breaches, missing)


def _blind(history: History, ran: Ran) -> bool:
    """Return whether nobody could count the executions of this provider when this one began."""
    at = ran.start.at
    return any(ran.start.provider in window.blinds and window.overlaps(at, at) for window in history.windows)


# --- INV-13 ----------------------------------------------------------------------------------------------------------


@rule("INV-13", "a duplicate of a live key gets 409 with the live owner's request_id")
def duplicate_names_owner(history: History) -> Finding:
    """A duplicate is refused at once, and told the request that holds its key.

    Evidence: who holds a key, from admissions and stops in the daemon's log; without it, from what clients sent and
    got. A duplicate that got the owner's result instead of a 409 waited for it.
    """
    requests = requests_of(history)
    ambiguous = {request.request_id for request in requests if request.again or request.error is not None}
    if not history.daemon_calls:
        return _duplicates_by_frames(requests)
    lives = lives_of(history)
    keys = {key[0].key: key for key in lives.by_key()}
    same_id = {(live.session, live.admitted.request_id) for live in lives.calls}
    judged, breaches = 0, list[Violation]()
    for step in history.daemon_calls:
        duplicate = step.what == "refused" and step.status == DUPLICATE and step.call_key_hash is not None
        of_request = (
            (step.boot, step.session),
            step.request_id,
        ) in same_id  # its request_id was in flight, not its key
        if duplicate and not of_request and step.request_id not in ambiguous:
            judged += 1
            owners = list(_owners(history, keys.get((step.boot, step.call_key_hash or ""), []), step.at))
            named = step.original_request_id
            if named == step.request_id or named not in {owner.admitted.request_id for owner in owners}:
                what = f"a duplicate was told of {named}, which does not hold its key"
                breaches.append(violation(what, *(owner.admitted for owner in owners), step, at=step.at))
    waited = list(_waited(history, lives, requests))
    return Finding(judged + len(waited), [*breaches, *waited])


def _owners(history: History, key: list[Live], at: float) -> Iterator[Live]:
    """Return the calls that may have held a key at `at`: within the skew, no later call held it throughout."""
    start, end = at - slack(history, SKEW_WALL_S), at + slack(history, SKEW_WALL_S)
    for index, live in enumerate(key):
        later = any(other.admitted.at < start and end < other.ended_at for other in key[index + 1 :])
        if live.open_within(start, end) and not later:
            yield live


def _waited(history: History, lives: Lives, requests: list[Request]) -> Iterator[Violation]:
    """Find the duplicates that got a result without being admitted, though the owner's work still ran at their turn."""
    keys: dict[str, list[Live]] = defaultdict(list)
    for key in lives.by_key():
        keys[key[0].admitted.call_key_hash or ""] += key
    for request in requests:
        answer = request.terminal
        if request.ack is not None or request.again or answer is None or failed(answer):
            continue
        start, decided = request.sent.at, request.sent.at + slack(history, ANSWER_WALL_S + SKEW_WALL_S)
        if history.timing_blind(request.sent.connection, start, decided) or history.stalled_between(start, decided):
            continue
        owners = [live for live in keys.get(request.key or "", ()) if live.open_at(start) and decided < live.ended_at]
        unanswered = [live for live in owners if not live.cut and live.admitted.request_id != request.request_id]
        if unanswered:
            yield violation("a duplicate waited for the owner of its key", unanswered[0].admitted, request.sent, answer)


def _duplicates_by_frames(requests: list[Request]) -> Finding:
    """Judge what duplicates are told by what the clients know: the named request has their key, and may be live."""
    by_id = {request.request_id: request for request in requests}
    judged, breaches = 0, list[Violation]()
    for request in requests:
        answer = request.terminal
        if request.again or answer is None or answer.status != DUPLICATE or is_cut(answer) or request.ack is not None:
            continue
        judged += 1
        named = by_id.get(answer.original_request_id or "")
        if named is None or named is request or not _may_be_owner(named, request, answer):
            told = answer.original_request_id
            events = [named.sent] if named is not None else []
            breaches.append(violation(f"a duplicate was told of {told}, which cannot hold its key", *events, answer))
    return Finding(judged, breaches)


def _may_be_owner(named: Request, request: Request, answer: Frame) -> bool:
    """Return whether `named` has the same work and may have been live when `request` was refused."""
    same = named.key == request.key if request.key is not None else named.sent.fingerprint == request.sent.fingerprint
    if not same or named.sent.at > answer.at or named.refused:
        return False
    ended = named.terminal is not None and not named.cut and named.terminal.at < request.sent.at
    return not ended


# --- INV-14 ----------------------------------------------------------------------------------------------------------


@rule("INV-14", "the same explicit key with other work gets 422")
def other_work_is_refused(history: History) -> Finding:
    """Other work under an explicit key that is known gets 422; it is neither run nor answered with another's result.

    Evidence: the clients' frames. A key is known from its first ack until the result TTL, unless the daemon was started
    anew.
    """
    ttl_s = history.run.timeouts_s.get("result ttl")
    if ttl_s is None:
        return Finding(0, missing="the result TTL is not known")
    judged, breaches = 0, list[Violation]()
    dropped = any("RESULT_MAX" in name for name in history.run.settings)  # then a result may go before its time
    for requests in by_explicit_key(requests_of(history)).values():
        for request in requests:
            known = _known_before(history, request, requests, ttl_s)
            if known is None or request.first is None or request.error is not None:
                continue
            if dropped and (known.cut or known.terminal is None or known.terminal.at <= request.first.at):
                continue
            judged += 1
            if request.first.status != KEY_REUSED and request.first.status not in BEFORE_KEYS:
                what = f"other work under a known key got {_said(request.first)} instead of 422"
                breaches.append(violation(what, known.sent, request.sent, request.first))
    return Finding(judged, breaches)


def by_explicit_key(requests: list[Request]) -> dict[str, list[Request]]:
    """Return the requests by the key that they were sent with, in order; those whose answers are ambiguous left out."""
    keys: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        if request.key is not None and not request.again:
            keys[request.key].append(request)
    return dict(keys)


def _known_before(history: History, request: Request, requests: list[Request], ttl_s: float) -> Request | None:
    """Return an admitted request that made the key stand for other work before `request` was sent."""
    answered_at = request.first.at if request.first is not None else request.sent.at
    for other in requests:
        admitted = other.ack is not None and other.ack.at < request.sent.at  # at one moment, nobody knows who was first
        # A call that was cut may have lost its key to another, which may have let it go.
        holds = not other.cut or (other.terminal is not None and answered_at < other.terminal.at)
        differs = other.sent.fingerprint != request.sent.fingerprint and same_boot(history, other, request)
        if admitted and holds and differs and answered_at < other.sent.at + ttl_s:
            return other
    return None


def _said(frame: Frame) -> str:
    if frame.op == "call_tool_ack":
        return "an ack"
    if frame.status is not None:
        return str(frame.status)
    return "a replay" if frame.replayed else "a result"


# --- INV-15 ----------------------------------------------------------------------------------------------------------


@rule("INV-15", "a finished explicit key replays its payload byte for byte")
def replays_as_it_was(history: History) -> Finding:
    """The same work under a finished explicit key gets the same payload again within the result TTL; refusals never.

    Evidence: the clients' frames. A call that was cut is stored when its work has stopped, so until then other answers
    are right, too.
    """
    ttl_s = history.run.timeouts_s.get("result ttl")
    if ttl_s is None:
        return Finding(0, missing="the result TTL is not known")
    judged, breaches = 0, list[Violation]()
    ambiguous = {request.key for request in requests_of(history) if request.again}
    followed = by_explicit_key(requests_of(history, "attach"))
    dropped = any("RESULT_MAX" in name for name in history.run.settings)  # then a result may go before its time
    for key, requests in by_explicit_key(requests_of(history)).items():
        found = [] if key in ambiguous else [*_replays(history, [*requests, *followed.get(key, [])])]
        if not dropped:
            found += [judgement for request in requests for judgement in _repeat(history, request, requests, ttl_s)]
        judged += len(found)
        breaches += [breach for breach in found if breach is not None]
    return Finding(judged, breaches)


def _replays(history: History, requests: list[Request]) -> Iterator[Violation | None]:
    """Judge each replayed payload against what the key's executions were answered with."""
    for request in requests:
        replay = request.terminal
        if replay is None or not replay.replayed:
            continue
        if replay.status in NEVER_KEPT:
            yield violation(f"a refusal ({replay.status}) was replayed", request.sent, replay)
            continue
        known = _payloads(history, request, requests)
        if known and replay.payload_hash is not None and replay.payload_hash not in known:
            yield violation("a replay differs from the answer that was given first", *known.values(), replay)
        else:
            yield None


def _payloads(history: History, request: Request, requests: list[Request]) -> dict[str | None, Frame]:
    """Return the answers that a key's executions were known to give, by their payload; empty if one says too little."""
    same = [each for each in requests if same_boot(history, each, request)]
    ran = [each for each in same if each.ack is not None and not _superseded(each)]
    answers = [each.terminal for each in ran if each.terminal is not None]
    followed = [each.terminal for each in same if each.sent.op == "attach" and each.terminal is not None]
    answers += [answer for answer in followed if not answer.replayed]
    # A client went away before its answer, or even before its ack: the first replay shows what it was.
    unseen = len([each for each in ran if each.terminal is None])
    unseen += len([each for each in same if each.sent.op == "call_tool" and each.first is None])
    replays = {each.terminal.payload_hash: each.terminal for each in same if each.terminal and each.terminal.replayed}
    seen = {answer.payload_hash for answer in answers}
    answers += [replay for payload, replay in replays.items() if payload not in seen][:unseen]
    known = {answer.payload_hash: answer for answer in answers}
    return {} if None in known else known


def _superseded(request: Request) -> bool:
    return request.terminal is not None and request.terminal.code == "SUPERSEDED"


def _repeat(history: History, request: Request, requests: list[Request], ttl_s: float) -> Iterator[Violation | None]:
    """Judge the answer to a request that repeats work which was answered within the TTL: it must be a replay."""
    if request.first is None or request.error is not None or request.first.status in BEFORE_KEYS:
        return
    for other in requests:
        done = other.terminal
        if other.ack is None or done is None or other.cut or other is request or done.at >= request.sent.at:
            continue
        same = other.sent.fingerprint == request.sent.fingerprint and same_boot(history, other, request)
        if same and request.first.at < other.sent.at + ttl_s:  # it was kept after it was sent
            if request.first.replayed:
                yield None
            else:
                what = f"the work of a finished key was asked for again and got {_said(request.first)}, no replay"
                yield violation(what, done, request.sent, request.first)
            return


# --- INV-16 ----------------------------------------------------------------------------------------------------------


@rule("INV-16", "a key is released once, by its own generation")
def one_owner(history: History) -> Finding:
    """A key never has two owners at once, but for a call that waits for the lapsed owner's work; it is released once.

    Evidence: admissions and stops in the daemon's log.
    """
    lives = lives_of(history)
    keyed = [step for step in lives.unmatched if step.call_key_hash is not None]
    breaches = [violation("a key was released twice, or by a call that never held it", step) for step in keyed]
    own = slack(history, OWN_WALL_S)
    judged = 0
    for key in lives.by_key():
        judged += len(key)
        last = key[0]
        for live in key[1:]:
            if live.admitted.at < last.ended_at - own and not live.admitted.waits:
                breaches.append(violation("a key has two owners at once", last.admitted, live.admitted))
            last = max(last, live, key=lambda each: each.ended_at)
    return Finding(judged, breaches, None if history.daemon_calls else NO_LOG)


# --- INV-17 ----------------------------------------------------------------------------------------------------------


@rule("INV-17", "a lapsed key is taken over only after its owner was fenced")
def fenced_first(history: History) -> Finding:
    """Whoever takes over a key finds its owner answered (409 SUPERSEDED), and runs when the owner's work has stopped.

    Evidence: admissions, answers and stops in the daemon's log, starts in the providers', and what the owner was told.
    """
    told = {
        request.request_id: request.terminal
        for request in requests_of(history)
        if request.terminal is not None and request.terminal.code == "SUPERSEDED"
    }
    own, judged, breaches = slack(history, OWN_WALL_S), 0, list[Violation]()
    for key in lives_of(history).by_key():
        for index, live in enumerate(key):
            owners = [owner for owner in key[:index] if live.admitted.at < owner.ended_at - own]
            judged += len(owners)
            for owner in owners:
                breaches += _not_fenced(history, owner, live, told.get(owner.admitted.request_id))
    return Finding(judged, breaches, None if history.daemon_calls else NO_LOG)


def _not_fenced(history: History, owner: Live, heir: Live, told: Frame | None) -> Iterator[Violation]:
    """Find what is wrong with the takeover of `owner`'s key by `heir`."""
    steps: list[DaemonCall] = [step for step in (owner.admitted, owner.answered, heir.admitted) if step is not None]
    answered_at = owner.answered.at if owner.answered is not None else owner.ended_at
    if answered_at > heir.admitted.at + slack(history, OWN_WALL_S):
        yield violation("a key was taken over before its owner was answered", *steps, at=heir.admitted.at)
    early = [ran for ran in heir.ran if ran.start.at < owner.ended_at - slack(history, SKEW_WALL_S)]
    if early:
        what = "a call that took over a key ran before its owner's work had stopped"
        yield violation(what, owner.admitted, heir.admitted, early[0].start)
    superseded = owner.answered is not None and owner.answered.outcome == "superseded"
    just_now = abs(answered_at - heir.admitted.at) <= slack(history, OWN_WALL_S)
    if superseded and just_now and told is not None and told.superseded_by != heir.admitted.request_id:
        yield violation(f"the owner was told that {told.superseded_by} took its key over", heir.admitted, told)
