"""The daemon's decisions: what becomes of a call that arrives, is late, is cancelled, ends.

`Policy` is told what happened and says what to do; it performs nothing. No clock, no I/O, no randomness, no asyncio:
`now` is a reading of the caller's monotonic clock in seconds, the daemon's or the simulator's, and both call the very
same object. Every decision is O(1) or O(log n) in the number of calls in flight.

A call that arrives is decided at once, and all or nothing, in this order:

1. its request_id is in flight in its session: 409, so that the live call's own answer stays the only one;
2. the daemon is draining: 503;
3. its explicit key was used for other work: 422; a result is kept under it: replayed;
   its key is held by a call, and fresh: 409;
4. a pool it needs is full, the slots of a lapsed owner of its key not counted: 429;
5. it is admitted with every slot held, its key registered and its deadline set; a lapsed owner is fenced, and the
   call's work starts when the owner's work has stopped, so that one key never runs twice at the same time.

A refused call leaves nothing behind but its appointment. Where `Policy` returns None, the event came too late to
matter: a deadline of a call that has ended, say. Programming errors raise, and change nothing.
"""

from typing import Final

from reference_daemon.policy import refusals
from reference_daemon.policy.admission import Pool, Pools
from reference_daemon.policy.advice import Advisor
from reference_daemon.policy.call import Call
from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.deadlines import budget_within, fresh_s, own_budget
from reference_daemon.policy.duplicates import Done, KeyTable
from reference_daemon.policy.durations import Durations
from reference_daemon.policy.errors import ClockWentBackError, IllegalMoveError
from reference_daemon.policy.events import (
    Admit,
    Arrival,
    AttachAsked,
    Attachment,
    CallArrived,
    CallEnded,
    CallId,
    CallKind,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    DrainGraceOver,
    DrainStarted,
    Ended,
    Expire,
    Fence,
    Follow,
    Interrupt,
    NoAttach,
    Outcome,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionClosed,
    SessionId,
)
from reference_daemon.policy.requests import RequestTable
from reference_daemon.policy.snapshot import Snapshot, take_snapshot
from reference_daemon.policy.states import CUT, UNANSWERED, Move, State, next_state

MAX_ATTACHED: Final = 10_000
"""Requests of one session, beyond its cap of calls, that may wait for answers: attaching is free, not endless."""

_NO_CALL: Final = CallId(-1)
"""In a `Refuse` of an attach, which has no call of its own."""

# Members of enumerations that every call needs: to look one up costs as much as to call a function.
_RUNNING, _FENCED, _END, _OK = State.RUNNING, State.FENCED, Move.END, Outcome.OK

_new = tuple.__new__
"""Makes a named tuple from all of its fields, in half of the time that its own constructor takes."""


