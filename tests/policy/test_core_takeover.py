"""A key that has lapsed is taken over: its owner is fenced first, and one key never runs twice at the same time."""

import pytest

from reference_daemon.policy.config import Advice, AdviceMode, Caps
from reference_daemon.policy.core import Policy
from reference_daemon.policy.events import (
    Admit,
    AttachAsked,
    CallKey,
    Cancel,
    CancelAsked,
    DeadlinePassed,
    Ended,
    Expire,
    Fence,
    Limit,
    Reason,
    RequestId,
    SessionId,
)
from tests.policy.builders import A, B, C, D, E, a_call, a_policy, end, refused, warm


@pytest.fixture
def policy() -> Policy:
    """One analyze at a time, two calls in all, two per session; a key is fresh for 10 s."""
    return a_policy(caps=Caps(total=2, session=2, tools={"analyze": 1}, providers={}))


def fence_of(arrival: object) -> Fence:
    """Return the fence of a takeover."""
    assert isinstance(arrival, Admit), arrival
    assert arrival.waits
    assert arrival.fence is not None
    return arrival.fence


class TestTakeover:
    def test_a_key_lapses_at_exactly_its_ttl(self, policy: Policy) -> None:
        """Before, the newcomer is a duplicate; then the owner is fenced, and the newcomer waits for its end."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        assert refused(policy.arrive(a_call(B, key="k"), now=9.9)).reason is Reason.DUPLICATE
        fence = Fence(A, superseded_by=RequestId("r2"), started=True, answered=False)
        assert policy.arrive(a_call(B, key="k"), now=10.0) == Admit(
            B, 130.0, 120.0, Limit.STEP, waits=True, fence=fence
        )

    def test_no_slot_is_needed_but_the_owners(self, policy: Policy) -> None:
        """The slots pass on, so a full pool is no reason to refuse, and nothing is counted twice."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(C, tool="x"), now=0.0)
        fence_of(policy.arrive(a_call(B, key="k"), now=10.0))
        seen = policy.snapshot()
        assert (seen.total, seen.tools, seen.sessions, seen.live_keys) == (2, {"analyze": (1, 1)}, {"s": 2}, 2)

    def test_the_newcomer_starts_when_the_owners_work_has_stopped(self, policy: Policy) -> None:
        """Not before, so that the key never runs twice; the fenced owner's result is not kept."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k"), now=10.0)
        assert end(policy, A, now=12.0) == Ended(A, answered=True, stored=False, starts=B)
        assert policy.snapshot().tools == {"analyze": (1, 1)}
        assert refused(policy.arrive(a_call(C, key="k"), now=12.0)).original == B
        assert end(policy, B, now=20.0) == Ended(B, answered=False, stored=True)
        assert policy.snapshot().total == 0

    def test_a_newcomer_of_another_session_needs_a_slot_of_its_own_there(self, policy: Policy) -> None:
        """The owner's slot of its session is given back at its end."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        fence_of(policy.arrive(a_call(B, key="k", session="t"), now=10.0))
        assert policy.snapshot().sessions == {"s": 1, "t": 1}
        end(policy, A, now=12.0)
        assert (policy.snapshot().sessions, policy.snapshot().total) == ({"t": 1}, 1)

    def test_and_is_refused_if_that_is_full(self) -> None:
        """Then the owner is not fenced."""
        policy = a_policy(caps=Caps(session=1))
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, session="t"), now=0.0)
        refusal = refused(policy.arrive(a_call(C, key="k", session="t"), now=10.0))
        assert (refusal.reason, refusal.scope) == (Reason.OVER_CAPACITY, "session")
        assert end(policy, A, now=11.0) == Ended(A, answered=False, stored=True)

    def test_an_owner_that_is_fenced_has_its_answer(self, policy: Policy) -> None:
        """Its request waits no more, nor do those that attached to it."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.attach(AttachAsked(SessionId("t"), RequestId("q"), CallKey("k")), now=1.0)
        policy.arrive(a_call(B, key="k"), now=10.0)
        assert not policy.awaits_answer(SessionId("s"), RequestId("r1"))
        assert not policy.awaits_answer(SessionId("t"), RequestId("q"))

    def test_an_owner_that_has_its_answer_gets_no_second_one(self, policy: Policy) -> None:
        """It was late before; its work is still to be waited for."""
        policy.arrive(a_call(A, key="k", timeout_s=5.0), now=0.0)
        policy.deadline_passed(DeadlinePassed(A), now=5.0)
        fence = fence_of(policy.arrive(a_call(B, key="k", request="r1"), now=10.0))
        assert fence == Fence(A, superseded_by=RequestId("r1"), started=True, answered=True)
        end(policy, A, now=11.0)
        assert policy.awaits_answer(SessionId("s"), RequestId("r1"))

    def test_the_time_of_a_fenced_call_counts_as_a_duration(self) -> None:
        """Otherwise fencing would shorten the very TTL that causes it."""
        policy = a_policy(advice=Advice(mode=AdviceMode.RESIDUAL, quantile=0.99), caps=Caps(tools={"analyze": 1}))
        now = warm(policy, [1.0] * 19)
        policy.arrive(a_call(A, key="k"), now=now)
        policy.arrive(a_call(B, key="k"), now=now + 10.0)
        end(policy, A, now=now + 12.0)
        end(policy, B, now=now + 12.0)
        policy.arrive(a_call(C), now=now + 12.0)
        assert refused(policy.arrive(a_call(D), now=now + 12.0)).retry_after_s == 12.0

    def test_the_time_of_its_successor_counts_from_its_start(self) -> None:
        """Not from its admission: it waited for 2 s, and worked for 20 s."""
        policy = a_policy(advice=Advice(mode=AdviceMode.RESIDUAL, quantile=0.99), caps=Caps(tools={"analyze": 1}))
        now = warm(policy, [1.0] * 19)
        policy.arrive(a_call(A, key="k"), now=now)
        policy.arrive(a_call(B, key="k"), now=now + 10.0)
        end(policy, A, now=now + 12.0)
        end(policy, B, now=now + 32.0)
        policy.arrive(a_call(C), now=now + 32.0)
        assert refused(policy.arrive(a_call(D), now=now + 32.0)).retry_after_s == 20.0


class TestChain:
    def test_a_newcomer_that_waits_can_be_replaced(self, policy: Policy) -> None:
        """It has no work, so it has ended with its fence; the next one waits for the same work."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k"), now=10.0)
        assert refused(policy.arrive(a_call(C, key="k"), now=19.9)).original == B
        fence = fence_of(policy.arrive(a_call(C, key="k"), now=20.0))
        assert fence == Fence(B, superseded_by=RequestId("r3"), started=False, answered=False)
        assert end(policy, A, now=21.0).starts == C
        end(policy, C, now=22.0)
        assert policy.snapshot().total == 0

    def test_slots_of_every_session_in_the_chain_come_back(self, policy: Policy) -> None:
        """The first and the last in one session, the one between in another."""
        policy.arrive(a_call(A, key="k", session="s"), now=0.0)
        policy.arrive(a_call(B, key="k", session="t"), now=10.0)
        fence_of(policy.arrive(a_call(C, key="k", session="s"), now=20.0))
        assert policy.snapshot().sessions == {"s": 1}
        end(policy, A, now=21.0)
        assert (policy.snapshot().sessions, policy.snapshot().total) == ({"s": 1}, 1)
        end(policy, C, now=22.0)
        assert policy.snapshot().sessions == {}

    def test_a_replaced_newcomer_hands_its_own_slots_on(self, policy: Policy) -> None:
        """Both newcomers in one session, which needs one slot for them."""
        policy.arrive(a_call(A, key="k", session="s"), now=0.0)
        policy.arrive(a_call(B, key="k", session="t"), now=10.0)
        policy.arrive(a_call(C, key="k", session="t"), now=20.0)
        assert policy.snapshot().sessions == {"s": 1, "t": 1}


