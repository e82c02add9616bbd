"""Rules about slots: caps hold for what really runs, slots pair, refusals hold none and are not given without need."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.lives import OWN_WALL_S, SKEW_WALL_S, Live, Lives, Ran, lives_of, slack
from scenarios.checks.registry import Finding, rule
from scenarios.checks.requests import DUPLICATE, OVER_CAPACITY, Request, requests_of
from scenarios.events import AnyEvent, DaemonCall, Frame, HealthSeen
from scenarios.verdict import Violation

NO_LOG: Final = "the daemon's own log is missing"

OWN_WORK_WALL_S: Final = 0.2
"""Wall seconds that a tool may work on after its provider has answered: reading the answer, writing the summary."""

FREE_WALL_S: Final = 0.05
"""Wall seconds within which a slot is free after the work's end."""

ZERO_WALL_S: Final = 1.0
"""Wall seconds without a call in flight after which every pool is at zero."""

# --- INV-06 ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A slot in use."""

    start: float
    end: float
    event: AnyEvent
    scope: str


@rule("INV-06", "what really runs never exceeds a cap")
def caps_hold(history: History) -> Finding:
    """No more executions run at once than a cap allows, by the providers' logs; nor are more calls admitted.

    Evidence: starts and ends at the providers, joined with the calls by trace_id; for the global cap and the sessions'
    also the time from admission to stop. Moments at which a provider is blinded are left out: nobody can count then.
    """
    lives = lives_of(history)
    spans: dict[tuple[str, object], list[_Span]] = defaultdict(list)
    for ran in lives.executions:
        if ran.live is not None or (not lives.calls and ran.start.trace_id is not None):
            for scope, whose in _scopes_of(ran):
                spans[scope, whose].append(_Span(ran.start.at, ran.until, ran.start, scope))
    for live, start in _working(lives):
        end = max(start, live.ended_at - slack(history, OWN_WALL_S))
        spans["global", ("calls", live.admitted.boot)].append(_Span(start, end, live.admitted, "global"))
        spans["session", ("calls", live.session)].append(_Span(start, end, live.admitted, "session"))
    judged, breaches = 0, list[Violation]()
    for (scope, _), taken in spans.items():
        cap = history.run.caps.get(scope)
        if cap is not None:
            judged += len(taken)
            breaches += _over(history, scope, cap, taken)
    missing = None
    if not history.run.caps:
        missing = "the caps are not known"
    elif not history.executions:
        missing = "the providers' logs are missing, so nobody knows what really ran"
    return Finding(judged, breaches, missing)


def _scopes_of(ran: Ran) -> Iterator[tuple[str, object]]:
    """Return the scopes that an execution counts in, and whose pool that is. A daemon that died holds nothing."""
    tool = ran.start.tool or (ran.live.admitted.tool if ran.live else None)
    yield "global", ran.boot
    yield f"provider:{ran.start.provider}", ran.boot
    if tool is not None:
        yield f"tool:{tool}", ran.boot
    if ran.live is not None:
        yield "session", ran.live.session


def _working(lives: Lives) -> Iterator[tuple[Live, float]]:
    """Return the admitted calls, each with the moment from which its slots are its own.

    A call that took over a lapsed key gets the slots of the owner that it waits for.
    """
    by_key = {id(live): earlier for key in lives.by_key() for earlier, live in _with_earlier(key)}
    for live in lives.calls:
        start = live.admitted.at
        if live.admitted.waits:
            owners = [owner.ended_at for owner in by_key.get(id(live), ()) if owner.open_at(start)]
            start = max([start, *owners])
        if start < live.ended_at:
            yield live, start


def _with_earlier(key: list[Live]) -> Iterator[tuple[list[Live], Live]]:
    return ((key[:index], live) for index, live in enumerate(key))