class Policy:
    """Admission, duplicates, deadlines and retry advice of one daemon."""

    def __init__(self, config: PolicyConfig) -> None:
        """Start with nothing in flight."""
        self._config, self._ttls, self._call_s = config, config.ttls, config.timeouts.call_s
        self._pools = Pools(config.caps)
        self._keys = KeyTable(config.ttls)
        self._durations = Durations()
        self._advisor = Advisor(config.advice, self._durations, most_s=config.timeouts.call_s)
        self._budgets = {kind: own_budget(kind, config.timeouts) for kind in CallKind}
        self._calls: dict[CallId, Call] = {}
        self._requests = RequestTable()
        self._most_requests = config.caps.session + MAX_ATTACHED
        self._drain_until: float | None = None
        self._latest = float("-inf")

    # --- arrival -------------------------------------------------------------------------------------------------

    def arrive(self, call: CallArrived, *, now: float) -> Arrival:
        """Decide what becomes of a call that arrives at `now`.

        Raises:
            ClockWentBackError: `now` is before an earlier `now`; nothing changed.
            IllegalMoveError: The call_id is in flight; nothing changed.
        """
        self._advance(now)
        key = call.key
        if call.call_id in self._calls:
            raise IllegalMoveError(call.call_id, self._calls[call.call_id].state.value, "arrive")
        original = self._requests.call_of(call.session_id, call.request_id)
        if original is not None:
            return refusals.because_of(call.call_id, Reason.DUPLICATE_REQUEST, self._calls[original], now=now)
        if self._drain_until is not None:
            retry_after_s = self._advisor.clamp(self._drain_until - now)  # by then another daemon may be up
            return Refuse(call_id=call.call_id, reason=Reason.DRAINING, retry_after_s=retry_after_s)
        if key is None:
            return self._admit(call, None, now)
        owner_id = self._keys.owner(key)
        if owner_id is not None:
            return self._meet_owner(call, self._calls[owner_id], now)
        done = self._keys.done(key, now) if call.explicit else None
        if done is not None and done.explicit:
            return self._meet_result(call, done)
        return self._admit(call, None, now)

    def _meet_owner(self, call: CallArrived, owner: Call, now: float) -> Admit | Refuse:
        """Decide about a call whose key another call holds: it may take over a key that has lapsed."""
        if owner.arrived.fingerprint != call.fingerprint:
            return refusals.because_of(call.call_id, Reason.KEY_REUSED, owner, now=now)
        if now < owner.fresh_until:
            return refusals.because_of(call.call_id, Reason.DUPLICATE, owner, now=now)
        return self._admit(call, owner, now)

    def _meet_result(self, call: CallArrived, done: Done) -> Replay | Refuse:
        """Decide about a call under whose key a result is kept."""
        if done.fingerprint != call.fingerprint:
            return refusals.key_of_finished(call.call_id, done)
        return Replay(call.call_id, of=done.call_id)

    def _admit(self, call: CallArrived, lapsed: Call | None, now: float) -> Admit | Refuse:
        """Take every slot that the call needs, or none."""
        call_id, session_id, request_id, key, _, _, tool, provider, kind, client_timeout_s = call
        needs = self._pools.needed(session_id, tool, provider)
        pools = needs if lapsed is None else self._not_passed_on(needs, lapsed)
        lacking = self._pools.take(pools)
        if lacking:
            return self._refuse_full(call, lacking, now)
        timeout_s, limit = budget_within(self._budgets[kind], client_timeout_s)
        deadline_at = now + timeout_s
        fresh_until = now + fresh_s(self._ttls, self._call_s, self._durations.window(tool, kind))
        holder = self._advisor.admitted(key, needs, tool, kind, now=now)
        # In the order of its fields: by name it takes three times as long.
        admitted = Call(call, now, deadline_at, timeout_s, limit, fresh_until, needs, pools, holder)
        self._calls[call_id] = admitted
        self._requests.add(session_id, request_id, call_id)
        fence = None
        if lapsed is not None:
            fence = self._take_over(admitted, lapsed)
        else:
            admitted.started_at = now
        if key is not None:
            self._keys.claim(key, call_id)
        return _new(Admit, (call_id, deadline_at, timeout_s, limit, lapsed is not None, fence))

    def _not_passed_on(self, needs: list[Pool], lapsed: Call) -> list[Pool]:
        """Return those of `needs` of which the successor of `lapsed` will not get a slot from it."""
        passed_on = lapsed.pools if lapsed.awaits is None else [*self._calls[lapsed.awaits].pools, *lapsed.pools]
        return [pool for pool in needs if pool not in passed_on]

    def _take_over(self, newcomer: Call, lapsed: Call) -> Fence:
        """Put `newcomer` in the place of the owner of its key; its work waits for the work that runs."""
        lapsed_id, newcomer_id = lapsed.arrived.call_id, newcomer.arrived.call_id
        answered = lapsed.answered
        lapsed.move(Move.FENCE)
        newcomer.state = State.WAITING
        if not answered:
            self._forget_requests(lapsed)
        if lapsed.state is State.ENDED:  # it waited itself: nothing of it runs
            newcomer.awaits = lapsed.awaits
            self._pools.pass_on(lapsed.pools, newcomer.pools, newcomer.needs)
            self._advisor.ended(lapsed.holder)
            del self._calls[lapsed_id]
        else:
            newcomer.awaits = lapsed_id
        assert newcomer.awaits is not None  # noqa: S101 - a call without work awaits one that has some
        worker = self._calls[newcomer.awaits]
        worker.successor = newcomer_id
        self._advisor.passes_on(worker.holder, worker.pools, newcomer.needs, now=newcomer.admitted_at)
        return Fence(
            lapsed_id,
            superseded_by=newcomer.arrived.request_id,
            started=lapsed.state is not State.ENDED,
            answered=answered,
        )

    # --- the end of a call -----------------------------------------------------------------------------------------

    def ended(self, event: CallEnded, *, now: float) -> Ended:
        """Give back everything that a call held; its work has really stopped.

        Raises:
            ClockWentBackError: `now` is before an earlier `now`; nothing changed.
            IllegalMoveError: The call is not known, or has no work that could end; nothing changed.
        """
        self._advance(now)
        call_id, outcome, result_bytes = event
        call = self._calls.get(call_id)
        if call is None:
            raise IllegalMoveError(call_id, "unknown", Move.END.value)
        arrived, state = call.arrived, call.state
        answered = state not in UNANSWERED
        call.state = next_state(call_id, state, _END)
        if not answered:
            self._forget_requests(call)
        assert call.started_at is not None  # noqa: S101 - a call that waits cannot end by itself
        if (state is _RUNNING and outcome is _OK) or state in CUT:
            self._durations.add(arrived.tool, arrived.kind, now - call.started_at)
        starts = self._pass_on(call, now)
        del self._calls[call_id]
        dropped = self._keep(call, state, result_bytes, now)
        stored = arrived.key is not None and state is not _FENCED and call_id not in dropped
        return _new(Ended, (call_id, answered, stored, tuple(dropped), starts))

    def _pass_on(self, call: Call, now: float) -> CallId | None:
        """Let the successor start, or give the slots back; free the key."""
        starts = call.successor
        if starts is not None:
            successor = self._calls[starts]
            self._pools.pass_on(call.pools, successor.pools, successor.needs)
            successor.move(Move.START)
            successor.awaits, successor.started_at = None, now
        else:
            self._pools.give_back(call.pools)
        self._advisor.ended(call.holder)
        arrived = call.arrived
        if arrived.key is not None:
            self._keys.release(arrived.key, arrived.call_id)
        return starts

    def _keep(self, call: Call, state: State, size_bytes: int, now: float) -> list[CallId]:
        """Keep the result of a call that has a key; return whose results are dropped for it."""
        call_id, _, request_id, key, explicit, fingerprint, *_ = call.arrived
        if key is None:
            return []
        if state is _FENCED:  # the key is its successor's; if that has gone, the key was executed all the same
            self._keys.bury(key)
            return []
        until = now + self._ttls.result_s
        return self._keys.keep(key, _new(Done, (call_id, request_id, fingerprint, explicit, until, size_bytes)))

    def deadline_passed(self, event: DeadlinePassed, *, now: float) -> Expire | None:
        """Decide on a call whose deadline the caller's timer says has passed.

        Returns:
            None if the call was answered, or if it is not late yet: timers may be early by a tick, so set it again.
        """
        self._advance(now)
        call = self._calls.get(event.call_id)
        if call is None or call.answered or now < call.deadline_at:
            return None
        started = self._cut(call, Move.EXPIRE, now)
        return Expire(event.call_id, call.limit, call.timeout_s, now - call.admitted_at, started)

    def cancel(self, event: CancelAsked, *, now: float) -> Cancel | None:
        """Decide on a client's wish to stop a call.

        Returns:
            None if this session neither sent nor, by its explicit key, attached to a call under that request_id which
            still waits for its answer.
        """
        self._advance(now)
        call_id = self._requests.call_of(event.session_id, event.request_id)
        if call_id is None:
            return None
        call = self._calls[call_id]
        sent = (call.arrived.session_id, call.arrived.request_id) == (event.session_id, event.request_id)
        if not sent and not call.arrived.explicit:
            return None
        return Cancel(call_id, started=self._cut(call, Move.CANCEL, now))

    def _cut(self, call: Call, move: Move, now: float) -> bool:
        """Answer a call before its work has stopped; return whether it has work that runs."""
        call.move(move)
        self._forget_requests(call)
        if call.state is not State.ENDED:
            return True
        self._withdraw(call, now)
        return False

    def _withdraw(self, call: Call, now: float) -> None:
        """Take a call that waited out of the line: the work that it waited for gets the key back."""
        assert call.awaits is not None  # noqa: S101 - only calls that wait are withdrawn
        assert call.arrived.key is not None  # noqa: S101 - and they wait for the key
        self._pools.give_back(call.pools)
        self._advisor.ended(call.holder)
        worker = self._calls[call.awaits]
        worker.successor = None
        self._advisor.passes_on(worker.holder, worker.pools, (), now=now)
        self._keys.claim(call.arrived.key, call.awaits)
        del self._calls[call.arrived.call_id]

    # --- attach, sessions, draining --------------------------------------------------------------------------------

    def attach(self, event: AttachAsked, *, now: float) -> Attachment:
        """Decide what a client gets that asks for the answer of the execution that holds a key."""
        self._advance(now)
        refusal = self._request_in_flight(_NO_CALL, event.session_id, event.request_id, now)
        if refusal is not None:
            return refusal
        owner_id = self._keys.owner(event.key)
        if owner_id is not None:
            return self._follow(event, self._calls[owner_id])
        done = self._keys.done(event.key, now)
        if done is not None:
            return Deliver(done.call_id)
        return NoAttach.GONE if self._keys.executed(event.key) else NoAttach.UNKNOWN

    def _follow(self, event: AttachAsked, owner: Call) -> Attachment:
        """Let a request wait for the answer of the call that holds its key."""
        if owner.answered:  # a fenced owner's answer is not for its key: who took the key over has gone
            return NoAttach.GONE if owner.state is _FENCED else Deliver(owner.arrived.call_id)
        if self._requests.count(event.session_id) >= self._most_requests:
            least_s = self._config.advice.least_s
            return refusals.too_many_requests(_NO_CALL, limit=self._most_requests, retry_after_s=least_s)
        self._requests.add(event.session_id, event.request_id, owner.arrived.call_id)
        owner.followers.append((event.session_id, event.request_id))
        return Follow(owner.arrived.call_id)

    def awaits_answer(self, session_id: SessionId, request_id: RequestId) -> bool:
        """Return whether a request of a session waits for its answer."""
        return self._requests.call_of(session_id, request_id) is not None

    def session_closed(self, event: SessionClosed, *, now: float) -> set[CallId]:
        """Forget the requests of a connection that is gone; return the calls for whose answers it waited.

        The calls go on, and keep their slots until they end.
        """
        self._advance(now)
        waited_for = self._requests.close(event.session_id)
        for call_id in waited_for:
            call = self._calls[call_id]
            call.followers = [each for each in call.followers if each[0] != event.session_id]
        return waited_for

    def drain(self, event: DrainStarted, *, now: float) -> float:  # noqa: ARG002 - all events are handed over
        """Refuse every new call from here on; return the moment at which the grace of those in flight is over."""
        self._advance(now)
        if self._drain_until is None:
            self._drain_until = now + self._config.drain_grace_s
        return self._drain_until

    def interrupt(self, event: DrainGraceOver, *, now: float) -> tuple[Interrupt, ...]:  # noqa: ARG002 - see drain
        """Cut every call that was not answered yet; from here on the daemon drains, if it did not before."""
        self._advance(now)
        if self._drain_until is None:
            self._drain_until = now
        unanswered = [call for call in self._calls.values() if not call.answered]
        return tuple(Interrupt(call.arrived.call_id, self._cut(call, Move.INTERRUPT, now)) for call in unanswered)

    def sweep(self, *, now: float) -> tuple[CallId, ...]:
        """Forget what is too old; return the calls whose kept results are to be dropped. Called from time to time."""
        self._advance(now)
        self._advisor.sweep(now)
        return tuple(self._keys.sweep(now))

    def snapshot(self) -> Snapshot:
        """Return the figures for health and metrics."""
        return take_snapshot(
            self._pools, self._keys, appointments=len(self._advisor), draining=self._drain_until is not None
        )

    # --- shared ----------------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Refuse a clock that goes back; NaN is refused too."""
        if not now >= self._latest:
            raise ClockWentBackError(now, self._latest)
        self._latest = now

    def _forget_requests(self, call: Call) -> None:
        """Free the request_ids of a call that is answered: its own and its followers'."""
        arrived = call.arrived
        self._requests.answered(arrived.session_id, arrived.request_id)
        for session_id, request_id in call.followers:
            self._requests.answered(session_id, request_id)
        call.followers.clear()

    def _request_in_flight(
        self, call_id: CallId, session_id: SessionId, request_id: RequestId, now: float
    ) -> Refuse | None:
        """Refuse a request_id that waits for an answer in its session."""
        original = self._requests.call_of(session_id, request_id)
        if original is None:
            return None
        return refusals.because_of(call_id, Reason.DUPLICATE_REQUEST, self._calls[original], now=now)

    def _refuse_full(self, call: CallArrived, lacking: list[Pool], now: float) -> Refuse:
        """Refuse a call because of full pools, the first of which is named."""
        key = call.key if call.key is not None else f"call {call.call_id}"
        retry_after_s = self._advisor.refused(key, lacking, call.tool, call.kind, now=now)
        return refusals.over_capacity(call.call_id, lacking[0], retry_after_s)
