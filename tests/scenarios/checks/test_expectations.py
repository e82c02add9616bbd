"""Expectations: every metric, its filters, and what leaves it undecided."""

import typing
from collections.abc import Sequence
from typing import Any

import pytest

from scenarios.checks.expectations import judge_metric
from scenarios.checks.metrics import METRICS
from scenarios.history import Call, Outcome, TimeoutLayer
from scenarios.model import Expectation, Metric
from scenarios.verdict import ExpectationResult, Verdict
from tests.scenarios.checks.histories import (
    TRACE,
    a_call,
    a_scenario,
    daemon_call,
    exchange,
    execution,
    fault,
    history,
    log_finding,
    log_read,
    process,
    refusal,
    result,
    sent,
)

HELD, VIOLATED, UNDECIDED = Verdict.HELD, Verdict.VIOLATED, Verdict.UNDECIDED


def judged(
    expectation: dict[str, Any], events: Sequence[Any] = (), calls: Sequence[Call] = (), **run: Any
) -> ExpectationResult:
    """Judge one expectation."""
    return judge_metric(a_scenario(), history(*events, calls=calls, **run), Expectation.model_validate(expectation))


def refused(**changes: Any) -> Call:
    """Return a call that was refused for good."""
    known: dict[str, Any] = {
        "outcome": Outcome.OVER_CAPACITY,
        "status": 429,
        "provider": None,
        "acked_at": None,
        "first_heartbeat_s": None,
        "max_heartbeat_gap_s": None,
        "attempts": 3,
        "service_s": None,
        "latency_s": 3.0,
    }
    return a_call(**(known | changes))


def late(layer: TimeoutLayer = TimeoutLayer.CLIENT, **changes: Any) -> Call:
    """Return a call that timed out."""
    return a_call(**({"outcome": Outcome.TIMEOUT, "timeout_layer": layer, "latency_s": 180.0} | changes))


def endless(**changes: Any) -> Call:
    """Return a call that never ended."""
    return a_call(**({"outcome": Outcome.UNKNOWN, "finished_at": None, "latency_s": None, "service_s": None} | changes))


