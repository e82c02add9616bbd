"""Defects of the keys: duplicates wait or are told wrong, keys outlive a refusal, work is not compared."""

from functools import partial
from typing import Final

import msgspec

from chaos.defects.defect import Change, Defect
from reference_daemon import answers, wire
from reference_daemon.answers import Answer
from reference_daemon.calls import Calls
from reference_daemon.intake import Prepared
from reference_daemon.live import LiveCall
from reference_daemon.policy import refusals
from reference_daemon.policy.call import Call
from reference_daemon.policy.core import Policy
from reference_daemon.policy.duplicates import Done, KeyTable
from reference_daemon.policy.events import (
    Admit,
    Arrival,
    CallArrived,
    CallId,
    CallKey,
    Cancel,
    CancelAsked,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionClosed,
)
from reference_daemon.policy.states import State
from reference_daemon.results import Results
from reference_daemon.sessions import Session

_LOOK_AGAIN_WALL_S: Final = 0.02


def duplicate_waits() -> tuple[Change, ...]:
    """A duplicate is answered when the original is."""
    refuse = Calls._refuse

    def wait(self: Calls, session: Session, prepared: Prepared, decision: Refuse) -> None:
        runs = any(call.call_id == decision.original for call in self.in_flight())
        if decision.reason is Reason.DUPLICATE and runs:
            self._loop.call_later(_LOOK_AGAIN_WALL_S, partial(wait, self, session, prepared, decision))
        else:
            refuse(self, session, prepared, decision)

    return (Change(Calls, "_refuse", wait),)


def names_itself() -> tuple[Change, ...]:
    """A duplicate is told its own request_id instead of the original's."""
    refuse = Calls._refuse

    def mistaken(self: Calls, session: Session, prepared: Prepared, decision: Refuse) -> None:
        if decision.reason is Reason.DUPLICATE:
            decision = decision._replace(original_request_id=prepared.arrived.request_id)
        refuse(self, session, prepared, decision)

    return (Change(Calls, "_refuse", mistaken),)


def kept_on_429() -> tuple[Change, ...]:
    """The key of a call that is refused for want of a slot stays taken."""
    arrive = Policy.arrive

    def keeping(self: Policy, call: CallArrived, *, now: float) -> Arrival:
        kept: dict[CallKey, RequestId] = vars(self).setdefault("kept_on_429", {})
        if call.key is not None and call.key in kept:
            return Refuse(call_id=call.call_id, reason=Reason.DUPLICATE, original_request_id=kept[call.key])
        decision = arrive(self, call, now=now)
        if call.key is not None and isinstance(decision, Refuse) and decision.reason is Reason.OVER_CAPACITY:
            kept[call.key] = call.request_id
        return decision

    return (Change(Policy, "arrive", keeping),)


def not_fenced() -> tuple[Change, ...]:
    """Whoever takes over a lapsed key runs at once, beside the owner."""

    def meet_owner(self: Policy, call: CallArrived, owner: Call, now: float) -> Admit | Refuse:
        if owner.arrived.fingerprint != call.fingerprint:
            return refusals.because_of(call.call_id, Reason.KEY_REUSED, owner, now=now)
        if now < owner.fresh_until:
            return refusals.because_of(call.call_id, Reason.DUPLICATE, owner, now=now)
        return self._admit(call, None, now)

    return (Change(Policy, "_meet_owner", meet_owner),)


def fingerprint_ignored() -> tuple[Change, ...]:
    """A known key is taken for the same work, whatever the work is."""
    meet_owner, meet_result = Policy._meet_owner, Policy._meet_result

    def same_as_owner(self: Policy, call: CallArrived, owner: Call, now: float) -> Admit | Refuse:
        return meet_owner(self, call._replace(fingerprint=owner.arrived.fingerprint), owner, now)

    def same_as_result(self: Policy, call: CallArrived, done: Done) -> Replay | Refuse:
        return meet_result(self, call._replace(fingerprint=done.fingerprint), done)

    return Change(Policy, "_meet_owner", same_as_owner), Change(Policy, "_meet_result", same_as_result)


