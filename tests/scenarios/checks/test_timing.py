"""Rules about time: at the bound, beyond it, and what excuses a breach. The time scale is 1 unless a test says else."""

from typing import Any

import pytest

from scenarios.checks import budgets, heartbeats, timing
from scenarios.checks.registry import Check, Finding
from scenarios.events import AnyEvent, Frame
from scenarios.history import Body
from tests.scenarios.checks.histories import (
    ack,
    daemon_call,
    ended,
    exchange,
    execution,
    fault,
    health,
    heartbeat,
    history,
    lag,
    opened,
    process,
    received,
    refusal,
    result,
    sent,
)


def summary(finding: Finding) -> tuple[int, int, int]:
    """Return cases, breaches, and breaches that a stall explains."""
    return finding.judged, len(finding.violations), finding.stalled


class TestFirstAnswer:
    def late(self, after_s: float = 0.26, **fields: Any) -> list[AnyEvent]:
        """Return an exchange whose ack comes so long after the request."""
        return [opened(**fields), sent(0), ack(after_s), result(10)]

    def test_a_late_ack_is_flagged(self) -> None:
        """More than 250 ms on the wall breaks the rule."""
        assert summary(timing.first_answer(history(*self.late()))) == (1, 1, 0)

    def test_the_bound_itself_is_kept(self) -> None:
        """250 ms are allowed."""
        assert summary(timing.first_answer(history(*self.late(0.25)))) == (1, 0, 0)

    def test_the_bound_is_on_the_wall(self) -> None:
        """At a time scale of 0.05, five unscaled seconds are 250 ms."""
        assert summary(timing.first_answer(history(*self.late(5.0), time_scale=0.05))) == (1, 0, 0)
        assert summary(timing.first_answer(history(*self.late(5.1), time_scale=0.05))) == (1, 1, 0)

    def test_silence_is_flagged(self) -> None:
        """No answer at all breaks the rule once the bound has passed."""
        assert summary(timing.first_answer(history(opened(), sent(0), *exchange(1.0, "r-2")))) == (2, 1, 0)

    def test_only_witnesses_are_judged(self) -> None:
        """A proxy may delay what it passes on."""
        assert summary(timing.first_answer(history(*self.late(witness=False)))) == (0, 0, 0)

    def test_a_stall_explains_it(self) -> None:
        """While the machine stood still, lateness says nothing."""
        assert summary(timing.first_answer(history(*self.late(), lag(0.2)))) == (1, 0, 1)

    def test_an_ended_connection_excuses_silence(self) -> None:
        """Who hung up gets no answer."""
        events = [opened(), sent(0), ended(0.1), *exchange(1.0, "r-2", connection=2)]
        assert not timing.first_answer(history(*events)).violations

    def test_a_stopped_daemon_is_not_judged(self) -> None:
        """While it is stopped by a signal, the daemon cannot answer."""
        events = [*self.late(5.0), *fault("sigstop", -1, 4.9, link="daemon")]
        assert summary(timing.first_answer(history(*events))) == (0, 0, 0)


class TestRefusedAtOnce:
    def refused(self, after_s: float, status: int = 429, **fields: Any) -> list[AnyEvent]:
        """Return a call that is refused so long after it was sent."""
        return [sent(0), refusal(after_s, status=status, **fields)]

    @pytest.mark.parametrize("status", [429, 409])
    def test_a_hidden_queue_is_flagged(self, status: int) -> None:
        """A refusal after more than 250 ms breaks the rule."""
        assert summary(timing.refused_at_once(history(opened(), *self.refused(0.26, status)))) == (1, 1, 0)
        assert summary(timing.refused_at_once(history(opened(), *self.refused(0.25, status)))) == (1, 0, 0)

    def test_a_proxy_is_allowed_four_times_the_bound(self) -> None:
        """A queue lasts for as long as calls do, which is more."""
        assert summary(timing.refused_at_once(history(*self.refused(1.0)))) == (1, 0, 0)
        assert summary(timing.refused_at_once(history(*self.refused(1.1)))) == (1, 1, 0)

    def test_a_link_with_a_fault_is_not_timed(self) -> None:
        """Its advice is judged all the same."""
        assert summary(timing.refused_at_once(history(*self.refused(9.0), *fault("slow", -1, 10)))) == (1, 0, 0)

    @pytest.mark.parametrize("advice", [None, 0.0, -1.0])
    def test_advice_without_sense_is_flagged(self, advice: float | None) -> None:
        """A 429 says when to come again."""
        assert summary(timing.refused_at_once(history(*self.refused(0.01, retry_after_s=advice)))) == (1, 1, 0)

    def test_a_409_needs_no_advice(self) -> None:
        """It names the live call, which can be attached to."""
        assert summary(timing.refused_at_once(history(*self.refused(0.01, 409, retry_after_s=None)))) == (1, 0, 0)

    @pytest.mark.parametrize(("slow", "breaches"), [(1, 0), (3, 3)])
    def test_the_p99_of_many_is_50_ms(self, slow: int, breaches: int) -> None:
        """Of 200 refusals two may be slower than 50 ms; a third breaks the rule."""
        events = [
            event
            for number in range(200)
            for event in (
                sent(number, request_id=f"r-{number}"),
                refusal(number + (0.06 if number < slow else 0.01), f"r-{number}"),
            )
        ]
        assert summary(timing.refused_at_once(history(opened(), *events))) == (200, breaches, 0)