def test_every_metric_of_the_model_is_measured() -> None:
    """A metric that nobody measures could not be judged."""
    assert set(METRICS) == set(typing.get_args(Metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("limit", [{"max": 0}, {"min": 0}, {"max": 1e9}])
def test_an_empty_run_decides_no_metric(metric: str, limit: dict[str, float]) -> None:
    """No data never passes, and never fails either."""
    assert judged({"metric": metric, "outcome": None, **limit}).verdict is UNDECIDED


class TestRates:
    def test_success_rate(self) -> None:
        """The share of answered calls, replays included, with its interval."""
        calls = [a_call()] * 18 + [a_call(outcome=Outcome.REPLAYED), refused()]
        seen = judged({"metric": "success_rate", "min": 0.95}, calls=calls)
        assert (seen.value, seen.verdict, seen.n, seen.limit) == (0.95, HELD, 20, "at least 0.95")
        assert seen.low is not None
        assert seen.high is not None
        assert seen.low < 0.95 < seen.high

    def test_a_failed_rate_says_what_happened(self) -> None:
        """The commonest outcomes come first, and calls without an end are named."""
        calls = [a_call()] * 12 + [refused()] * 20 + [late()] * 8 + [endless()]
        seen = judged({"metric": "success_rate", "min": 0.5}, calls=calls)
        assert seen.verdict is VIOLATED
        assert seen.reason.startswith(
            "12 of 41 calls answered; 20 over_capacity, 8 timeout (client), 1 never ended; "
            "the refused calls were sent 3 times (all that a client makes)"
        )

    def test_it_says_why_calls_were_refused(self) -> None:
        """Told to wait for a second where calls take 45, three attempts are over too soon."""
        calls = [a_call(service_s=45.0, trace_id="a" * 32)] * 3 + [refused()] * 6
        events = [sent(0), refusal(0.01, retry_after_s=1.0)]
        seen = judged({"metric": "success_rate", "min": 0.8}, events, calls)
        assert "each time told to wait 1 s, while a call that is answered takes 45 s (medians)" in seen.reason

    def test_the_scenarios_own_words_end_a_red_reason(self) -> None:
        """`why` is a sentence for whoever reads it."""
        red = judged({"metric": "success_rate", "min": 1, "why": "This stage is a smoke test."}, calls=[refused()])
        assert red.reason.endswith("This stage is a smoke test.")

    def test_calls_that_the_runs_stop_cut_off_are_not_judged(self) -> None:
        """They say nothing about the daemon."""
        seen = judged({"metric": "success_rate", "min": 1}, calls=[a_call(), endless()], stopped_by="Ctrl-C")
        assert (seen.value, seen.n) == (1.0, 1)

    @pytest.mark.parametrize(
        ("expectation", "value"),
        [
            ({"metric": "outcome_rate", "outcome": "over_capacity"}, 0.5),
            ({"metric": "outcomes", "outcome": "over_capacity"}, 2.0),
            ({"metric": "timeout_rate"}, 0.25),
            ({"metric": "timeout_rate", "layer": "daemon"}, 0.0),
            ({"metric": "timeouts", "layer": "client"}, 1.0),
            ({"metric": "calls"}, 4.0),
            ({"metric": "calls", "outcome": "ok"}, 1.0),
        ],
    )
    def test_counts_and_shares(self, expectation: dict[str, Any], value: float) -> None:
        """Of four calls two are refused and one is late."""
        calls = [a_call(), refused(), refused(), late()]
        seen = judged({**expectation, "max": 100}, calls=calls)
        assert (seen.value, seen.verdict, seen.n) == (value, HELD, 4)

    @pytest.mark.parametrize("outcome", [None, "over-capacity"])
    def test_an_outcome_that_does_not_exist_is_undecided(self, outcome: str | None) -> None:
        """None would ever be found, so a limit above would always be kept."""
        seen = judged({"metric": "outcomes", "outcome": outcome, "max": 0}, calls=[a_call()])
        assert seen.verdict is UNDECIDED
        assert "over_capacity" in seen.reason

    def test_a_client_that_cannot_tell_timed_out_all_the_same(self) -> None:
        """Its patience ended, whatever became of the call."""
        calls = [late(outcome=Outcome.UNKNOWN)]
        assert judged({"metric": "timeouts", "max": 0}, calls=calls).verdict is VIOLATED


class TestFilters:
    @pytest.mark.parametrize(
        ("filters", "n"),
        [
            ({"phase": "steady"}, 2),
            ({"tool": "chat"}, 1),
            ({"during": "slow"}, 1),
            ({"phase": "steady", "tool": "chat"}, 0),
        ],
    )
    def test_calls_are_chosen(self, filters: dict[str, str], n: int) -> None:
        """Filters narrow together; what they leave empty is undecided."""
        calls = [a_call(), a_call(faults=("slow",)), a_call(phase="later", tool="chat")]
        seen = judged({"metric": "calls", "max": 9, **filters}, calls=calls)
        assert seen.n == n
        assert seen.verdict is (HELD if n else UNDECIDED)

    def test_a_refused_call_counts_for_its_tools_provider(self) -> None:
        """It names none itself, and left out it would flatter the provider's rate."""
        calls = [a_call(), refused(), a_call(tool="chat", provider="KIMI")]
        seen = judged({"metric": "success_rate", "provider": "GLM", "min": 1}, calls=calls)
        assert (seen.value, seen.n) == (0.5, 2)

    @pytest.mark.parametrize(
        "expectation",
        [
            {"metric": "success_rate", "scope": "global"},
            {"metric": "success_rate", "outcome": "ok"},
            {"metric": "refusals", "layer": "client"},
            {"metric": "daemon_errors", "phase": "steady"},
        ],
    )
    def test_a_filter_that_says_nothing_is_undecided(self, expectation: dict[str, Any]) -> None:
        """Ignored, it would judge something else than was asked."""
        events = [*exchange(), log_read()]
        seen = judged({**expectation, "min": 0}, events, [a_call()])
        assert seen.verdict is UNDECIDED
        assert "cannot be filtered" in seen.reason

    def test_the_name_shows_the_filters(self) -> None:
        """Two limits on one metric are told apart."""
        seen = judged({"metric": "p95_s", "phase": "steady", "tool": "analyze", "min": 1, "max": 3})
        assert (seen.name, seen.limit) == ("p95_s (phase steady, tool analyze)", "from 1 to 3")


class TestQuantiles:
    def latencies(self, number: int) -> list[Call]:
        """Return calls that took 1 s, 2 s, and so on."""
        return [a_call(latency_s=float(each), service_s=float(each)) for each in range(1, number + 1)]

    @pytest.mark.parametrize(
        ("metric", "value"),
        [("p50_s", 50.0), ("p95_s", 95.0), ("p99_s", 99.0), ("max_s", 100.0), ("service_p95_s", 95.0)],
    )
    def test_values(self, metric: str, value: float) -> None:
        """A quantile is a latency that was seen."""
        seen = judged({"metric": metric, "max": value}, calls=self.latencies(100))
        assert (seen.value, seen.verdict) == (value, HELD)
        assert judged({"metric": metric, "max": value - 0.5}, calls=self.latencies(100)).verdict is VIOLATED

    @pytest.mark.parametrize(("metric", "least"), [("p50_s", 2), ("p95_s", 20), ("p99_s", 100), ("service_p95_s", 20)])
    def test_too_few_calls_are_undecided(self, metric: str, least: int) -> None:
        """With fewer there is no call beyond the quantile."""
        assert judged({"metric": metric, "max": 999}, calls=self.latencies(least)).verdict is HELD
        few = judged({"metric": metric, "max": 999}, calls=self.latencies(least - 1))
        assert few.verdict is UNDECIDED
        assert few.value is not None

    def test_the_scenario_may_ask_for_fewer(self) -> None:
        """`least_calls` is its own risk; or for more."""
        calls = self.latencies(5)
        assert judged({"metric": "p95_s", "max": 5, "least_calls": 5}, calls=calls).verdict is HELD
        assert judged({"metric": "max_s", "max": 5, "least_calls": 6}, calls=calls).verdict is UNDECIDED

    def test_calls_without_an_end_do_not_flatter(self) -> None:
        """A limit that holds only without them is not held."""
        calls = self.latencies(100)
        assert judged({"metric": "max_s", "max": 100}, calls=[*calls, endless()]).verdict is UNDECIDED
        seen = judged({"metric": "p95_s", "max": 96}, calls=[*calls, endless()])
        assert (seen.value, seen.verdict) == (95.0, HELD)
        assert "1 never ended" in seen.reason
        assert judged({"metric": "p95_s", "max": 96}, calls=calls + [endless()] * 20).verdict is UNDECIDED

    def test_the_interval_is_one_of_order_statistics(self) -> None:
        """Of 100 calls the P50 lies between the 40th and the 61st, in 95 of 100 runs."""
        seen = judged({"metric": "p50_s", "max": 999}, calls=self.latencies(100))
        assert (seen.low, seen.high) == (40.0, 61.0)
        top = judged({"metric": "p99_s", "max": 999}, calls=self.latencies(100))
        assert top.high is None


class TestAttemptsAndHeartbeats:
    @pytest.mark.parametrize(
        ("metric", "value"),
        [
            ("attempts_mean", 2.0),
            ("attempts_max", 3.0),
            ("max_heartbeat_gap_s", 5.5),
            ("first_heartbeat_max_s", 5.0),
            ("calls_without_heartbeat", 0.0),
        ],
    )
    def test_values(self, metric: str, value: float) -> None:
        """A refused call counts for attempts; heartbeats belong to admitted ones."""
        calls = [a_call(max_heartbeat_gap_s=5.5), refused()]
        assert judged({"metric": metric, "max": value}, calls=calls).value == value

    def test_a_silent_call_is_counted(self) -> None:
        """More than two intervals without a heartbeat; also if it never ended."""
        silent = {"first_heartbeat_s": None}
        calls = [a_call(**silent), a_call(**silent, finished_at=10.0), endless(**silent)]
        seen = judged({"metric": "calls_without_heartbeat", "max": 0}, calls=calls)
        assert (seen.value, seen.n, seen.verdict) == (2.0, 2, VIOLATED)

    def test_short_calls_need_none(self) -> None:
        """Where no call was long enough there is nothing to judge."""
        calls = [a_call(finished_at=5.0, first_heartbeat_s=None)]
        assert judged({"metric": "calls_without_heartbeat", "max": 0}, calls=calls).verdict is UNDECIDED


class TestEvents:
    REFUSED = (sent(0), refusal(0.01), refusal(0.02, scope="tool:analyze"), refusal(0.03, scope="provider:GLM"))

    @pytest.mark.parametrize(
        ("scope", "value"),
        [(None, 3.0), ("global", 1.0), ("tool", 1.0), ("tool:analyze", 1.0), ("tool:chat", 0.0), ("session", 0.0)],
    )
    def test_refusals(self, scope: str | None, value: float) -> None:
        """Answers 429, of a scope; `tool` means any tool's."""
        seen = judged({"metric": "refusals", "scope": scope, "max": 9}, self.REFUSED, [refused()])
        assert (seen.value, seen.verdict) == (value, HELD)

    def test_no_refusal_among_calls_is_a_zero(self) -> None:
        """The calls are the data."""
        seen = judged({"metric": "refusals", "max": 0}, exchange(), [a_call()])
        assert (seen.value, seen.verdict) == (0.0, HELD)

    def test_the_daemons_log_stands_in_for_frames(self) -> None:
        """A run without frames may have it; without both nobody knows."""
        step = daemon_call(0, "refused", status=429, scope="global")
        assert judged({"metric": "refusals", "max": 9}, [step], [a_call()]).value == 1.0
        assert judged({"metric": "refusals", "max": 9}, [], [a_call()]).verdict is UNDECIDED

    def test_refusals_of_a_phase(self) -> None:
        """An answer belongs to the phase of its call, or of its client."""
        calls = [refused(), refused(phase="later", trace_id="b" * 32, session="c-2")]
        assert judged({"metric": "refusals", "phase": "later", "max": 9}, self.REFUSED, calls).value == 0.0
        assert judged({"metric": "refusals", "phase": "steady", "max": 9}, self.REFUSED, calls).value == 3.0

    def test_duplicates(self) -> None:
        """Answers 409 DUPLICATE; SUPERSEDED is another 409."""
        events = [sent(0), refusal(0.2, status=409), result(1, status=409, code="SUPERSEDED")]
        assert judged({"metric": "duplicates", "min": 1}, events, [a_call()]).value == 1.0
        slowest = judged({"metric": "refused_as_duplicate_max_s", "max": 1}, events, [a_call()])
        assert (slowest.value, slowest.verdict) == (0.2, HELD)

    def test_executions(self) -> None:
        """Those that the provider began, of the chosen calls."""
        events = [execution(1, "start"), execution(2, "end"), execution(3, "refused", None)]
        assert judged({"metric": "executions", "max": 1}, events, [a_call()]).value == 1.0
        assert judged({"metric": "executions", "tool": "analyze", "max": 1}, events, [a_call()]).value == 1.0
        assert judged({"metric": "executions", "tool": "chat", "min": 0}, events, [a_call()]).verdict is UNDECIDED

    def test_retried_success_rate(self) -> None:
        """Of the calls refused at first, those that were answered in the end."""
        calls = [a_call(), refused(trace_id="b" * 32), a_call(trace_id="c" * 32)]
        events = [*self.REFUSED, sent(1), refusal(1.1, trace_id="b" * 32)]
        seen = judged({"metric": "retried_success_rate", "min": 0.5}, events, calls)
        assert (seen.value, seen.n, seen.verdict) == (0.5, 2, HELD)

    def test_call_summaries(self) -> None:
        """A share of the results that were looked at; one that nobody looked at leaves it open."""
        looked = [result(1, summary=True), result(2, "r-2", summary=True)]
        assert judged({"metric": "call_summaries", "min": 1}, looked, [a_call()]).verdict is HELD
        without = [*looked, result(3, "r-3", summary=False)]
        assert judged({"metric": "call_summaries", "min": 1}, without, [a_call()]).verdict is VIOLATED
        unknown = [*looked, result(3, "r-3")]
        assert judged({"metric": "call_summaries", "min": 1}, unknown, [a_call()]).verdict is UNDECIDED

    def test_daemon_errors(self) -> None:
        """Lines of the daemon's own log, once it was read to its end."""
        events = [log_read("daemon-1.log"), log_finding("watchdog", "daemon-1.log"), log_finding("error", "shim.log")]
        seen = judged({"metric": "daemon_errors", "max": 0}, events, [a_call()])
        assert (seen.value, seen.verdict) == (1.0, VIOLATED)
        assert judged({"metric": "daemon_errors", "max": 0}, events[:1], [a_call()]).verdict is HELD
        assert judged({"metric": "daemon_errors", "max": 0}, events[1:], [a_call()]).verdict is UNDECIDED


class TestGoodput:
    def test_per_second_of_the_phase(self) -> None:
        """Five answers in a phase of 100 s."""
        seen = judged({"metric": "goodput_per_s", "phase": "steady", "min": 0.05}, calls=[a_call()] * 5 + [refused()])
        assert (seen.value, seen.verdict) == (0.05, HELD)


class TestRecovery:
    FAULT = tuple(fault("slow", 10, 20))

    def ends(self, *ends: tuple[float, bool]) -> list[Call]:
        """Return calls that ended at these moments, well or not."""
        return [a_call(finished_at=at, outcome=Outcome.OK if ok else Outcome.TIMEOUT) for at, ok in ends]

    def test_from_the_faults_end_to_the_answer_after_the_last_failure(self) -> None:
        """An answer between failures is no recovery."""
        calls = self.ends((15, False), (22, False), (23, True), (25, False), (30, True), (40, True))
        seen = judged({"metric": "recovery_s", "max": 10}, self.FAULT, calls)
        assert (seen.value, seen.verdict) == (10.0, HELD)

    def test_without_a_failure_the_first_answer_counts(self) -> None:
        """It came 2 s after the fault."""
        assert judged({"metric": "recovery_s", "max": 2}, self.FAULT, self.ends((15, False), (22, True))).value == 2.0

    @pytest.mark.parametrize("last", [(30, False), None])
    def test_who_never_recovers_is_violated(self, last: tuple[float, bool] | None) -> None:
        """However long the limit; a call that never ended is a failure, too."""
        calls = [*self.ends((25, True)), *([endless()] if last is None else self.ends(last))]
        seen = judged({"metric": "recovery_s", "max": 999}, self.FAULT, calls)
        assert (seen.value, seen.verdict) == (None, VIOLATED)

    def test_no_call_after_the_fault_decides_nothing(self) -> None:
        """Nobody tried."""
        seen = judged({"metric": "recovery_s", "max": 999}, self.FAULT, self.ends((15, True)))
        assert seen.verdict is UNDECIDED

    def test_a_fault_that_stays_leaves_it_undecided(self) -> None:
        """There is no end to recover from."""
        stays = fault("slow", 10, None)
        assert judged({"metric": "recovery_s", "max": 999}, stays, self.ends((30, True))).verdict is UNDECIDED

    def test_the_daemons_own_end_is_no_fault(self) -> None:
        """A drill ends its daemon when all is over."""
        seen = judged({"metric": "recovery_s", "max": 2}, [*self.FAULT, process(90, "ended")], self.ends((22, True)))
        assert seen.verdict is HELD

    def test_the_named_fault_counts(self) -> None:
        """Another one may end later."""
        events = [*self.FAULT, *fault("later", 25, 50)]
        calls = self.ends((22, True), (60, True))
        assert judged({"metric": "recovery_s", "during": "slow", "max": 2}, events, calls).value == 2.0
        assert judged({"metric": "recovery_s", "max": 10}, events, calls).value == 10.0


def test_traces_are_well_formed() -> None:
    """The histories here use one trace for a call and its frames."""
    assert a_call().trace_id == TRACE