def refusal_replayed() -> tuple[Change, ...]:
    """A 429 is kept under its explicit key and replayed like a result."""
    call_tool, refuse = Calls.call_tool, Calls._refuse

    def storing(self: Calls, session: Session, prepared: Prepared, decision: Refuse) -> None:
        if decision.reason is Reason.OVER_CAPACITY and prepared.arrived.explicit:
            kept: dict[str | None, Answer] = vars(self).setdefault("kept_refusals", {})
            kept[prepared.arrived.key] = answers.failure("refused", answers.refusal(decision, None), 0.0)
        refuse(self, session, prepared, decision)

    def replaying(self: Calls, session: Session, frame: wire.CallTool, frame_characters: int) -> None:
        kept: dict[str | None, Answer] = vars(self).setdefault("kept_refusals", {})
        if frame.call_key in kept:
            trace_id = frame.trace_id or ""
            session.link.post(kept[frame.call_key].frame(frame.request_id, trace_id, replayed=True))
        else:
            call_tool(self, session, frame, frame_characters)

    return Change(Calls, "_refuse", storing), Change(Calls, "call_tool", replaying)


def replay_changed() -> tuple[Change, ...]:
    """A replay says that it is one, in the middle of the payload."""
    get = Results.get

    def marked(self: Results, call_id: CallId) -> tuple[Answer, str]:
        answer, trace_id = get(self, call_id)
        outputs = answer.outputs and answer.outputs.replace(b'"text":"', b'"text":"(again) ', 1)
        return msgspec.structs.replace(answer, outputs=outputs), trace_id

    return (Change(Results, "get", marked),)


def finished_runs_again() -> tuple[Change, ...]:
    """A key whose call has finished is taken for a new one."""

    def done(self: KeyTable, key: CallKey, now: float) -> Done | None:  # noqa: ARG001 - that is the defect
        return None

    return (Change(KeyTable, "done", done),)


def late_owner_frees() -> tuple[Change, ...]:
    """Whoever ends frees its key, also if the key is another's by now."""

    def release(self: KeyTable, key: CallKey, call_id: CallId) -> None:  # noqa: ARG001 - that is the defect
        self._owners.pop(key, None)

    return (Change(KeyTable, "release", release),)


def lost_with_connection() -> tuple[Change, ...]:
    """The result of a call whose client went away is not kept."""
    session_closed, keep = Policy.session_closed, Policy._keep

    def forgetting(self: Policy, event: SessionClosed, *, now: float) -> set[CallId]:
        waited_for = session_closed(self, event, now=now)
        vars(self).setdefault("forgotten", set()).update(waited_for)
        return waited_for

    def keep_others(self: Policy, call: Call, state: State, size_bytes: int, now: float) -> list[CallId]:
        if call.arrived.call_id in vars(self).get("forgotten", set()) and call.arrived.key is not None:
            self._keys.bury(call.arrived.key)
            return [call.arrived.call_id]
        return keep(self, call, state, size_bytes, now)

    return Change(Policy, "session_closed", forgetting), Change(Policy, "_keep", keep_others)


def results_unbounded() -> tuple[Change, ...]:
    """Results are kept however many there are."""

    def keep(self: KeyTable, key: CallKey, done: Done) -> list[CallId]:
        self._done[key] = done
        self._done_bytes += done.size_bytes
        return []

    return (Change(KeyTable, "keep", keep),)


def anybody_cancels() -> tuple[Change, ...]:
    """A call is cancelled by whoever names its request_id."""
    cancel = Policy.cancel

    def for_anybody(self: Policy, event: CancelAsked, *, now: float) -> Cancel | None:
        mine = cancel(self, event, now=now)
        if mine is not None:
            return mine
        named = [call.arrived for call in self._calls.values() if call.arrived.request_id == event.request_id]
        for arrived in named:
            return cancel(self, CancelAsked(arrived.session_id, event.request_id), now=now)
        return None

    return (Change(Policy, "cancel", for_anybody),)