class TestDeadlineKept:
    def at_client(self, answered_at: float, **fields: Any) -> list[AnyEvent]:
        """Return a call with 10 s to live that is answered at that moment."""
        return [opened(), sent(-0.01), ack(0, timeout_s=10.0), result(answered_at, **fields)]

    @pytest.mark.parametrize("status", [504, None])
    def test_a_late_answer_is_flagged(self, status: int | None) -> None:
        """More than 250 ms after the deadline no answer of any kind is right."""
        assert summary(timing.deadline_kept(history(*self.at_client(10.3, status=status)))) == (1, 1, 0)

    def test_in_time_is_right(self) -> None:
        """250 ms after the deadline are allowed."""
        assert summary(timing.deadline_kept(history(*self.at_client(10.25, status=504)))) == (1, 0, 0)

    def test_calls_that_end_before_are_no_case(self) -> None:
        """Only a deadline that was reached shows anything."""
        assert summary(timing.deadline_kept(history(*self.at_client(9.9)))) == (0, 0, 0)

    def test_no_answer_is_flagged(self) -> None:
        """A tool that ignores its end must not keep the call from being answered."""
        events = [opened(), sent(0), ack(0.01, timeout_s=10.0), *exchange(20.0, "r-2")]
        assert summary(timing.deadline_kept(history(*events))) == (1, 1, 0)

    def test_the_daemons_own_stamps_count(self) -> None:
        """They say it without any link between."""
        steps = [daemon_call(0, "admitted", timeout_s=10.0), daemon_call(11, "answered", outcome="timeout", status=504)]
        assert summary(timing.deadline_kept(history(*steps))) == (1, 1, 0)

    def test_a_fault_on_the_link_is_not_judged(self) -> None:
        """What comes late through a slow link says nothing about the daemon."""
        events = [sent(0), ack(0.01, timeout_s=10.0), result(12, status=504), *fault("slow", 5, 20)]
        assert summary(timing.deadline_kept(history(*events))) == (0, 0, 0)

    def test_a_lost_connection_is_not_judged(self) -> None:
        """Nobody was there to get the answer."""
        events = [sent(0), ack(0.01, timeout_s=10.0), ended(5), *exchange(20.0, "r-2", connection=2)]
        assert summary(timing.deadline_kept(history(*events))) == (0, 0, 0)


