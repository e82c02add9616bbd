"""A client that asks for the answer of an execution by its key."""

import pytest

from reference_daemon.policy.config import Caps, Ttls
from reference_daemon.policy.core import MAX_ATTACHED, Policy
from reference_daemon.policy.events import (
    AttachAsked,
    Attachment,
    CallId,
    CallKey,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    DrainStarted,
    Follow,
    NoAttach,
    Reason,
    Refuse,
    RequestId,
    SessionClosed,
    SessionId,
)
from tests.policy.builders import A, B, C, a_call, a_policy, end, refused

S, T = SessionId("s"), SessionId("t")


@pytest.fixture
def policy() -> Policy:
    """One result is kept, and one tombstone; one call per session."""
    return a_policy(caps=Caps(session=1), ttls=Ttls(inflight_s=10.0, result_entries=1, tombstones=1))


def attach(policy: Policy, key: str = "k", *, now: float, session: SessionId = T, request: str = "q") -> Attachment:
    """Ask for the answer of the execution that holds a key."""
    return policy.attach(AttachAsked(session, RequestId(request), CallKey(key)), now=now)


class TestWhatIsAttachedTo:
    def test_a_call_that_runs_is_followed(self, policy: Policy) -> None:
        """Its heartbeats and its answer go to the asker, too."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert attach(policy, now=1.0) == Follow(A)

    def test_a_call_that_waits_is_followed_too(self, policy: Policy) -> None:
        """It holds the key."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k"), now=10.0)
        assert attach(policy, now=11.0) == Follow(B)

    def test_an_answer_that_is_out_is_delivered(self, policy: Policy) -> None:
        """Even while the work of the late call has not stopped."""
        policy.arrive(a_call(A, key="k", timeout_s=5.0), now=0.0)
        policy.deadline_passed(DeadlinePassed(A), now=5.0)
        assert attach(policy, now=6.0) == Deliver(A)

    def test_an_owner_whose_key_was_taken_over_is_gone(self, policy: Policy) -> None:
        """When who took the key over has given up, nobody keeps the owner's answer: it was executed, and no more."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k", timeout_s=3.0), now=10.0)
        policy.deadline_passed(DeadlinePassed(B), now=13.0)
        assert attach(policy, now=14.0) is NoAttach.GONE

    def test_a_kept_result_is_delivered_until_exactly_the_ttl(self, policy: Policy) -> None:
        """Then it is known that the call ran, and no more."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        end(policy, A, now=1.0)
        assert attach(policy, now=600.9) == Deliver(A)
        assert attach(policy, now=601.0) is NoAttach.GONE

    def test_results_of_derived_keys_can_be_had_by_attaching(self, policy: Policy) -> None:
        """A 409 names the first call, and its answer may come before the attach does."""
        first = a_call(A, key="derived")
        policy.arrive(first, now=0.0)
        assert attach(policy, str(first.key), now=1.0) == Follow(A)
        end(policy, A, now=2.0)
        assert attach(policy, str(first.key), now=2.0) == Deliver(A)

    def test_a_key_that_was_never_executed_is_unknown(self, policy: Policy) -> None:
        """Also one whose call was refused."""
        assert attach(policy, now=0.0) is NoAttach.UNKNOWN
        policy.arrive(a_call(A), now=0.0)
        refused(policy.arrive(a_call(B, key="k"), now=0.0))
        assert attach(policy, now=0.0) is NoAttach.UNKNOWN

    def test_tombstones_tell_gone_from_unknown_as_long_as_they_last(self, policy: Policy) -> None:
        """The oldest is forgotten first."""
        for call_id, key in ((A, "k"), (B, "l"), (C, "m")):
            policy.arrive(a_call(call_id, key=key), now=0.0)
            end(policy, call_id, now=0.0)
        found = [attach(policy, key, now=1.0) for key in ("k", "l", "m")]
        assert found == [NoAttach.UNKNOWN, NoAttach.GONE, Deliver(C)]

    def test_a_draining_daemon_still_lets_attach(self, policy: Policy) -> None:
        """Calls in flight end, and their askers get the answer."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.drain(DrainStarted(), now=1.0)
        assert attach(policy, now=2.0) == Follow(A)


class TestRequestIds:
    def test_a_request_id_in_flight_is_refused(self, policy: Policy) -> None:
        """Whether it sent the call, or attached to it."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert attach(policy, now=1.0, session=S, request="r1") == Refuse(
            call_id=CallId(-1),
            reason=Reason.DUPLICATE_REQUEST,
            original=A,
            original_request_id=RequestId("r1"),
            elapsed_s=1.0,
            remaining_s=119.0,
        )
        attach(policy, now=1.0)
        assert refused(attach(policy, now=1.0)).reason is Reason.DUPLICATE_REQUEST
        assert refused(policy.arrive(a_call(B, session="t", request="q"), now=1.0)).original == A

    def test_the_answer_frees_it(self, policy: Policy) -> None:
        """The sender's and every follower's."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        attach(policy, now=1.0)
        attach(policy, now=1.0, session=S)
        end(policy, A, now=2.0)
        assert not any(policy.awaits_answer(*each) for each in ((S, "r1"), (S, "q"), (T, "q")))  # type: ignore[arg-type]

    def test_attaching_is_free_but_not_endless(self, policy: Policy) -> None:
        """A session may wait for its cap of calls and a bounded number of answers more."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        most = 1 + MAX_ATTACHED
        for number in range(most):
            assert attach(policy, now=1.0, request=f"q{number}") == Follow(A)
        assert attach(policy, now=1.0, request="one more") == Refuse(
            call_id=CallId(-1), reason=Reason.OVER_CAPACITY, retry_after_s=1.0, scope="session", limit=most, in_use=most
        )
        assert attach(policy, now=1.0, session=SessionId("u")) == Follow(A)


class TestFollowers:
    def test_one_who_attached_by_an_explicit_key_can_cancel(self, policy: Policy) -> None:
        """Whoever knows the key is the one whose call it is, after a reconnect say."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        attach(policy, now=1.0)
        assert policy.cancel(CancelAsked(T, RequestId("q")), now=2.0) == Cancel(A, started=True)

    def test_one_who_attached_by_a_derived_key_cannot(self, policy: Policy) -> None:
        """Anybody with the same work has that key; the sender still can."""
        first = a_call(A, key="derived")
        policy.arrive(first, now=0.0)
        attach(policy, str(first.key), now=1.0)
        assert policy.cancel(CancelAsked(T, RequestId("q")), now=2.0) is None
        assert policy.cancel(CancelAsked(S, RequestId("r1")), now=2.0) == Cancel(A, started=True)

    def test_a_session_that_closes_does_not_follow_any_more(self, policy: Policy) -> None:
        """The others do."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        attach(policy, now=1.0)
        attach(policy, now=1.0, session=S)
        assert policy.session_closed(SessionClosed(T), now=2.0) == {A}
        assert not policy.awaits_answer(T, RequestId("q"))
        assert policy.awaits_answer(S, RequestId("q"))
