"""What happens when a call ends, is late, is cancelled or interrupted: each gets one answer, and frees once."""

import pytest

from reference_daemon.policy.config import Caps, Ttls
from reference_daemon.policy.core import Policy
from reference_daemon.policy.errors import IllegalMoveError
from reference_daemon.policy.events import (
    Admit,
    CallId,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    DrainGraceOver,
    DrainStarted,
    Ended,
    Expire,
    Interrupt,
    Limit,
    Outcome,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionClosed,
    SessionId,
)
from tests.policy.builders import A, B, C, D, a_call, a_policy, admitted, end, refused

S = SessionId("s")


@pytest.fixture
def policy() -> Policy:
    """One analyze at a time; a key is fresh for 10 s."""
    return a_policy(caps=Caps(tools={"analyze": 1}))


class TestEnd:
    def test_everything_is_given_back(self, policy: Policy) -> None:
        """Every counter is zero again; only the result is kept."""
        policy.arrive(a_call(A, provider="GLM"), now=0.0)
        assert end(policy, A, now=5.0) == Ended(A, answered=False, stored=True)
        seen = policy.snapshot()
        assert (seen.total, seen.sessions, seen.live_keys) == (0, {}, 0)
        assert (seen.tools["analyze"], seen.providers["GLM"], seen.results, seen.result_bytes) == (
            (0, 1),
            (0, 4),
            1,
            10,
        )

    def test_a_second_end_is_an_error(self, policy: Policy) -> None:
        """It changes nothing: no slot is given back twice."""
        policy.arrive(a_call(A), now=0.0)
        end(policy, A, now=1.0)
        policy.arrive(a_call(B), now=1.0)
        before = policy.snapshot()
        with pytest.raises(IllegalMoveError, match="call 1 is unknown: end is not allowed"):
            end(policy, A, now=2.0)
        assert policy.snapshot() == before

    def test_a_call_that_waits_cannot_end_by_itself(self, policy: Policy) -> None:
        """It has no work that could stop."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert admitted(policy.arrive(a_call(B, key="k"), now=10.0)).waits
        before = policy.snapshot()
        with pytest.raises(IllegalMoveError, match="call 2 is waiting: end is not allowed"):
            end(policy, B, now=11.0)
        assert policy.snapshot() == before

    def test_results_that_are_dropped_are_named(self) -> None:
        """So that the caller drops what it holds of them."""
        policy = a_policy(ttls=Ttls(result_entries=1, inflight_s=10.0))
        for call_id in (A, B):
            policy.arrive(a_call(call_id), now=0.0)
        assert end(policy, A, now=1.0).dropped == ()
        assert end(policy, B, now=1.0) == Ended(B, answered=False, stored=True, dropped=(A,))

    def test_a_result_that_is_too_large_is_not_stored(self) -> None:
        """Its key was executed all the same."""
        policy = a_policy(ttls=Ttls(result_bytes=100, inflight_s=10.0))
        policy.arrive(a_call(A), now=0.0)
        assert end(policy, A, now=1.0, result_bytes=101) == Ended(A, answered=False, stored=False, dropped=(A,))
        assert policy.snapshot().tombstones == 1

    def test_old_results_are_swept(self, policy: Policy) -> None:
        """At exactly their TTL."""
        policy.arrive(a_call(A), now=0.0)
        end(policy, A, now=1.0)
        assert policy.sweep(now=600.9) == ()
        assert policy.sweep(now=601.0) == (A,)
        assert (policy.snapshot().results, policy.snapshot().tombstones) == (0, 1)


class TestDeadline:
    def test_a_call_is_late_at_exactly_its_deadline(self, policy: Policy) -> None:
        """Not before: a timer may be early by a tick."""
        policy.arrive(a_call(A, timeout_s=30.0), now=5.0)
        assert policy.deadline_passed(DeadlinePassed(A), now=34.9) is None
        expired = policy.deadline_passed(DeadlinePassed(A), now=35.0)
        assert expired == Expire(A, Limit.CLIENT, timeout_s=30.0, elapsed_s=30.0, started=True)

    def test_its_slots_and_key_are_held_until_its_work_stops(self, policy: Policy) -> None:
        """However long a tool takes to listen."""
        policy.arrive(a_call(A, key="k", timeout_s=5.0), now=0.0)
        policy.deadline_passed(DeadlinePassed(A), now=5.0)
        assert refused(policy.arrive(a_call(B), now=6.0)).reason is Reason.OVER_CAPACITY
        assert refused(policy.arrive(a_call(C, key="k"), now=6.0)).reason is Reason.DUPLICATE
        assert end(policy, A, now=7.0) == Ended(A, answered=True, stored=True)
        admitted(policy.arrive(a_call(B), now=7.0))

    def test_it_is_answered_once(self, policy: Policy) -> None:
        """A deadline that passes twice, after a cancel, or after the end says nothing."""
        policy.arrive(a_call(A), now=0.0)
        assert policy.deadline_passed(DeadlinePassed(A), now=120.0) is not None
        assert policy.deadline_passed(DeadlinePassed(A), now=121.0) is None
        end(policy, A, now=122.0)
        assert policy.deadline_passed(DeadlinePassed(A), now=123.0) is None
        policy.arrive(a_call(B), now=200.0)
        policy.cancel(CancelAsked(S, RequestId("r2")), now=201.0)
        assert policy.deadline_passed(DeadlinePassed(B), now=400.0) is None


class TestCancel:
    def test_the_sender_can_cancel(self, policy: Policy) -> None:
        """Slots stay held until the work has stopped."""
        policy.arrive(a_call(A), now=0.0)
        assert policy.cancel(CancelAsked(S, RequestId("r1")), now=1.0) == Cancel(A, started=True)
        assert policy.snapshot().total == 1
        assert end(policy, A, now=2.0, outcome=Outcome.FAILED) == Ended(A, answered=True, stored=True)

    @pytest.mark.parametrize(("session", "request_id"), [("t", "r1"), ("s", "r2")])
    def test_nobody_else(self, policy: Policy, session: str, request_id: str) -> None:
        """Neither another session with the same request_id, nor another request_id."""
        policy.arrive(a_call(A), now=0.0)
        assert policy.cancel(CancelAsked(SessionId(session), RequestId(request_id)), now=1.0) is None

    def test_a_cancel_that_comes_too_late_is_harmless(self, policy: Policy) -> None:
        """After the answer the request_id is unknown."""
        policy.arrive(a_call(A), now=0.0)
        end(policy, A, now=1.0)
        assert policy.cancel(CancelAsked(S, RequestId("r1")), now=1.0) is None


class TestDurations:
    """Which calls say how long work takes: seen by how long a key stays fresh, twice the P95."""

    @staticmethod
    def after_twenty_calls(cut: str) -> Refuse | Admit:
        """Let a key be asked for again after 20 s, when twenty calls of 10 s ended in this way before."""
        policy, now = a_policy(ttls=Ttls()), 0.0
        for number in range(100, 120):
            policy.arrive(a_call(number, timeout_s=8.0 if cut == "late" else None), now=now)
            if cut == "late":
                policy.deadline_passed(DeadlinePassed(CallId(number)), now=now + 8.0)
            if cut == "cancelled":
                policy.cancel(CancelAsked(S, RequestId(f"r{number}")), now=now + 8.0)
            now += 10.0
            end(policy, number, now=now, outcome=Outcome.FAILED if cut == "failed" else Outcome.OK)
        policy.arrive(a_call(A, key="k"), now=now)
        assert refused(policy.arrive(a_call(B, key="k"), now=now + 19.9)).reason is Reason.DUPLICATE
        again = policy.arrive(a_call(B, key="k"), now=now + 20.0)
        assert not isinstance(again, Replay)
        return again

    @pytest.mark.parametrize("cut", ["", "late"])
    def test_calls_that_succeeded_or_were_cut_count(self, cut: str) -> None:
        """A late call counts with all the time that its work took."""
        assert isinstance(self.after_twenty_calls(cut), Admit)

    @pytest.mark.parametrize("cut", ["failed", "cancelled"])
    def test_calls_that_failed_or_were_cancelled_do_not(self, cut: str) -> None:
        """They say nothing about how long the work takes: the key is fresh for the call timeout."""
        assert isinstance(self.after_twenty_calls(cut), Refuse)


class TestDrain:
    def test_calls_in_flight_get_a_grace(self, policy: Policy) -> None:
        """The moment of its end is told, and a second request does not move it."""
        policy.arrive(a_call(A), now=0.0)
        assert policy.drain(DrainStarted(), now=10.0) == 70.0
        assert policy.drain(DrainStarted(), now=20.0) == 70.0
        assert policy.snapshot().draining
        assert end(policy, A, now=30.0) == Ended(A, answered=False, stored=True)

    def test_those_without_an_answer_are_interrupted(self, policy: Policy) -> None:
        """In the order of their arrival; one that was cancelled has its answer, one that waits has no work."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, tool="x"), now=0.0)
        policy.arrive(a_call(C, tool="x"), now=0.0)
        policy.cancel(CancelAsked(S, RequestId("r2")), now=1.0)
        assert admitted(policy.arrive(a_call(D, key="k"), now=10.0)).waits
        policy.drain(DrainStarted(), now=11.0)
        assert policy.interrupt(DrainGraceOver(), now=71.0) == (
            Interrupt(C, started=True),
            Interrupt(D, started=False),
        )
        assert policy.interrupt(DrainGraceOver(), now=72.0) == ()
        for call_id in (A, B, C):
            assert end(policy, call_id, now=73.0).answered
        assert policy.snapshot().total == 0


class TestSessionClosed:
    def test_its_calls_go_on(self, policy: Policy) -> None:
        """They hold their slots, and their results are kept."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert policy.session_closed(SessionClosed(S), now=1.0) == {A}
        assert policy.snapshot().sessions == {"s": 1}
        assert end(policy, A, now=5.0) == Ended(A, answered=False, stored=True)
        assert policy.snapshot().sessions == {}

    def test_its_requests_are_forgotten(self, policy: Policy) -> None:
        """Nobody can cancel in its name any more."""
        policy.arrive(a_call(A), now=0.0)
        assert policy.awaits_answer(S, RequestId("r1"))
        policy.session_closed(SessionClosed(S), now=1.0)
        assert not policy.awaits_answer(S, RequestId("r1"))
        assert policy.cancel(CancelAsked(S, RequestId("r1")), now=1.0) is None

    def test_a_session_that_waits_for_nothing_closes_too(self, policy: Policy) -> None:
        """Nothing happens."""
        assert policy.session_closed(SessionClosed(S), now=1.0) == set()