class TestHealthTrue:
    def test_a_wrong_figure_is_flagged(self) -> None:
        """What health counts must be what the daemon's log has in flight."""
        steps = [daemon_call(1, "admitted"), daemon_call(9, "stopped")]
        assert summary(timing.health_true(history(*steps, health(5, total=1)))) == (1, 0, 0)
        assert summary(timing.health_true(history(*steps, health(5, total=2)))) == (1, 1, 0)
        assert summary(timing.health_true(history(*steps, health(9.5, total=0)))) == (1, 0, 0)

    @pytest.mark.parametrize("figures", [{"tools": {"analyze": 0}}, {"providers": {"GLM": 2}}, {"tools": {"chat": 1}}])
    def test_figures_by_tool_and_provider_count(self, figures: dict[str, Any]) -> None:
        """Each pool is compared with its own calls."""
        events = [daemon_call(1, "admitted"), health(5, total=1, **figures)]
        assert summary(timing.health_true(history(*events))) == (1, 1, 0)

    def test_a_change_meanwhile_allows_both(self) -> None:
        """Between question and answer the figure may change."""
        for total in (0, 1):
            events = [daemon_call(5, "admitted"), health(5.03, total=total)]
            assert summary(timing.health_true(history(*events))) == (1, 0, 0)

    def test_a_call_that_waits_for_its_keys_owner_holds_nothing_yet(self) -> None:
        """It gets the owner's slots when the owner's work has stopped."""
        takeover = [daemon_call(1, "admitted"), daemon_call(3, "admitted", "r-2", waits=True)]
        for answer in (health(5, total=1), health(9, total=1)):
            events = [*takeover, answer, daemon_call(7, "stopped")]
            assert summary(timing.health_true(history(*events))) == (1, 0, 0)
        assert summary(timing.health_true(history(*takeover, health(5, total=2)))) == (1, 1, 0)

    def test_a_new_daemon_holds_nothing(self) -> None:
        """What was in flight when a daemon was killed is gone."""
        events = [
            daemon_call(1, "admitted"),
            process(2, "ended"),
            process(3, "started", boot=2),
            daemon_call(4, "admitted", "r-2", boot=2),
            health(6, total=1),
        ]
        assert summary(timing.health_true(history(*events))) == (1, 0, 0)

    def test_a_slow_answer_is_flagged(self) -> None:
        """Of few answers none may take more than 250 ms."""
        finding = timing.health_true(history(daemon_call(0, "refused"), health(5, took_s=0.26)))
        assert summary(finding) == (1, 1, 0)

    def test_without_the_daemons_log_it_is_undecided(self) -> None:
        """Quick answers alone do not show that the figures are true."""
        finding = timing.health_true(history(health(5)))
        assert summary(finding) == (1, 0, 0)
        assert finding.missing


class TestHeartbeats:
    def beats(self, *moments: float, end: float = 20.0) -> list[Frame]:
        """Return a call with heartbeats at these moments."""
        return [sent(0), ack(0), *(heartbeat(at) for at in moments), result(end)]

    @pytest.mark.parametrize("moments", [(5, 11.2, 15), (7, 12, 17), (5, 10)], ids=["between", "first", "last"])
    def test_a_long_silence_is_flagged(self, moments: tuple[float, ...]) -> None:
        """1.1 intervals and what the machine may need: beyond 6.05 s it breaks the rule."""
        assert len(heartbeats.heartbeats(history(*self.beats(*moments))).violations) == 1

    def test_the_bound_itself_is_kept(self) -> None:
        """5 s x 1.1, and 10 % more."""
        assert not heartbeats.heartbeats(history(*self.beats(6.05, 12.1, 18.15))).violations

    def test_virtual_time_allows_nothing_more(self) -> None:
        """Nothing is late there."""
        simulated = history(*self.beats(5.6, 10, 15), body=Body.SIMULATED)
        assert len(heartbeats.heartbeats(simulated).violations) == 1

    def test_on_the_wall_150_ms_are_allowed(self) -> None:
        """At a time scale of 0.05 they are 3 s."""
        fast: dict[str, Any] = {"time_scale": 0.05}
        assert not heartbeats.heartbeats(history(*self.beats(8.5, 17.0), **fast)).violations
        assert len(heartbeats.heartbeats(history(*self.beats(8.6, 17.0), **fast)).violations) == 1

    def test_an_interval_above_the_limit_does_not_excuse_silence(self) -> None:
        """8 s are the most, whatever the setting."""
        slow = history(*self.beats(9, 17), timeouts_s={"heartbeat interval": 10.0})
        assert len(heartbeats.heartbeats(slow).violations) == 1

    def test_a_call_that_falls_silent_for_good_is_flagged(self) -> None:
        """Up to the run's end it should have been heard of."""
        events = [opened(), sent(0), ack(0), *exchange(20.0, "r-2")]
        assert len(heartbeats.heartbeats(history(*events)).violations) == 1

    def test_a_fault_on_the_link_is_not_judged(self) -> None:
        """A slow link delays heartbeats, too."""
        assert not heartbeats.heartbeats(history(*self.beats(5, 15), *fault("slow", 8, 12))).violations

    def test_a_stall_explains_it(self) -> None:
        """While the machine stood still nothing was sent."""
        finding = heartbeats.heartbeats(history(*self.beats(5, 12, 17), lag(12, wall_s=2.0)))
        assert summary(finding) == (4, 0, 1)

    def test_elapsed_must_grow(self) -> None:
        """A heartbeat that repeats its elapsed time tells nothing."""
        events = [sent(0), ack(0), heartbeat(5, 5.0), heartbeat(10, 5.0), result(12)]
        assert len(heartbeats.heartbeats(history(*events)).violations) == 1

    @pytest.mark.parametrize(
        ("events", "breaches"),
        [
            ([result(5, status=499, code="CANCELLED")], 1),
            ([sent(4, "cancel"), result(5, status=499, code="CANCELLED")], 0),
            ([result(5, status=504, code="STEP_TIMEOUT")], 1),
            ([sent(4, "cancel", "c-9", connection=2), result(5, status=499, code="CANCELLED")], 0),
        ],
        ids=["cancelled unasked", "cancelled", "a timeout long before", "cancelled by another who attached"],
    )
    def test_a_heartbeat_must_not_end_the_work(self, events: list[AnyEvent], breaches: int) -> None:
        """A call ends because it is done, was cancelled, or has no time left."""
        assert len(heartbeats.heartbeats(history(sent(0), ack(0), *events)).violations) == breaches

    @pytest.mark.parametrize(
        ("outcome", "left_at", "breaches"),
        [("ok", 5.0, 1), ("error", 5.0, 1), ("timeout", 5.0, 0), ("cancelled", 5.0, 0), ("ok", 179.0, 0)],
    )
    def test_an_execution_left_for_no_reason_is_flagged(self, outcome: str, left_at: float, breaches: int) -> None:
        """The daemon leaves its provider only if the call was cut short, or its time is nearly over."""
        events = [
            *exchange(),
            daemon_call(0.01, "admitted"),
            execution(0.02, "start"),
            execution(left_at, "cancelled"),
            daemon_call(left_at + 0.1, "answered", outcome=outcome),
        ]
        assert len(heartbeats.heartbeats(history(*events)).violations) == breaches