def _over(history: History, scope: str, cap: int, spans: list[_Span]) -> Iterator[Violation]:
    """Find the starts at which more than `cap` slots are in use; an end comes before a start of the same moment."""
    running: list[tuple[float, int]] = []
    spans = sorted(spans, key=lambda span: span.start)
    blinds = [window for window in history.windows if window.blinds]
    for number, span in enumerate(spans):
        while running and running[0][0] <= span.start:
            heapq.heappop(running)
        heapq.heappush(running, (span.end, number))
        if len(running) <= cap:
            continue
        provider = scope.removeprefix("provider:")
        blind = [window for window in blinds if scope == provider or provider in window.blinds]
        if not any(window.overlaps(span.start, span.start) for window in blind):
            events = [spans[each].event for _, each in sorted(running, key=lambda item: item[1])]
            what = "executions run" if events[0].__class__.__name__ == "Execution" else "calls are in flight"
            yield violation(f"{len(running)} {what} at once, the cap of {scope} is {cap}", *events, at=span.start)


# --- INV-07 ----------------------------------------------------------------------------------------------------------


@rule("INV-07", "slots taken and given back pair; every pool is at zero in the end")
def slots_pair(history: History) -> Finding:
    """Every admitted call stops exactly once, and when nothing is in flight every pool is at zero.

    Evidence: the daemon's own log, and answers to `health` while by that log nothing was in flight for a second, or
    which the drill took when the load was over. A daemon that was ended by a signal owes no stops.
    """
    lives = lives_of(history)
    breaches = [
        violation("slots were given back that were not held, or given back twice", step) for step in lives.unmatched
    ]
    quiet = [seen for seen in history.health if seen.quiescent or _nothing_held(history, lives, seen)]
    signals = _signals(history)
    breaches += [
        violation("an admitted call never gave its slots back", *_steps(live))
        for live in lives.calls
        if live.stopped is None and _owes_a_stop(history, live, quiet, signals.get(live.admitted.boot, math.inf))
    ]
    breaches += [violation("nothing is in flight, but a pool is not at zero", seen) for seen in quiet if _held(seen)]
    missing = None
    if not history.daemon_calls:
        missing = NO_LOG
    elif not quiet and max((live.admitted.boot for live in lives.calls), default=1) not in signals:
        missing = "nobody asked for health once nothing was in flight"
    return Finding(len(lives.calls) + len(quiet), breaches, missing)


def _held(seen: HealthSeen) -> bool:
    return seen.total != 0 or any(seen.tools.values()) or any(seen.providers.values())


def _nothing_held(history: History, lives: Lives, seen: HealthSeen) -> bool:
    """Return whether the log says that no call was in flight for a second before the question, until the answer."""
    start = seen.asked_at - slack(history, ZERO_WALL_S)
    end = seen.at + slack(history, SKEW_WALL_S)
    known = any(live.admitted.at < start for live in lives.calls)
    return known and not any(live.open_within(start, end) for live in lives.calls)


def _owes_a_stop(history: History, live: Live, quiet: list[HealthSeen], signalled_at: float) -> bool:
    """Return whether a call without a stop should have stopped by the end of the run, or of its daemon."""
    if live.admitted.waits and live.cut:
        return False  # it had no work of its own, so none that could stop
    if any(seen.quiescent and live.admitted.at < seen.asked_at and seen.at < signalled_at for seen in quiet):
        return True
    if live.answered is None or live.cut or history.run.stopped_by is not None:
        return False
    return min(history.end_at, signalled_at) > live.answered.at + slack(history, ZERO_WALL_S)


def _signals(history: History) -> dict[int, float]:
    """Return when each start of the daemon got the signal to end, or ended by itself."""
    signals: dict[int, float] = {}
    for move in history.processes:
        if move.what == "ended" or (move.what == "signalled" and move.signal in {"SIGTERM", "SIGKILL"}):
            signals.setdefault(move.boot, move.at)
    return signals


def _steps(live: Live) -> list[DaemonCall]:
    return [step for step in (live.admitted, live.answered, live.stopped) if step is not None]


# --- replaying admissions and stops -----------------------------------------------------------------------------------


