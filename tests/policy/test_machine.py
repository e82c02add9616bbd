"""Any sequence of events, given to the policy and to a naive model: they must decide the same, and rules must hold.

`HYPOTHESIS_PROFILE=thorough` looks for some minutes instead of seconds.
"""

import os
from collections import Counter
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig, Timeouts, Ttls
from reference_daemon.policy.core import Policy
from reference_daemon.policy.errors import ClockWentBackError, IllegalMoveError
from reference_daemon.policy.events import (
    Admit,
    Arrival,
    AttachAsked,
    CallArrived,
    CallEnded,
    CallId,
    CallKey,
    CallKind,
    CancelAsked,
    DeadlinePassed,
    DrainGraceOver,
    DrainStarted,
    Follow,
    Outcome,
    Reason,
    Refuse,
    RequestId,
    SessionClosed,
    SessionId,
)
from reference_daemon.policy.keys import derived_key, fingerprint
from reference_daemon.policy.schedule import Schedule
from tests.policy.model import Model

THOROUGH: Final = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
RUN: Final = settings(
    max_examples=5_000 if THOROUGH else 250,
    stateful_step_count=60 if THOROUGH else 40,
    deadline=None,
    derandomize=not THOROUGH,
    suppress_health_check=list(HealthCheck),
)

SELDOM: Final = 17  # of the numbers from 0 to 30; not one that Hypothesis likes to try first

# All times are multiples of a quarter of a second, so that sums of them are exact and boundaries are met.
TIMEOUTS: Final = Timeouts(call_s=20.0, step_s=12.0, expert_s=8.0, expert_buffer_s=2.0, expert_reserve_s=5.0)
TTLS: Final = (
    Ttls(inflight_s=4.0, result_s=15.0, result_entries=3, result_bytes=50, tombstones=2),
    Ttls(multiplier=2.0, result_s=15.0, result_entries=2, result_bytes=1_000, tombstones=3),
)
CAPS: Final = (
    Caps(total=3, session=2, tools={"analyze": 2}, providers={"GLM": 1}),
    Caps(total=2, session=1, tools={"analyze": 1}, providers={"GLM": 1}),
    Caps(total=4, session=3, tools={}, providers={}),
)
SESSIONS: Final = ("a", "b", "c")
REQUESTS: Final = tuple(RequestId(f"r{number}") for number in range(4))
KEYS: Final = ("k1", "k2", "derived", "derived", None)
# One tool and kind of call for each work: equal work needs equal slots.
WORKS: Final = (
    ("analyze", "GLM", CallKind.EXPERT),
    ("analyze", None, CallKind.STEP),
    ("chat", "GLM", CallKind.CHAT),
    ("version", None, CallKind.LOCAL),
)

sessions = st.sampled_from(SESSIONS)
requests = st.sampled_from(REQUESTS)
indices = st.integers(0, 11)
seldom = st.integers(0, 30)


