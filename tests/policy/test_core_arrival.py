"""What becomes of a call that arrives."""

import pytest

from reference_daemon.policy.config import Caps, Timeouts, Ttls
from reference_daemon.policy.core import Policy
from reference_daemon.policy.errors import ClockWentBackError, IllegalMoveError
from reference_daemon.policy.events import (
    Admit,
    CallKind,
    CancelAsked,
    DrainGraceOver,
    DrainStarted,
    Limit,
    Outcome,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionId,
)
from tests.policy.builders import A, B, C, D, a_call, a_policy, admitted, end, refused, warm


@pytest.fixture
def policy() -> Policy:
    """Two analyze at once, one call at GLM, three per session, four in all; keys are fresh for 10 s."""
    return a_policy(caps=Caps(total=4, session=3, tools={"analyze": 2}, providers={"GLM": 1}))


class TestAdmission:
    def test_a_call_is_admitted_with_its_deadline(self, policy: Policy) -> None:
        """The deadline counts from its arrival; its work starts at once."""
        assert policy.arrive(a_call(A), now=5.0) == Admit(A, 125.0, 120.0, Limit.STEP, waits=False, fence=None)

    def test_the_clients_own_budget_is_the_deadline(self, policy: Policy) -> None:
        """Nobody works longer than the client waits."""
        assert policy.arrive(a_call(A, timeout_s=30.0), now=5.0) == Admit(A, 35.0, 30.0, Limit.CLIENT)

    def test_it_holds_a_slot_of_each_pool(self, policy: Policy) -> None:
        """Session, tool, provider, daemon, and its key."""
        policy.arrive(a_call(A, provider="GLM"), now=0.0)
        seen = policy.snapshot()
        assert (seen.total, seen.total_cap, seen.sessions, seen.live_keys) == (1, 4, {"s": 1}, 1)
        assert (seen.tools, seen.providers) == ({"analyze": (1, 2)}, {"GLM": (1, 1)})


class TestCaps:
    def test_the_cap_is_the_last_that_gets_in(self, policy: Policy) -> None:
        """The call number cap is admitted, cap + 1 is not."""
        admitted(policy.arrive(a_call(A), now=0.0))
        admitted(policy.arrive(a_call(B), now=0.0))
        assert policy.arrive(a_call(C), now=0.0) == Refuse(
            call_id=C, reason=Reason.OVER_CAPACITY, retry_after_s=1.0, scope="tool:analyze", limit=2, in_use=2
        )

    @pytest.mark.parametrize(
        ("held", "newcomer", "scope"),
        [
            ([("s", "x", None)] * 3, ("s", "x", None), "session"),
            ([("t", "analyze", None)] * 2, ("s", "analyze", None), "tool:analyze"),
            ([("t", "x", "GLM")], ("s", "x", "GLM"), "provider:GLM"),
            ([("t", "x", None), ("u", "x", None)] * 2, ("s", "x", None), "global"),
            ([("s", "analyze", "GLM"), ("s", "analyze", None), ("s", "x", None)], ("s", "analyze", "GLM"), "session"),
            ([("t", "analyze", "GLM"), ("t", "analyze", None)], ("s", "analyze", "GLM"), "tool:analyze"),
        ],
    )
    def test_the_first_full_pool_is_named(
        self,
        policy: Policy,
        held: list[tuple[str, str, str | None]],
        newcomer: tuple[str, str, str | None],
        scope: str,
    ) -> None:
        """In the order session, tool, provider, daemon."""
        for number, (session, tool, provider) in enumerate(held, start=1):
            admitted(policy.arrive(a_call(number, session=session, tool=tool, provider=provider), now=0.0))
        session, tool, provider = newcomer
        refusal = refused(policy.arrive(a_call(99, session=session, tool=tool, provider=provider), now=0.0))
        assert (refusal.reason, refusal.scope) == (Reason.OVER_CAPACITY, scope)

    def test_a_refused_call_leaves_nothing_behind(self, policy: Policy) -> None:
        """No slot, no key, no request_id: the same call is admitted once a slot is free."""
        for call_id in (A, B):
            policy.arrive(a_call(call_id), now=0.0)
        before = policy.snapshot()
        refused(policy.arrive(a_call(C, provider="GLM"), now=0.0))
        assert policy.snapshot() == before
        assert policy.cancel(CancelAsked(SessionId("s"), RequestId("r3")), now=0.0) is None
        end(policy, A, now=1.0)
        admitted(policy.arrive(a_call(C, provider="GLM"), now=1.0))

    def test_a_freed_slot_is_usable_at_once(self, policy: Policy) -> None:
        """At the very moment at which the work ends."""
        policy.arrive(a_call(A, tool="x", provider="GLM"), now=0.0)
        refused(policy.arrive(a_call(B, tool="x", provider="GLM"), now=1.0))
        end(policy, A, now=1.0)
        admitted(policy.arrive(a_call(B, tool="x", provider="GLM"), now=1.0))