class TestWithdrawal:
    def test_the_key_goes_back_to_the_work_that_runs(self, policy: Policy) -> None:
        """A newcomer that waits and is cancelled has ended; nobody starts at the owner's end."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k", session="t"), now=10.0)
        assert policy.cancel(CancelAsked(SessionId("t"), RequestId("r2")), now=11.0) == Cancel(B, started=False)
        assert (policy.snapshot().sessions, policy.snapshot().live_keys) == ({"s": 1}, 1)
        assert end(policy, A, now=12.0) == Ended(A, answered=True, stored=False)
        assert (policy.snapshot().live_keys, policy.snapshot().tombstones) == (0, 1)

    def test_a_newcomer_waits_within_its_own_deadline(self, policy: Policy) -> None:
        """When that passes, it has ended without having begun."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k", timeout_s=5.0), now=10.0)
        late = policy.deadline_passed(DeadlinePassed(B), now=15.0)
        assert late == Expire(B, Limit.CLIENT, timeout_s=5.0, elapsed_s=5.0, started=False)

    def test_a_third_can_take_its_place(self, policy: Policy) -> None:
        """The owner is fenced already, and has its answer."""
        policy.arrive(a_call(A, key="k"), now=0.0)
        policy.arrive(a_call(B, key="k"), now=10.0)
        policy.cancel(CancelAsked(SessionId("s"), RequestId("r2")), now=11.0)
        fence = fence_of(policy.arrive(a_call(C, key="k"), now=11.0))
        assert fence == Fence(A, superseded_by=RequestId("r3"), started=True, answered=True)
        assert end(policy, A, now=12.0).starts == C


