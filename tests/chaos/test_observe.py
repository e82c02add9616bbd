"""From what a client saw to a row of the history: every moment from the start of the load, nothing made up."""

from collections.abc import Callable

import pytest

from chaos.observe import Intent, summarised, summary_facts, unfinished
from reference_daemon import outcomes, wire
from reference_daemon.client import CallResult
from scenarios import history
from scenarios.history import Call

MakeResult = Callable[..., CallResult]
MakeRow = Callable[..., Call]
TRACE_ID = "0123456789abcdef0123456789abcdef"


class TestMoments:
    def test_count_from_the_start_of_the_run(self, a_row: MakeRow) -> None:
        """The clock's own epoch means nothing to a reader."""
        call = a_row()
        assert (call.intended_at, call.sent_at, call.acked_at, call.finished_at) == (10.0, 10.5, 11.0, 24.0)

    def test_latency_counts_from_the_intended_start(self, a_row: MakeRow) -> None:
        """That the driver sent it half a second late is part of what its user waited."""
        assert a_row().latency_s == 14.0

    def test_a_call_that_was_refused_has_no_admission(self, a_row: MakeRow) -> None:
        """Without an ack there is no first heartbeat and no gap, not a zero."""
        error = wire.Error("OVER_CAPACITY", 429, "full")
        call = a_row(acked_at=None, heartbeats=[], outcome=outcomes.CallOutcome.OVER_CAPACITY, error=error)
        assert (call.acked_at, call.first_heartbeat_s, call.max_heartbeat_gap_s) == (None, None, None)
        assert (call.outcome, call.status) == (history.Outcome.OVER_CAPACITY, 429)

    def test_a_call_that_was_never_sent_has_no_moment_of_sending(self, a_row: MakeRow) -> None:
        """A client that finds no daemon sent nothing."""
        call = a_row(sent_at=None, request_id="")
        assert (call.sent_at, call.request_id) == (None, None)


class TestHeartbeats:
    def test_the_first_counts_from_the_admission(self, a_row: MakeRow) -> None:
        """It is due within one interval of the ack."""
        assert a_row().first_heartbeat_s == 5.0

    @pytest.mark.parametrize(
        ("heartbeats", "gap_s"),
        [([1006.0, 1012.5], 6.5), ([1008.0], 7.0), ([1002.0], 12.0), ([], 13.0)],
        ids=["between two", "before the first", "after the last", "none at all"],
    )
    def test_the_longest_silence_counts_from_ack_to_answer(
        self, a_row: MakeRow, heartbeats: list[float], gap_s: float
    ) -> None:
        """A client that gives up after some silence does not care between which two signs of life it was."""
        assert a_row(heartbeats=heartbeats).max_heartbeat_gap_s == gap_s


class TestSummary:
    def test_names_model_and_provider(self, a_row: MakeRow) -> None:
        """What answered is known from the daemon's own summary."""
        call = a_row()
        assert (call.model, call.provider) == ("glm-4.6", "GLM")

    def test_facts_that_the_daemon_does_not_know_are_left_out(self, a_result: MakeResult) -> None:
        """A dash is no continuation id."""
        assert "continuation id" not in summary_facts(a_result().outputs)

    def test_only_the_last_text_is_the_summary(self, a_result: MakeResult) -> None:
        """A provider may quote one; it would not be the daemon's."""
        assert summary_facts([*a_result().outputs, "and more"]) == {}
        assert summary_facts([]) == {}

    def test_of_another_call_does_not_count(self, a_result: MakeResult) -> None:
        """A summary must name the trace_id of its own call."""
        outputs = a_result().outputs
        assert (summarised(outputs, TRACE_ID), summarised(outputs, "f" * 32), summarised(outputs, None)) == (
            True,
            False,
            False,
        )


class TestOutcomes:
    def test_every_outcome_of_a_client_has_a_name_in_the_history(self, a_row: MakeRow) -> None:
        """The two lists may be made apart, but nothing may fall between them."""
        for outcome in outcomes.CallOutcome:
            assert a_row(outcome=outcome).outcome == outcome.value

    def test_every_layer_that_may_give_up_has_a_name_in_the_history(self, a_row: MakeRow) -> None:
        """The same holds for timeouts."""
        for layer in outcomes.TimeoutLayer:
            assert a_row(timeout_layer=layer).timeout_layer == layer.value

    def test_a_call_without_an_end_is_unknown_and_keeps_what_was_seen(
        self, intent: Intent, a_result: MakeResult
    ) -> None:
        """The drill was stopped: the daemon may have done the work or not."""
        result = a_result(outputs=[], finished_at=0.0)
        call = unfinished(intent, result, start_at=990.0, faults=("client-latency",))
        assert (call.outcome, call.finished_at, call.latency_s) == ("unknown", None, None)
        assert (call.sent_at, call.acked_at, call.attempts, call.max_heartbeat_gap_s) == (10.5, 11.0, 1, 6.5)

    def test_a_call_that_was_not_begun_has_no_key_and_no_moment(self, intent: Intent) -> None:
        """What nobody saw is null."""
        call = unfinished(intent, None, start_at=990.0, faults=())
        assert (call.trace_id, call.intended_at, call.sent_at, call.attempts) == (TRACE_ID, 10.0, None, 0)
        assert (call.call_key_hash, call.request_id, call.max_heartbeat_gap_s) == (None, None, None)

    def test_keeps_the_faults_of_its_time(self, a_row: MakeRow) -> None:
        """A reader can tell calls behind a fault from the others."""
        assert a_row().faults == ("client-latency",)