class TestRequestInFlight:
    def test_a_request_id_in_flight_is_refused(self, policy: Policy) -> None:
        """Its live call's answer stays the only one under it."""
        policy.arrive(a_call(A, request="r"), now=0.0)
        assert policy.arrive(a_call(B, request="r"), now=4.0) == Refuse(
            call_id=B,
            reason=Reason.DUPLICATE_REQUEST,
            original=A,
            original_request_id=RequestId("r"),
            elapsed_s=4.0,
            remaining_s=116.0,
        )

    def test_before_anything_else(self, policy: Policy) -> None:
        """Also while the daemon drains, and whatever its key says."""
        policy.arrive(a_call(A, request="r", key="k"), now=0.0)
        policy.drain(DrainStarted(), now=1.0)
        refusal = refused(policy.arrive(a_call(B, request="r", key="k", work="other"), now=2.0))
        assert refusal.reason is Reason.DUPLICATE_REQUEST

    def test_sessions_have_their_own_request_ids(self, policy: Policy) -> None:
        """Another session may use the same one."""
        policy.arrive(a_call(A, request="r"), now=0.0)
        admitted(policy.arrive(a_call(B, request="r", session="t"), now=0.0))

    def test_an_answered_one_may_be_used_again(self, policy: Policy) -> None:
        """Even while the work of the cancelled call has not stopped."""
        policy.arrive(a_call(A, request="r"), now=0.0)
        policy.cancel(CancelAsked(SessionId("s"), RequestId("r")), now=1.0)
        admitted(policy.arrive(a_call(B, request="r"), now=2.0))
        end(policy, A, now=3.0)
        again = refused(policy.arrive(a_call(C, request="r"), now=3.0))
        assert (again.reason, again.original) == (Reason.DUPLICATE_REQUEST, B)


class TestKeys:
    def test_a_fresh_key_in_flight_is_a_duplicate(self, policy: Policy) -> None:
        """Also from another session; the owner is named."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert policy.arrive(a_call(B, key="k", session="t"), now=9.9) == Refuse(
            call_id=B,
            reason=Reason.DUPLICATE,
            original=A,
            original_request_id=RequestId("r1"),
            elapsed_s=9.9,
            remaining_s=120.0 - 9.9,
        )

    def test_a_duplicate_is_no_question_of_capacity(self) -> None:
        """A full daemon says 409, not 429."""
        policy = a_policy(caps=Caps(total=1))
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert refused(policy.arrive(a_call(B, key="k"), now=0.0)).reason is Reason.DUPLICATE

    def test_remaining_time_is_never_negative(self) -> None:
        """The owner may be late already, its work not stopped."""
        policy = a_policy(ttls=Ttls(inflight_s=500.0))
        policy.arrive(a_call(A, key="k", timeout_s=10.0), now=0.0)
        assert refused(policy.arrive(a_call(B, key="k"), now=11.0)).remaining_s == 0.0

    def test_identical_calls_without_a_key_are_found(self, policy: Policy) -> None:
        """A derived key is a key; asking again later executes again."""
        policy.arrive(a_call(A, key="derived"), now=0.0)
        assert refused(policy.arrive(a_call(B, key="derived"), now=1.0)).reason is Reason.DUPLICATE
        admitted(policy.arrive(a_call(C, key="derived", work="other"), now=1.0))
        end(policy, A, now=2.0)
        admitted(policy.arrive(a_call(D, key="derived"), now=2.0))

    def test_calls_without_any_key_are_never_duplicates(self, policy: Policy) -> None:
        """Each is unique, and nothing of it is kept."""
        policy.arrive(a_call(A, key=None), now=0.0)
        admitted(policy.arrive(a_call(B, key=None), now=0.0))
        assert not end(policy, A, now=1.0).stored
        assert policy.snapshot().live_keys == 0

    def test_an_explicit_key_is_for_one_work_while_it_is_live(self, policy: Policy) -> None:
        """Other work under it is refused, whether it is fresh or has lapsed."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        for now in (0.0, 10.0):
            refusal = refused(policy.arrive(a_call(B, key="k", work="other"), now=now))
            assert (refusal.reason, refusal.original, refusal.elapsed_s) == (Reason.KEY_REUSED, A, now)

    def test_and_after_its_end(self, policy: Policy) -> None:
        """As long as its result is kept."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        end(policy, A, now=1.0)
        assert policy.arrive(a_call(B, key="k", work="other"), now=600.9) == Refuse(
            call_id=B, reason=Reason.KEY_REUSED, original=A, original_request_id=RequestId("r1")
        )
        admitted(policy.arrive(a_call(B, key="k", work="other"), now=601.0))

    @pytest.mark.parametrize("outcome", Outcome)
    def test_a_finished_one_is_replayed_until_exactly_the_ttl(self, policy: Policy, outcome: Outcome) -> None:
        """Failures that were executed, too; then it is executed again."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert end(policy, A, now=1.0, outcome=outcome).stored
        assert policy.arrive(a_call(B, key="k"), now=600.9) == Replay(B, of=A)
        admitted(policy.arrive(a_call(C, key="k"), now=601.0))

    def test_a_replay_needs_no_slot(self) -> None:
        """A full daemon replays."""
        policy = a_policy(caps=Caps(total=1))
        policy.arrive(a_call(A, key="k"), now=0.0)
        end(policy, A, now=1.0)
        policy.arrive(a_call(B), now=1.0)
        assert policy.arrive(a_call(C, key="k"), now=1.0) == Replay(C, of=A)

    def test_results_of_derived_keys_are_not_replayed(self, policy: Policy) -> None:
        """Not even to a client that sends the derived key as its own."""
        first = a_call(A, key="derived")
        policy.arrive(first, now=0.0)
        assert end(policy, A, now=1.0).stored
        admitted(policy.arrive(a_call(B, key=first.key), now=2.0))

    def test_nor_are_results_of_explicit_keys_to_calls_without(self, policy: Policy) -> None:
        """Not even where a client chose the key that follows from the work."""
        derived = a_call(B, key="derived")
        policy.arrive(a_call(A, key=derived.key), now=0.0)
        end(policy, A, now=1.0)
        admitted(policy.arrive(derived, now=2.0))

    def test_without_a_setting_a_key_is_fresh_for_twice_the_p95(self) -> None:
        """Once twenty calls were seen; before, for the call timeout."""
        policy = a_policy(ttls=Ttls(), timeouts=Timeouts(call_s=100.0))
        now = warm(policy, [10.0] * 19)
        policy.arrive(a_call(A, key="before"), now=now)
        assert refused(policy.arrive(a_call(99, key="before"), now=now + 99.9)).reason is Reason.DUPLICATE
        warm(policy, [10.0], now=now + 99.9)
        now += 200.0
        policy.arrive(a_call(B, key="after"), now=now)
        assert refused(policy.arrive(a_call(99, key="after"), now=now + 19.9)).reason is Reason.DUPLICATE
        assert admitted(policy.arrive(a_call(99, key="after"), now=now + 20.0)).waits


