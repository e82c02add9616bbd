"""Whose budget a call has, and how long its key is fresh."""

import pytest

from reference_daemon.policy.config import Timeouts, Ttls
from reference_daemon.policy.deadlines import call_budget, expert_request_s, expert_step_s, fresh_s
from reference_daemon.policy.durations import DurationWindow
from reference_daemon.policy.events import CallKind, Limit


class TestBudget:
    @pytest.mark.parametrize(
        ("kind", "budget"),
        [
            (CallKind.CHAT, (180.0, Limit.CALL)),
            (CallKind.LOCAL, (180.0, Limit.CALL)),
            (CallKind.STEP, (120.0, Limit.STEP)),
            (CallKind.EXPERT, (120.0, Limit.EXPERT)),
        ],
    )
    def test_each_kind_has_its_own(self, kind: CallKind, budget: tuple[float, Limit]) -> None:
        """A step has the step's budget, an expert step its own, everything else the ceiling."""
        assert call_budget(kind, Timeouts(), None) == budget

    @pytest.mark.parametrize(
        ("client_s", "budget"),
        [(119.0, (119.0, Limit.CLIENT)), (120.0, (120.0, Limit.STEP)), (121.0, (120.0, Limit.STEP))],
    )
    def test_nobody_works_longer_than_the_client_waits(self, client_s: float, budget: tuple[float, Limit]) -> None:
        """The client's budget applies where it is smaller; on a tie the daemon's own is named."""
        assert call_budget(CallKind.STEP, Timeouts(), client_s) == budget

    def test_no_step_outlives_the_ceiling(self) -> None:
        """On a tie the ceiling is named, and a client cannot raise it."""
        assert call_budget(CallKind.STEP, Timeouts(call_s=120.0), None) == (120.0, Limit.CALL)
        assert call_budget(CallKind.STEP, Timeouts(call_s=100.0), None) == (100.0, Limit.CALL)
        assert call_budget(CallKind.CHAT, Timeouts(), 1e9) == (180.0, Limit.CALL)


class TestExpertStep:
    @pytest.mark.parametrize(
        ("call_s", "expected_s"), [(180.0, 120.0), (125.0, 120.0), (124.0, 119.0), (10.5, 5.5), (10.0, 5.0), (9.0, 5.0)]
    )
    def test_it_leaves_room_for_its_answer(self, call_s: float, expected_s: float) -> None:
        """Expert and buffer, 90 + 30 s, but 5 s less than the ceiling, and 5 s at least."""
        assert expert_step_s(Timeouts(call_s=call_s)) == expected_s

    def test_a_ceiling_below_the_floor_still_holds(self) -> None:
        """With a ceiling of 4 s the expert step's floor of 5 s does not apply."""
        assert call_budget(CallKind.EXPERT, Timeouts(call_s=4.0), None) == (4.0, Limit.CALL)


class TestFreshness:
    def test_without_durations_a_key_is_fresh_for_the_call_timeout(self) -> None:
        """There is no P95 yet."""
        assert fresh_s(Ttls(), 180.0, None) == 180.0

    @pytest.mark.parametrize(("p95_s", "expected_s"), [(40.0, 80.0), (90.0, 180.0), (91.0, 180.0)])
    def test_it_is_twice_the_p95(self, p95_s: float, expected_s: float) -> None:
        """And never more than the call timeout."""
        window = DurationWindow()
        window.add(p95_s)
        assert fresh_s(Ttls(), 180.0, window) == expected_s

    def test_a_setting_overrides_both(self) -> None:
        """Also the bound by the call timeout."""
        window = DurationWindow()
        window.add(40.0)
        assert fresh_s(Ttls(inflight_s=500.0), 180.0, window) == 500.0


class TestExpertRequest:
    def test_it_gets_the_experts_budget_while_there_is_time(self) -> None:
        """With time enough, the provider request may take the whole budget."""
        assert expert_request_s(90.0, 180.0) == 90.0
        assert expert_request_s(90.0, 92.0) == 90.0

    def test_the_end_of_the_call_is_kept_for_the_reply(self) -> None:
        """Two seconds of the call stay for its answer, so that a late expert does not make the call late."""
        assert expert_request_s(90.0, 60.0) == 58.0

    def test_in_the_last_seconds_it_gets_half(self) -> None:
        """With less than four seconds left, the request gets half of them: never nothing."""
        assert expert_request_s(90.0, 3.0) == 1.5
        assert expert_request_s(90.0, 0.0) == 0.0
