"""The same decisions once more, as naively as possible: lists that are searched, figures that are counted anew.

Nothing is kept up to date that can be recomputed from what happened, so that there is little to get wrong. It is
written from the rules in words, and shares with the policy only the events and the configuration. Retry advice in the
mode `appointment` is not modelled: of it, only properties are checked.
"""

from reference_daemon.policy.config import AdviceMode, PolicyConfig
from reference_daemon.policy.events import (
    Admit,
    Arrival,
    AttachAsked,
    Attachment,
    CallArrived,
    CallEnded,
    CallId,
    CallKey,
    CallKind,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    Ended,
    Expire,
    Fence,
    Follow,
    Interrupt,
    Limit,
    NoAttach,
    Outcome,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionId,
)
from tests.policy.model_records import Kept, ModelCall, quantile, whole, window_of

ATTACHED_TOO = 64  # requests of a session that may wait beyond its cap


class Model:
    """What a daemon with `config` must decide."""

    def __init__(self, config: PolicyConfig) -> None:
        """Start with nothing."""
        self.config = config
        self.calls: list[ModelCall] = []
        self.waiting: list[tuple[SessionId, RequestId, ModelCall]] = []
        self.kept: list[Kept] = []
        self.executed: list[CallKey] = []  # tombstones, oldest first
        self.durations: list[tuple[str, CallKind, float]] = []
        self.drain_until: float | None = None

    # --- what is true now ------------------------------------------------------------------------------------------

    def live(self) -> list[ModelCall]:
        """Calls that hold anything."""
        return [call for call in self.calls if not call.ended]

    def needs(self, call: CallArrived) -> list[str]:
        """Scopes that a call needs a slot of, in the order in which a full one is named."""
        scopes = [f"session:{call.session_id}"]
        if call.tool in self.config.caps.tools:
            scopes.append(f"tool:{call.tool}")
        if call.provider in self.config.caps.providers:
            scopes.append(f"provider:{call.provider}")
        return [*scopes, "global"]

    def holds(self, call: ModelCall) -> list[str]:
        """Scopes that a call holds a slot of: while it waits, not those that it will get from the other."""
        passed = [] if call.waits_for is None else self.needs(call.waits_for.arrived)
        return [scope for scope in self.needs(call.arrived) if scope not in passed]

    def cap(self, scope: str) -> int:
        """Slots of a scope in all."""
        kind, _, name = scope.partition(":")
        caps = self.config.caps
        if kind == "tool":
            return caps.tools[name]
        if kind == "provider":
            return caps.providers[name]
        return caps.session if kind == "session" else caps.total

    def in_use(self, scope: str) -> int:
        """Slots of a scope that are held."""
        return sum(scope in self.holds(call) for call in self.live())

    def owner(self, key: CallKey | None) -> ModelCall | None:
        """Who holds a key: of the live calls that have it, the one that came last."""
        holders = [call for call in self.live() if key is not None and call.arrived.key == key]
        return holders[-1] if holders else None

    def heir(self, call: ModelCall) -> ModelCall | None:
        """Who waits for the end of a call."""
        heirs = [other for other in self.live() if other.waits_for is call]
        assert len(heirs) <= 1
        return heirs[0] if heirs else None

    def result(self, key: CallKey, now: float) -> Kept | None:
        """The result that can be had under a key."""
        found = [kept for kept in self.kept if kept.call.arrived.key == key and now < kept.until]
        return found[-1] if found else None

    def asked_by(self, session_id: SessionId, request_id: RequestId) -> ModelCall | None:
        """The call whose answer a request waits for."""
        found = [call for session, request, call in self.waiting if (session, request) == (session_id, request_id)]
        assert len(found) <= 1
        return found[0] if found else None

    # --- arrival ---------------------------------------------------------------------------------------------------

    def arrive(self, call: CallArrived, now: float) -> Arrival:
        """Decide about a call."""
        asked = self.asked_by(call.session_id, call.request_id)
        if asked is not None:
            return self.because_of(call.call_id, Reason.DUPLICATE_REQUEST, asked, now)
        if self.drain_until is not None:
            retry_after_s = self.clamp(self.drain_until - now)
            return Refuse(call_id=call.call_id, reason=Reason.DRAINING, retry_after_s=retry_after_s)
        owner = self.owner(call.key)
        if owner is not None and owner.arrived.fingerprint != call.fingerprint:
            return self.because_of(call.call_id, Reason.KEY_REUSED, owner, now)
        if owner is not None and now < owner.lapses_at:
            return self.because_of(call.call_id, Reason.DUPLICATE, owner, now)
        if owner is None and call.key is not None and call.explicit:
            kept = self.result(call.key, now)
            if kept is not None and kept.call.arrived.explicit:
                return self.replay(call, kept)
        return self.admit(call, owner, now)

    def replay(self, call: CallArrived, kept: Kept) -> Replay | Refuse:
        """Answer with a result that is kept, if it is of the same work."""
        of = kept.call.arrived
        if of.fingerprint == call.fingerprint:
            return Replay(call.call_id, of=of.call_id)
        return Refuse(
            call_id=call.call_id, reason=Reason.KEY_REUSED, original=of.call_id, original_request_id=of.request_id
        )

    def admit(self, call: CallArrived, owner: ModelCall | None, now: float) -> Admit | Refuse:
        """Admit a call if nothing that it needs is full."""
        worker = owner if owner is None or owner.waits_for is None else owner.waits_for
        free_anyway = [] if owner is None or worker is None else [*self.holds(owner), *self.holds(worker)]
        full = [
            scope for scope in self.needs(call) if scope not in free_anyway and self.in_use(scope) >= self.cap(scope)
        ]
        if full:
            return Refuse(
                call_id=call.call_id,
                reason=Reason.OVER_CAPACITY,
                retry_after_s=self.retry_after(full, now),
                scope=full[0].partition(":")[0] if full[0].startswith("session:") else full[0],
                limit=self.cap(full[0]),
                in_use=self.in_use(full[0]),
            )
        timeout_s, limit = self.budget(call)
        new = ModelCall(call, now, timeout_s, limit, self.fresh_for(call))
        new.frees = dict.fromkeys(self.needs(call), now + self.expected(call))
        fence = None
        if owner is None or worker is None:
            new.started_at = now
        else:
            fence = self.take_over(new, owner, worker, now)
        self.calls.append(new)
        self.waiting.append((call.session_id, call.request_id, new))
        return Admit(call.call_id, new.deadline_at, timeout_s, limit, waits=owner is not None, fence=fence)

    def take_over(self, new: ModelCall, owner: ModelCall, worker: ModelCall, now: float) -> Fence:
        """Fence the owner; the new call waits for the one that works."""
        answered = bool(owner.answer)
        owner.answer = owner.answer if answered else "superseded"
        self.forget(owner)
        if owner is not worker:
            owner.ended = True
        else:
            owner.answer = "superseded"
        new.waits_for = worker
        self.hand_on(worker, self.needs(new.arrived), now)
        return Fence(
            owner.arrived.call_id,
            superseded_by=new.arrived.request_id,
            started=owner is worker,
            answered=answered,
        )

    def budget(self, call: CallArrived) -> tuple[float, Limit]:
        """The smallest budget that applies; on a tie the outermost."""
        timeouts = self.config.timeouts
        budgets = [(timeouts.call_s, Limit.CALL)]
        if call.kind is CallKind.STEP:
            budgets.append((timeouts.step_s, Limit.STEP))
        if call.kind is CallKind.EXPERT:
            step_s = min(timeouts.expert_s + timeouts.expert_buffer_s, timeouts.call_s - timeouts.expert_reserve_s)
            budgets.append((max(timeouts.expert_floor_s, step_s), Limit.EXPERT))
        if call.client_timeout_s is not None:
            budgets.append((call.client_timeout_s, Limit.CLIENT))
        return min(budgets, key=lambda budget: budget[0])

    def fresh_for(self, call: CallArrived) -> float:
        """Seconds that a key in flight is fresh."""
        ttls, call_s = self.config.ttls, self.config.timeouts.call_s
        if ttls.inflight_s is not None:
            return ttls.inflight_s
        window = window_of(self.durations, call)
        return min(call_s, ttls.multiplier * quantile(window, 0.95)) if window else call_s

    # --- retry advice ----------------------------------------------------------------------------------------------

    def clamp(self, retry_after_s: float) -> float:
        """Not below the least wait, not above the call timeout."""
        return min(max(retry_after_s, self.config.advice.least_s), self.config.timeouts.call_s)

    def expected(self, call: CallArrived) -> float:
        """How long a call is expected to take, from its start."""
        whole_s = whole(self.durations, self.config.advice, call, 0.0)
        assert whole_s is not None
        return whole_s

    def longer(self, call: ModelCall, now: float) -> float:
        """How much longer a call that took so long already will take."""
        age_s = now - call.admitted_at
        whole_s = whole(self.durations, self.config.advice, call.arrived, age_s)
        least_s = self.config.advice.least_s
        return least_s if whole_s is None else max(least_s, whole_s - age_s)

    def retry_after(self, full: list[str], now: float) -> float | None:
        """What a refused call is told; None in the mode that is not modelled."""
        if self.config.advice.mode is AdviceMode.FIXED:
            return self.clamp(self.config.advice.fixed_s)
        if self.config.advice.mode is AdviceMode.APPOINTMENT:
            return None
        for scope in full:
            for call in self.live():
                if call.frees.get(scope, now + 1.0) <= now:
                    call.frees[scope] = now + self.longer(call, now)
        free_at = [min(call.frees[scope] for call in self.live() if scope in call.frees) for scope in full]
        return self.clamp(max(free_at) - now)

    def hand_on(self, worker: ModelCall, heirs: list[str], now: float) -> None:
        """The end of a call frees no slot that another waits for."""
        for scope in self.needs(worker.arrived):
            if scope in heirs:
                worker.frees.pop(scope, None)
            elif scope not in worker.frees:
                worker.frees[scope] = now + self.longer(worker, now)

    # --- the end of a call -----------------------------------------------------------------------------------------

    def end(self, event: CallEnded, now: float) -> Ended:
        """Give everything back."""
        call = next(call for call in self.live() if call.arrived.call_id == event.call_id)
        assert call.started_at is not None
        cut = call.answer in ("late", "superseded")
        if cut or (not call.answer and event.outcome is Outcome.OK):
            self.durations.append((call.arrived.tool, call.arrived.kind, now - call.started_at))
        answered = bool(call.answer)
        fenced = call.answer == "superseded"
        call.answer = call.answer or "result"
        self.forget(call)
        heir = self.heir(call)
        call.ended = True
        if heir is not None:
            heir.waits_for, heir.started_at = None, now
        dropped = self.keep(call, event.result_bytes, fenced=fenced, now=now)
        stored = call.arrived.key is not None and not fenced and event.call_id not in dropped
        return Ended(event.call_id, answered, stored, dropped, None if heir is None else heir.arrived.call_id)

    def keep(self, call: ModelCall, size: int, *, fenced: bool, now: float) -> tuple[CallId, ...]:
        """Keep a result, and drop what is replaced, too much, or too large at all."""
        key = call.arrived.key
        if key is None:
            return ()
        if fenced:
            self.bury(key)
            return ()
        ttls = self.config.ttls
        dropped = [kept.call.arrived.call_id for kept in self.kept if kept.call.arrived.key == key]
        self.kept = [kept for kept in self.kept if kept.call.arrived.key != key]
        if size > ttls.result_bytes:
            self.bury(key)
            return (*dropped, call.arrived.call_id)
        self.kept.append(Kept(call, size, now + ttls.result_s))
        while len(self.kept) > ttls.result_entries or sum(kept.size for kept in self.kept) > ttls.result_bytes:
            dropped.append(self.drop(self.kept[0]))
        return tuple(dropped)

    def drop(self, kept: Kept) -> CallId:
        """Forget a result, but not that its key was executed."""
        self.kept.remove(kept)
        assert kept.call.arrived.key is not None
        self.bury(kept.call.arrived.key)
        return kept.call.arrived.call_id

    def bury(self, key: CallKey) -> None:
        """Remember that a key was executed."""
        self.executed = [*[other for other in self.executed if other != key], key][-self.config.ttls.tombstones :]

    def sweep(self, now: float) -> tuple[CallId, ...]:
        """Forget the results that are too old."""
        return tuple(self.drop(kept) for kept in list(self.kept) if kept.until <= now)

    def forget(self, call: ModelCall) -> None:
        """Nobody waits any more for the answer of a call."""
        self.waiting = [each for each in self.waiting if each[2] is not call]

    def cut(self, call: ModelCall, answer: str, now: float) -> bool:
        """Answer a call before its work has stopped; return whether it works."""
        call.answer = answer
        self.forget(call)
        if call.waits_for is None:
            return True
        call.ended = True
        self.hand_on(call.waits_for, [], now)
        return False

    def deadline(self, event: DeadlinePassed, now: float) -> Expire | None:
        """Decide about a call that may be late."""
        late = [call for call in self.live() if call.arrived.call_id == event.call_id and not call.answer]
        if not late or now < late[0].deadline_at:
            return None
        call = late[0]
        started = self.cut(call, "late", now)
        return Expire(event.call_id, call.limit, call.timeout_s, now - call.admitted_at, started)

    def cancel(self, event: CancelAsked, now: float) -> Cancel | None:
        """Stop a call that this session sent, or attached to by its explicit key."""
        call = self.asked_by(event.session_id, event.request_id)
        if call is None:
            return None
        sent = (call.arrived.session_id, call.arrived.request_id) == (event.session_id, event.request_id)
        if not (sent or call.arrived.explicit):
            return None
        return Cancel(call.arrived.call_id, started=self.cut(call, "cancelled", now))

    # --- attach, sessions, draining --------------------------------------------------------------------------------

    def attach(self, event: AttachAsked, now: float) -> Attachment:
        """Decide about a request for the answer of another."""
        asked = self.asked_by(event.session_id, event.request_id)
        if asked is not None:
            return self.because_of(CallId(-1), Reason.DUPLICATE_REQUEST, asked, now)
        owner = self.owner(event.key)
        kept = self.result(event.key, now)
        if owner is not None and not owner.answer:
            return self.follow(event, owner)
        if owner is not None:
            return NoAttach.GONE if owner.answer == "superseded" else Deliver(owner.arrived.call_id)
        if kept is not None:
            return Deliver(kept.call.arrived.call_id)
        known = event.key in self.executed or any(kept.call.arrived.key == event.key for kept in self.kept)
        return NoAttach.GONE if known else NoAttach.UNKNOWN

    def follow(self, event: AttachAsked, owner: ModelCall) -> Follow | Refuse:
        """Let a request wait, if its session does not wait for too many."""
        most = self.config.caps.session + ATTACHED_TOO
        if sum(session == event.session_id for session, _, _ in self.waiting) >= most:
            return Refuse(
                call_id=CallId(-1),
                reason=Reason.OVER_CAPACITY,
                retry_after_s=self.config.advice.least_s,
                scope="session",
                limit=most,
                in_use=most,
            )
        self.waiting.append((event.session_id, event.request_id, owner))
        return Follow(owner.arrived.call_id)

    def close(self, session_id: SessionId) -> None:
        """A session is gone; its calls go on."""
        self.waiting = [each for each in self.waiting if each[0] != session_id]

    def drain(self, now: float) -> float:
        """Admit nobody any more."""
        if self.drain_until is None:
            self.drain_until = now + self.config.drain_grace_s
        return self.drain_until

    def interrupt(self, now: float) -> tuple[Interrupt, ...]:
        """Cut every call that was not answered."""
        if self.drain_until is None:
            self.drain_until = now
        cut = [call for call in self.live() if not call.answer]
        return tuple(Interrupt(call.arrived.call_id, self.cut(call, "interrupted", now)) for call in cut)

    def because_of(self, call_id: CallId, reason: Reason, original: ModelCall, now: float) -> Refuse:
        """Refuse because of a call in flight."""
        return Refuse(
            call_id=call_id,
            reason=reason,
            original=original.arrived.call_id,
            original_request_id=original.arrived.request_id,
            elapsed_s=now - original.admitted_at,
            remaining_s=max(0.0, original.deadline_at - now),
        )