class TestBudgetShrinks:
    @pytest.mark.parametrize(
        "events",
        [
            [sent(0, timeout_s=60.0), ack(0, timeout_s=61.0)],
            [sent(0), ack(0, timeout_s=100.0), heartbeat(5, remaining_s=96.0)],
            [sent(0), ack(0), heartbeat(5, remaining_s=100.0), heartbeat(10, remaining_s=101.0)],
            [sent(0), ack(0), result(99, status=504, code="TIMEOUT", elapsed_s=99.0)],
            [sent(0), ack(0), daemon_call(0, "admitted", timeout_s=170.0)],
        ],
        ids=["grants more", "promises more", "remaining grows", "ends before", "another one in the log"],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """A hop that gives more than it has, or another time than it said, breaks the rule."""
        assert len(budgets.budget_shrinks(history(opened(), *events)).violations) == 1

    @pytest.mark.parametrize(
        "events",
        [
            exchange(),
            [sent(0, timeout_s=60.0), ack(0, timeout_s=60.0), heartbeat(5, remaining_s=55.0)],
            [sent(0), ack(0), result(180.1, status=504, code="TIMEOUT", elapsed_s=180.0)],
            [sent(0), ack(0), result(99, status=504, code="EXPERT_TIMEOUT", elapsed_s=99.0)],
            [sent(0), ack(0), daemon_call(0, "admitted", timeout_s=180.0)],
        ],
        ids=["a call", "the whole budget", "the deadline", "an inner budget", "the same one in the log"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """Equal is as good as less, and inner budgets may end first."""
        finding = budgets.budget_shrinks(history(opened(), *events))
        assert finding.judged
        assert not finding.violations


@pytest.mark.parametrize(
    "check",
    [
        timing.first_answer,
        timing.refused_at_once,
        timing.deadline_kept,
        timing.health_true,
        heartbeats.heartbeats,
        budgets.budget_shrinks,
    ],
)
def test_no_events_decide_nothing(check: Check) -> None:
    """Without events each rule has no case, and says what is missing."""
    finding = check(history())
    assert finding.judged == 0
    assert finding.missing


def test_a_list_of_tools_is_a_request_too() -> None:
    """Whatever was asked for, the first answer comes at once."""
    events = [opened(), sent(0, "list_tools"), received(0.3, "list_tools_res")]
    assert summary(timing.first_answer(history(*events))) == (1, 1, 0)