class TestDraining:
    @pytest.mark.parametrize(("now", "retry_after_s"), [(0.0, 60.0), (59.5, 1.0), (70.0, 1.0)])
    def test_a_draining_daemon_admits_nobody(self, policy: Policy, now: float, retry_after_s: float) -> None:
        """It says how long its grace lasts; at least a second."""
        policy.drain(DrainStarted(), now=0.0)
        assert policy.arrive(a_call(A), now=now) == Refuse(
            call_id=A, reason=Reason.DRAINING, retry_after_s=retry_after_s
        )

    def test_a_long_grace_is_told_as_the_call_timeout(self) -> None:
        """No advice is longer than that."""
        policy = a_policy(drain_grace_s=500.0)
        policy.drain(DrainStarted(), now=0.0)
        assert refused(policy.arrive(a_call(A), now=0.0)).retry_after_s == 180.0

    def test_not_even_with_a_key_that_is_known(self, policy: Policy) -> None:
        """Neither a replay nor a duplicate is told: the client comes back to the next daemon."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        end(policy, A, now=1.0)
        policy.drain(DrainStarted(), now=2.0)
        assert refused(policy.arrive(a_call(B, key="k"), now=2.0)).reason is Reason.DRAINING

    def test_a_daemon_that_interrupts_drains(self, policy: Policy) -> None:
        """Otherwise a newcomer could take over a key whose owner was interrupted."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.interrupt(DrainGraceOver(), now=20.0)
        assert refused(policy.arrive(a_call(B, key="k"), now=20.0)).reason is Reason.DRAINING


class TestMisuse:
    def test_a_number_in_flight_cannot_arrive_again(self, policy: Policy) -> None:
        """That is an error, and changes nothing."""
        policy.arrive(a_call(A), now=0.0)
        before = policy.snapshot()
        with pytest.raises(IllegalMoveError, match="call 1 is running: arrive is not allowed"):
            policy.arrive(a_call(A, request="other", key="other"), now=1.0)
        assert policy.snapshot() == before

    @pytest.mark.parametrize("now", [4.9, float("nan")])
    def test_the_clock_cannot_go_back(self, policy: Policy, now: float) -> None:
        """Nor be no number; that changes nothing. Standing still is allowed."""
        policy.arrive(a_call(A), now=5.0)
        before = policy.snapshot()
        with pytest.raises(ClockWentBackError):
            policy.arrive(a_call(B), now=now)
        assert policy.snapshot() == before
        admitted(policy.arrive(a_call(B), now=5.0))


def test_kinds_have_their_own_budgets(policy: Policy) -> None:
    """An expert step that is late is told so."""
    assert admitted(policy.arrive(a_call(A, kind=CallKind.EXPERT), now=0.0)).limit is Limit.EXPERT