class _Replay:
    """Who holds slots around a moment, by the daemon's admissions and stops; asked in the order of time."""

    def __init__(self, history: History, lives: Lives) -> None:
        self._skew = slack(history, SKEW_WALL_S)
        self._coming = iter(lives.calls)
        self._next = next(self._coming, None)
        self._open: list[Live] = []

    def around(self, at: float, boot: int) -> list[Live]:
        """Return the calls of this start of the daemon that were open within the skew of `at`."""
        start, end = at - self._skew, at + self._skew
        while self._next is not None and self._next.admitted.at <= end:
            self._open.append(self._next)
            self._next = next(self._coming, None)
        self._open = [live for live in self._open if live.ended_at >= start]
        return [live for live in self._open if live.admitted.boot == boot]

    def most(self, at: float, boot: int, scope: str, session: str) -> int:
        """Return the most slots of a scope that were held within the skew of `at`."""
        around = [live for live in self.around(at, boot) if needs(live.admitted, scope, session)]
        moments = {at - self._skew, at, *(max(at - self._skew, live.admitted.at) for live in around)}
        return max(_slots(live for live in around if live.open_at(moment)) for moment in moments)


def needs(call: DaemonCall, scope: str, session: str) -> bool:
    """Return whether a call needs a slot of that scope; `session` says whose, where the scope is a session's."""
    kind, _, name = scope.partition(":")
    if kind == "tool":
        return call.tool == name
    if kind == "provider":
        return call.provider == name
    return kind == "global" or call.session == session


def _slots(lives: Iterable[Live]) -> int:
    """Count slots: a call that waits for the owner of its key shares its slots."""
    own: Counter[str] = Counter()
    waits: set[str] = set()
    for number, live in enumerate(lives):
        key = live.admitted.call_key_hash or f"#{number}"
        if live.admitted.waits:
            waits.add(key)
        else:
            own[key] += 1
    return own.total() + len(waits - own.keys())


# --- INV-08 ----------------------------------------------------------------------------------------------------------


@rule("INV-08", "a refused call leaves nothing behind: no slot, no key")
def refused_holds_nothing(history: History) -> Finding:
    """A refused call holds no key, no slot, and does not run.

    Evidence: no 409 names a request that was refused; no 429 counts more slots in use than admitted calls hold; a trace
    of which every request was refused has no execution.
    """
    requests = requests_of(history)
    refused = [request for request in requests if request.refused]
    lives = lives_of(history)
    breaches = [*_blocked_by_refused(history, requests), *_counts_too_much(history, lives, refused)]
    breaches += _ran_though_refused(history, lives)
    judged = max(len(refused), sum(1 for step in history.daemon_calls if step.what == "refused"))
    return Finding(judged, breaches, NO_LOG if judged and not history.daemon_calls else None)


def _blocked_by_refused(history: History, requests: list[Request]) -> Iterator[Violation]:
    """Find the answers 409 that name a request which was refused itself: its key stayed behind."""
    by_id: dict[str, AnyEvent] = {step.request_id: step for step in history.daemon_calls if step.what == "refused"}
    by_id |= {request.request_id: request.terminal for request in requests if request.refused and request.terminal}
    admitted = {step.request_id for step in history.daemon_calls if step.what == "admitted"}
    admitted |= {request.request_id for request in requests if request.ack is not None}
    answers: dict[str, DaemonCall | Frame] = {
        step.request_id: step for step in history.daemon_calls if step.what == "refused" and step.status == DUPLICATE
    }
    answers |= {
        r.request_id: r.terminal for r in requests if r.refused and r.terminal and r.terminal.status == DUPLICATE
    }
    for request_id, answer in answers.items():
        original = answer.original_request_id
        if original in by_id and original not in admitted and original != request_id:
            what = "a call is refused as the duplicate of one that was refused itself, so that one's key stayed behind"
            yield violation(what, by_id[original], answer, at=answer.at)


def _counts_too_much(history: History, lives: Lives, refused: list[Request]) -> Iterator[Violation]:
    """Find the answers 429 that count more slots in use than admitted calls held."""
    frames = {request.request_id: request.terminal for request in refused}
    replay = _Replay(history, lives)
    for step in history.daemon_calls:
        frame = frames.get(step.request_id)
        if (
            step.what != "refused"
            or step.status != OVER_CAPACITY
            or frame is None
            or frame.in_use is None
            or not frame.scope
        ):
            continue
        held = replay.most(step.at, step.boot, frame.scope, step.session)
        if frame.in_use > held:
            yield violation(
                f"a 429 counts {frame.in_use} slots of {frame.scope}, admitted calls hold {held}", step, frame
            )