class PolicyMachine(RuleBasedStateMachine):
    """The policy, the model, and the truth about what runs and what was answered."""

    mode = AdviceMode.FIXED

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.last_id = 0
        self.openings: Counter[str] = Counter()  # a session's id is never used again
        self.running: dict[CallId, CallArrived] = {}
        self.unanswered: Counter[tuple[CallId, SessionId, RequestId]] = Counter()
        self.was_answered: Counter[tuple[CallId, SessionId, RequestId]] = Counter()

    @initialize(caps=st.sampled_from(CAPS), ttls=st.sampled_from(TTLS), warm=st.booleans())
    def begin(self, caps: Caps, ttls: Ttls, *, warm: bool) -> None:
        """Start a daemon, perhaps after enough calls for its P95 to count."""
        advice = Advice(mode=self.mode, fixed_s=1.5, quantile=0.75, expected_call_s=6.0, max_appointments=5)
        config = PolicyConfig(caps=caps, timeouts=TIMEOUTS, ttls=ttls, advice=advice, drain_grace_s=10.0)
        self.policy, self.model = Policy(config), Model(config)
        for number in range(20 if warm else 0):
            for tool, _, kind in WORKS[:2]:
                call = self.next_call("a", f"warm{number}", None, (tool, None, kind), None)
                self.admit(call, self.policy.arrive(call, now=self.now), self.model.arrive(call, self.now))
                self.now += 1.0 + number % 5
                self.end(call.call_id, Outcome.OK, 1)

    # --- what the shell does ---------------------------------------------------------------------------------------

    def session(self, name: str) -> SessionId:
        """Return the id of the session that is open under a name."""
        return SessionId(f"{name}{self.openings[name]}")

    def next_call(
        self, session: str, request: str, key: str | None, work: tuple[str, str | None, CallKind], wait: float | None
    ) -> CallArrived:
        """Make an arrival."""
        self.last_id += 1
        tool, provider, kind = work
        print_of = fingerprint(repr(work).encode())
        return CallArrived(
            call_id=CallId(self.last_id),
            session_id=self.session(session),
            request_id=RequestId(request),
            key=None if key is None else (derived_key(print_of) if key == "derived" else CallKey(key)),
            explicit=key not in (None, "derived"),
            fingerprint=print_of,
            tool=tool,
            provider=provider,
            kind=kind,
            client_timeout_s=wait,
        )

    def admit(self, call: CallArrived, decided: Arrival, expected: Arrival) -> None:
        """Perform the decision about an arrival, which must be the model's."""
        if isinstance(decided, Refuse) and isinstance(expected, Refuse) and decided.retry_after_s is not None:
            assert 1.0 <= decided.retry_after_s <= TIMEOUTS.call_s
            if self.mode is AdviceMode.APPOINTMENT and decided.reason is Reason.OVER_CAPACITY:
                decided = decided._replace(retry_after_s=None)
        assert decided == expected
        if not isinstance(decided, Admit):
            return
        self.unanswered[call.call_id, call.session_id, call.request_id] += 1
        if decided.fence is not None and not decided.fence.answered:
            self.answer(decided.fence.call_id)
        if not decided.waits:
            self.start(call)

    def start(self, call: CallArrived) -> None:
        """Let the work of a call run: never beside another with its key."""
        assert call.key is None or all(other.key != call.key for other in self.running.values())
        self.running[call.call_id] = call

    def answer(self, call_id: CallId) -> None:
        """Send the one answer to each request that waits for a call."""
        for request in [request for request in self.unanswered if request[0] == call_id]:
            del self.unanswered[request]
            self.was_answered[request] += 1

    def end(self, call_id: CallId, outcome: Outcome, size: int) -> None:
        """Let the work of a call stop."""
        event = CallEnded(call_id, outcome, size)
        decided = self.policy.ended(event, now=self.now)
        assert decided == self.model.end(event, self.now)
        del self.running[call_id]
        if not decided.answered:
            self.answer(call_id)
        if decided.starts is not None:
            self.start(next(call.arrived for call in self.model.calls if call.arrived.call_id == decided.starts))

    # --- events ----------------------------------------------------------------------------------------------------

    @rule(
        session=sessions,
        request=requests,
        key=st.sampled_from(KEYS),
        work=st.sampled_from(WORKS),
        wait=st.sampled_from((None, None, 3.0, 12.0, 30.0)),
    )
    def arrive(
        self, session: str, request: str, key: str | None, work: tuple[str, str | None, CallKind], wait: float | None
    ) -> None:
        """A call arrives."""
        call = self.next_call(session, request, key, work, wait)
        self.admit(call, self.policy.arrive(call, now=self.now), self.model.arrive(call, self.now))

    @precondition(lambda self: any(call.arrived.key for call in self.model.live()))
    @rule(index=indices, session=sessions, request=requests, offset=st.sampled_from((None, -0.25, 0.0, 0.25)))
    def come_back(self, index: int, session: str, request: str, offset: float | None) -> None:
        """The same work arrives again with the same key, perhaps about when that lapses."""
        keyed = [call for call in self.model.live() if call.arrived.key is not None]
        owner = keyed[index % len(keyed)]
        if offset is not None:
            self.now = max(self.now, owner.lapses_at + offset)
        self.repeat(owner.arrived, session, request)

    @precondition(lambda self: self.model.kept)
    @rule(index=indices, session=sessions, request=requests, work=st.none() | st.sampled_from(WORKS))
    def ask_again(self, index: int, session: str, request: str, work: tuple[str, str | None, CallKind] | None) -> None:
        """A call arrives with the key of one whose result is kept, for the same work or for other."""
        done = self.model.kept[index % len(self.model.kept)].call.arrived
        self.repeat(done, session, request, work)

    def repeat(
        self,
        first: CallArrived,
        session: str,
        request: str,
        work: tuple[str, str | None, CallKind] | None = None,
    ) -> None:
        """Let a call arrive with the key of an earlier one."""
        key = str(first.key) if first.explicit else "derived"
        self.arrive(session, request, key, work or (first.tool, first.provider, first.kind), None)

    @rule(session=sessions, work=st.sampled_from(WORKS), count=st.integers(2, 5))
    def burst(self, session: str, work: tuple[str, str | None, CallKind], count: int) -> None:
        """Several calls of a session arrive at once."""
        for _ in range(count):
            self.arrive(session, f"own{self.last_id}", f"own{self.last_id}", work, None)

    @precondition(lambda self: self.running)
    @rule(index=indices, outcome=st.sampled_from(Outcome), size=st.sampled_from((0, 10, 30, 60)))
    def stop(self, index: int, outcome: Outcome, size: int) -> None:
        """The work of a call stops."""
        self.end(list(self.running)[index % len(self.running)], outcome, size)

    @rule(steps=st.integers(1, 12))
    def wait(self, steps: int) -> None:
        """Time passes."""
        self.now += steps * 0.25

    @rule(index=indices, offset=st.sampled_from((-0.25, 0.0, 0.25)))
    def wait_for_boundary(self, index: int, offset: float) -> None:
        """Time passes until just before, exactly at, or just after a moment that matters."""
        moments = {moment for call in self.model.live() for moment in (call.deadline_at, call.lapses_at)}
        moments |= {kept.until for kept in self.model.kept}
        to_come = sorted(moment + offset for moment in moments if moment + offset >= self.now)
        if to_come:
            self.now = to_come[index % len(to_come)]

    @precondition(lambda self: self.model.calls)
    @rule(index=indices)
    def deadline(self, index: int) -> None:
        """A timer fires, perhaps too early, or for a call that has ended."""
        event = DeadlinePassed(self.model.calls[-1 - index % len(self.model.calls)].arrived.call_id)
        decided = self.policy.deadline_passed(event, now=self.now)
        assert decided == self.model.deadline(event, self.now)
        if decided is not None:
            self.answer(event.call_id)

    @rule(session=sessions, request=requests)
    def cancel(self, session: str, request: RequestId) -> None:
        """A client cancels what may not even exist."""
        event = CancelAsked(self.session(session), request)
        decided = self.policy.cancel(event, now=self.now)
        assert decided == self.model.cancel(event, self.now)
        if decided is not None:
            self.answer(decided.call_id)

    @rule(session=sessions, request=requests, key=st.sampled_from(("k1", "k2", *WORKS)))
    def attach(self, session: str, request: RequestId, key: object) -> None:
        """A client asks for the answer of a call, by an explicit or a derived key."""
        own_key = CallKey(key) if isinstance(key, str) else derived_key(fingerprint(repr(key).encode()))
        event = AttachAsked(self.session(session), request, own_key)
        decided = self.policy.attach(event, now=self.now)
        assert decided == self.model.attach(event, self.now)
        if isinstance(decided, Follow):
            self.unanswered[decided.call_id, event.session_id, request] += 1

    @rule(name=sessions)
    def close(self, name: str) -> None:
        """A connection is lost; the client comes back under a new session."""
        session_id = self.session(name)
        self.policy.session_closed(SessionClosed(session_id), now=self.now)
        self.model.close(session_id)
        for request in [request for request in self.unanswered if request[1] == session_id]:
            del self.unanswered[request]
        self.openings[name] += 1

    @rule(chance=seldom)
    def drain(self, chance: int) -> None:
        """Seldom, the daemon is asked to stop."""
        if chance == SELDOM:
            assert self.policy.drain(DrainStarted(), now=self.now) == self.model.drain(self.now)

    @rule(chance=seldom)
    def interrupt(self, chance: int) -> None:
        """Seldom, it ends at once."""
        if chance == SELDOM:
            decided = self.policy.interrupt(DrainGraceOver(), now=self.now)
            assert decided == self.model.interrupt(self.now)
            for each in decided:
                self.answer(each.call_id)

    @rule()
    def sweep(self) -> None:
        """Results that are too old are dropped."""
        assert self.policy.sweep(now=self.now) == self.model.sweep(self.now)

    @rule(index=indices)
    def end_what_does_not_run(self, index: int) -> None:
        """The end of a call that waits, has ended or never was is an error, and changes nothing."""
        idle = [
            call_id for call_id in range(max(0, self.last_id - 11), self.last_id + 2) if call_id not in self.running
        ]
        before = self.policy.snapshot()
        with pytest.raises(IllegalMoveError):
            self.policy.ended(CallEnded(CallId(idle[index % len(idle)]), Outcome.OK, 1), now=self.now)
        assert self.policy.snapshot() == before

    @precondition(lambda self: self.running)
    @rule(index=indices)
    def arrive_again(self, index: int) -> None:
        """A number that is in flight cannot arrive again; that changes nothing."""
        before = self.policy.snapshot()
        with pytest.raises(IllegalMoveError):
            self.policy.arrive(list(self.running.values())[index % len(self.running)], now=self.now)
        assert self.policy.snapshot() == before

    @precondition(lambda self: self.now > 0.0 and self.model.calls)
    @rule()
    def go_back(self) -> None:
        """A clock that goes back is an error, and changes nothing."""
        self.sweep()
        before = self.policy.snapshot()
        with pytest.raises(ClockWentBackError):
            self.policy.sweep(now=self.now - 0.25)
        assert self.policy.snapshot() == before

    # --- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def the_counters_are_the_slots_of_live_calls(self) -> None:
        """Every figure is what a count of the calls in flight gives, and no cap is exceeded."""
        model, seen = self.model, self.policy.snapshot()
        live = model.live()
        assert seen.total == model.in_use("global") <= model.config.caps.total
        assert seen.tools == {
            name: (model.in_use(f"tool:{name}"), cap) for name, cap in model.config.caps.tools.items()
        }
        assert seen.providers == {
            name: (model.in_use(f"provider:{name}"), cap) for name, cap in model.config.caps.providers.items()
        }
        per_session = Counter(
            call.arrived.session_id for call in live if f"session:{call.arrived.session_id}" in model.holds(call)
        )
        assert seen.sessions == per_session
        assert (seen.results, seen.result_bytes) == (len(model.kept), sum(kept.size for kept in model.kept))
        assert seen.tombstones == len(model.executed) <= model.config.ttls.tombstones
        assert seen.draining == (model.drain_until is not None)
        assert seen.appointments <= model.config.advice.max_appointments

    @invariant()
    def what_runs_exceeds_no_cap(self) -> None:
        """Counted over the calls whose work runs, no scope has more than its cap."""
        scopes = Counter(scope for call in self.running.values() for scope in self.model.needs(call))
        assert all(count <= self.model.cap(scope) for scope, count in scopes.items())

    @invariant()
    def keys_belong_to_live_calls(self) -> None:
        """Each key in flight is held by the live call that came last with it, and no other key is held."""
        owners = {call.arrived.key: call.arrived.call_id for call in self.model.live() if call.arrived.key is not None}
        assert self.policy._keys._owners == owners
        assert self.policy.snapshot().live_keys == len(owners)

    @invariant()
    def requests_get_one_answer(self) -> None:
        """No request is answered twice, and those that wait are known as such."""
        assert all(count == 1 for count in [*self.was_answered.values(), *self.unanswered.values()])
        assert not self.unanswered.keys() & self.was_answered.keys()
        known = {
            (call_id, session, request)
            for session, requests in self.policy._requests._sessions.items()
            for request, call_id in requests.items()
        }
        assert known == self.unanswered.keys()

    @invariant()
    def schedules_stand_for_slots(self) -> None:
        """A pool has at most one moment per slot and appointment, and at least one if it is full."""
        pools = self.policy._pools
        for pool in [pools.total, *pools.tools.values(), *pools.providers.values(), *pools._sessions.values()]:
            valid = counting(pool.schedule)
            assert valid <= pool.in_use + len(self.policy._advisor)
            assert valid >= 1 or pool.in_use < pool.cap or self.mode is AdviceMode.FIXED

    def teardown(self) -> None:
        """When every call has ended and time has passed, nothing is left but results, and then not even those."""
        if not hasattr(self, "policy"):
            return
        while self.running:
            self.end(next(iter(self.running)), Outcome.OK, 1)
        assert not self.model.live()
        assert not self.unanswered
        self.now += TIMEOUTS.call_s * 1.1 + self.model.config.advice.grace_s + TTLS[0].result_s
        self.sweep()
        seen = self.policy.snapshot()
        assert (seen.total, seen.sessions, seen.live_keys, seen.results, seen.result_bytes) == (0, {}, 0, 0, 0)
        assert not self.policy._calls
        assert not self.policy._pools._sessions
        assert not self.policy._requests._sessions
        assert seen.appointments == 0
        pools = self.policy._pools
        assert not any(
            counting(pool.schedule) for pool in (pools.total, *pools.tools.values(), *pools.providers.values())
        )


def counting(schedule: Schedule) -> int:
    """Return the number of entries of a schedule that still count."""
    return sum(holder.seqs.get(schedule) == seq for _, seq, holder in schedule._entries)


@pytest.mark.parametrize("mode", AdviceMode)
def test_policy_decides_as_the_model(mode: AdviceMode) -> None:
    """After any sequence of events the policy decides as the naive model does, and every invariant holds."""
    machine = type(f"{mode.name.title()}Machine", (PolicyMachine,), {"mode": mode})
    run_state_machine_as_test(machine, settings=RUN)