class TestAdvice:
    """In mode `residual`, with calls of 20 s, so that one that is admitted at second 0 is expected to end at 20."""

    @pytest.fixture
    def advised(self) -> Policy:
        """Two sessions with one call each, one analyze at a time; guesses are exactly 20 s."""
        advice = Advice(mode=AdviceMode.RESIDUAL, quantile=0.5, expected_short_s=20.0)
        return a_policy(advice=advice, caps=Caps(session=1, tools={"analyze": 1}))

    def test_a_slot_that_passes_on_is_free_when_the_successor_ends(self, advised: Policy) -> None:
        """The end of the fenced call frees nothing that others could have."""
        advised.arrive(a_call(A, key="k"), now=0.0)
        assert refused(advised.arrive(a_call(C, session="u"), now=10.0)).retry_after_s == 10.0
        advised.arrive(a_call(B, key="k"), now=10.0)
        assert refused(advised.arrive(a_call(C, session="u"), now=10.0)).retry_after_s == 20.0

    def test_but_for_slots_that_the_successor_does_not_need(self, advised: Policy) -> None:
        """The fenced call's session gets its slot at the end of the fenced call."""
        advised.arrive(a_call(A, key="k"), now=0.0)
        advised.arrive(a_call(B, key="k", session="t"), now=10.0)
        assert refused(advised.arrive(a_call(C, tool="x"), now=10.0)).retry_after_s == 10.0

    def test_once_the_successor_has_gone_the_end_counts_again(self, advised: Policy) -> None:
        """It is estimated anew: after 12 of 15 to 25 s, half of those are over at 20."""
        advised.arrive(a_call(A, key="k"), now=0.0)
        advised.arrive(a_call(B, key="k", session="t"), now=10.0)
        advised.cancel(CancelAsked(SessionId("t"), RequestId("r2")), now=12.0)
        assert refused(advised.arrive(a_call(C, session="u"), now=12.0)).retry_after_s == 8.0

    def test_in_a_chain_too(self, advised: Policy) -> None:
        """The last newcomer needs the first one's session again, the one between did not."""
        advised.arrive(a_call(A, key="k", session="s"), now=0.0)
        advised.arrive(a_call(B, key="k", session="t"), now=10.0)
        advised.arrive(a_call(C, key="k", session="s"), now=20.0)
        assert refused(advised.arrive(a_call(D, tool="x"), now=20.0)).retry_after_s == 20.0
        advised.arrive(a_call(E, key="k", session="t"), now=30.0)
        assert refused(advised.arrive(a_call(D, tool="x"), now=30.0)).retry_after_s == 1.0