def _ran_though_refused(history: History, lives: Lives) -> Iterator[Violation]:
    """Find executions of traces of which every request was refused."""
    admitted = {live.admitted.trace_id for live in lives.calls}
    refused = {step.trace_id: step for step in history.daemon_calls if step.what == "refused" and step.trace_id}
    for ran in lives.executions:
        step = refused.get(ran.start.trace_id or "")
        if step is not None and step.trace_id not in admitted:
            yield violation("a call ran that was refused each time", step, ran.start)


# --- INV-09 ----------------------------------------------------------------------------------------------------------


@rule("INV-09", "a 429 only while some needed pool is full")
def full_when_refused(history: History) -> Finding:
    """A call is refused with 429 only while the pool that is named is full, its own key's lapsed owner not counted.

    Evidence: admissions and stops in the daemon's log, replayed; within 50 ms of the refusal the pool was full once.
    """
    lives = lives_of(history)
    replay = _Replay(history, lives)
    judged, breaches, unknown = 0, list[Violation](), False
    for step in history.daemon_calls:
        if step.what != "refused" or step.status != OVER_CAPACITY:
            continue
        cap = None if step.scope is None else history.run.caps.get(step.scope)
        if cap is None or step.scope is None:
            unknown = True
            continue
        judged += 1
        held = replay.most(step.at, step.boot, step.scope, step.session)
        owner = _transferable(history, replay, step)
        if held < cap:
            breaches.append(violation(f"refused for {step.scope}, of which {held} of {cap} slots were held", step))
        elif owner is not None:
            what = f"refused for {step.scope}, though the lapsed owner of its key had a slot to pass on"
            breaches.append(violation(what, owner.admitted, step))
    missing = None
    if not history.daemon_calls:
        missing = NO_LOG
    elif unknown:
        missing = "a refusal names a scope whose cap is not known"
    return Finding(judged, breaches, missing)


def _transferable(history: History, replay: _Replay, step: DaemonCall) -> Live | None:
    """Return a live owner of the same key that holds a slot of the pool which is said to be full."""
    skew = slack(history, SKEW_WALL_S)
    for live in replay.around(step.at, step.boot):
        steady = live.admitted.at < step.at - skew and step.at + skew < live.ended_at
        mine = step.call_key_hash is not None and live.admitted.call_key_hash == step.call_key_hash
        if steady and mine and not live.admitted.waits and needs(live.admitted, step.scope or "", step.session):
            return live
    return None


# --- INV-11 ----------------------------------------------------------------------------------------------------------


@rule("INV-11", "a slot is free at once after its work ends")
def free_at_once(history: History) -> Finding:
    """A call stops at most 50 ms after its only execution has ended, plus 200 ms for the tool's own work.

    Evidence: the end in the provider's log, the stop in the daemon's. Not judged while a fault is on the provider or
    its link, or the daemon stands still, since the daemon then hears of the end late.
    """
    judged, stalled, breaches = 0, 0, list[Violation]()
    most = slack(history, FREE_WALL_S + OWN_WORK_WALL_S + SKEW_WALL_S)
    for live in lives_of(history).calls:
        ran = live.ran[0] if len(live.ran) == 1 else None
        if ran is None or ran.end is None or live.stopped is None:
            continue
        links = (ran.link, f"provider:{ran.start.provider}", "daemon")
        if history.active(ran.start.at, live.stopped.at, *links):
            continue
        judged += 1
        if live.stopped.at <= ran.end.at + most:
            continue
        if history.stalled_between(ran.end.at, live.stopped.at):
            stalled += 1
            continue
        late_ms = history.wall_s(live.stopped.at - ran.end.at) * 1000
        breaches.append(violation(f"its slots were free only {late_ms:.0f} ms after its work", ran.end, live.stopped))
    return Finding(judged, breaches, None if history.daemon_calls else NO_LOG, stalled)