def successor_does_not_wait() -> tuple[Change, ...]:
    """Whoever takes over a lapsed key fences its owner, but does not wait until its work has stopped."""
    admit_call, start = Calls._admit, Calls._start

    def admit_and_start(self: Calls, session: Session, prepared: Prepared, admit: Admit, now: float) -> None:
        admit_call(self, session, prepared, admit, now)
        if admit.waits:
            self._start(self._live[prepared.arrived.call_id])

    def start_once(self: Calls, call: LiveCall) -> None:
        if call.task is None:
            start(self, call)

    return Change(Calls, "_admit", admit_and_start), Change(Calls, "_start", start_once)


DEFECTS: Final = (
    Defect(
        name="duplicate-waits",
        title="a duplicate waits until the original is answered",
        rule="INV-13",
        also=("INV-02", "INV-10"),
        stage="protocol",
        where="daemon",
        changes=duplicate_waits,
    ),
    Defect(
        name="conflict-names-itself",
        title="a 409 names the duplicate's own request_id",
        rule="INV-13",
        stage="protocol",
        where="daemon",
        changes=names_itself,
    ),
    Defect(
        name="key-kept-on-429",
        title="a call refused for want of a slot keeps its key",
        rule="INV-08",
        also=("INV-13", "INV-18", "expectation:success_rate", "expectation:duplicates"),
        stage="backpressure",
        where="daemon",
        changes=kept_on_429,
    ),
    Defect(
        name="lapsed-key-not-fenced",
        title="a lapsed key is taken over while its owner runs on",
        rule="INV-17",
        also=("INV-12", "INV-16", "INV-18"),
        stage="protocol",
        where="daemon",
        changes=not_fenced,
    ),
    Defect(
        name="fingerprint-ignored",
        title="a known key is taken for the same work, whatever it is",
        rule="INV-14",
        also=("INV-05", "INV-13", "INV-18"),
        stage="protocol",
        where="daemon",
        changes=fingerprint_ignored,
    ),
    Defect(
        name="refusal-replayed",
        title="a 429 is kept and replayed like a result",
        rule="INV-15",
        also=("INV-09", "INV-08", "INV-18", "expectation:success_rate"),
        stage="backpressure",
        where="daemon",
        changes=refusal_replayed,
    ),
    Defect(
        name="replay-changed",
        title="a replay is marked in the middle of its payload",
        rule="INV-15",
        also=("INV-26",),
        stage="protocol",
        where="daemon",
        changes=replay_changed,
    ),
    Defect(
        name="finished-key-runs-again",
        title="a key whose call has finished is executed again",
        rule="INV-26",
        also=("INV-14", "INV-15", "INV-25", "INV-27", "INV-37"),
        stage="protocol",
        where="daemon",
        changes=finished_runs_again,
    ),
    Defect(
        name="late-owner-frees-key",
        title="a late owner frees the key of its successor",
        rule="INV-16",
        also=("INV-12", "INV-13", "INV-17", "INV-18"),
        stage="protocol",
        where="daemon",
        changes=late_owner_frees,
    ),
    Defect(
        name="result-lost-with-connection",
        title="the result of a call whose client went away is not kept",
        rule="INV-25",
        also=("INV-26",),
        stage="protocol",
        where="daemon",
        changes=lost_with_connection,
    ),
    Defect(
        name="results-unbounded",
        title="results are kept without a bound",
        rule="INV-37",
        stage="protocol",
        where="daemon",
        changes=results_unbounded,
    ),
    Defect(
        name="anybody-cancels",
        title="a call is cancelled by whoever names its request_id",
        rule="INV-36",
        also=("INV-30", "INV-27"),
        stage="protocol",
        where="daemon",
        changes=anybody_cancels,
    ),
    Defect(
        name="successor-does-not-wait",
        title="who takes over a lapsed key runs beside its owner's last work",
        rule="INV-12",
        also=("INV-17",),
        stage="protocol",
        where="daemon",
        changes=successor_does_not_wait,
    ),
)
