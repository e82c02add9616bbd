"""Rules about frames: each with histories that break it, and near misses that do not."""

import pytest

from scenarios.checks import frames
from scenarios.checks.registry import Check
from scenarios.events import AnyEvent
from tests.scenarios.checks.histories import (
    TRACE,
    ack,
    daemon_call,
    ended,
    exchange,
    execution,
    heartbeat,
    history,
    opened,
    received,
    refusal,
    result,
    sent,
)

OTHER_TRACE = "f" * 32


class TestOneTerminal:
    @pytest.mark.parametrize(
        "events",
        [
            [sent(0), ack(0.01), result(10), result(11)],
            [sent(0), refusal(0.01), refusal(0.02)],
            [sent(0, "attach", call_key_hash="k-1"), result(1), result(2)],
            [sent(0), ack(0.01), sent(50, request_id="r-2"), refusal(50.01, "r-2")],
        ],
        ids=["two results", "two refusals", "two results of an attach", "none"],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """Two terminal answers, or none after an ack, break the rule."""
        assert len(frames.one_terminal(history(opened(), *events)).violations) == 1

    @pytest.mark.parametrize(
        "events",
        [
            exchange(),
            [sent(0), refusal(0.01)],
            [*exchange(), *exchange(20.0)],
            [sent(0), ack(0.01), sent(0.02), received(0.03, "error", status=409), result(10)],
        ],
        ids=["answered", "refused", "the id used again afterwards", "the id used again meanwhile, and refused"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """One terminal answer for each use of a request_id is right."""
        finding = frames.one_terminal(history(opened(), *events))
        assert finding.judged
        assert not finding.violations

    @pytest.mark.parametrize("what", ["lost", "closed"])
    def test_an_ended_connection_excuses(self, what: str) -> None:
        """Who is gone gets no answer."""
        finding = frames.one_terminal(history(opened(), sent(0), ack(0.01), ended(5, what)))
        assert (finding.judged, len(finding.violations)) == (0, 0)

    def test_a_stopped_run_excuses(self) -> None:
        """A call that the run's own stop cut off is not judged."""
        assert not frames.one_terminal(history(sent(0), ack(0.01), stopped_by="Ctrl-C")).violations


class TestOrder:
    @pytest.mark.parametrize(
        ("events", "what"),
        [
            ([sent(0), heartbeat(1), ack(2), result(3)], "before the ack"),
            ([sent(0), heartbeat(1), refusal(2)], "before the ack"),
            ([sent(0), ack(1), result(2), heartbeat(3)], "after the terminal"),
            ([sent(0), ack(1), ack(2), result(3)], "second ack"),
            ([sent(0), refusal(1), ack(2)], "after the terminal"),
        ],
    )
    def test_flags(self, events: list[AnyEvent], what: str) -> None:
        """A frame out of its order breaks the rule."""
        (breach,) = frames.order(history(*events)).violations
        assert what in breach.what
        assert breach.request_ids == ("r-1",)

    @pytest.mark.parametrize(
        "events",
        [
            exchange(),
            [sent(0), refusal(1)],
            [sent(0, "attach"), heartbeat(1), result(2)],
            [sent(0), ack(1), result(2), result(3)],
        ],
        ids=["a call", "a refusal", "an attach, which gets no ack", "a second terminal, for another rule"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """Ack, heartbeats, terminal."""
        finding = frames.order(history(*events))
        assert (finding.judged, len(finding.violations)) == (1, 0)


class TestNamed:
    @pytest.mark.parametrize(
        "events",
        [
            [sent(0), received(1, "?", None)],
            [sent(0), ack(1, trace_id=None)],
            [sent(0), received(1, "call_tool_res", None)],
            [sent(0), result(1, "r-2")],
            [sent(0), sent(0, request_id="r-2", connection=2), result(1, connection=2)],
        ],
        ids=["no op", "no trace", "no request", "never asked", "another client's"],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """An answer that names too little, or belongs to another, breaks the rule."""
        assert len(frames.named(history(*events)).violations) == 1

    @pytest.mark.parametrize(
        "events",
        [
            exchange(),
            [sent(0, "health", None), received(0.01, "health_res", None, trace_id=None)],
            [sent(0, "?", None), received(0.01, "error", None, trace_id=None, status=400)],
            [sent(0, "cancel", to_request_id="r-1"), result(1, status=499)],
            [sent(0), refusal(0.01, status=409, original_request_id="r-of-another")],
        ],
        ids=[
            "a call",
            "health has no request",
            "an unreadable request",
            "cancel by another field",
            "409 names another",
        ],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """What answers no call need not name one."""
        finding = frames.named(history(*events))
        assert finding.judged
        assert not finding.violations


class TestNoMixing:
    @pytest.mark.parametrize(
        "events",
        [
            [*exchange()[:-1], result(12, nonce="n-2")],
            [sent(0), sent(1, "attach", "r-2", call_key_hash="k-1"), result(2, "r-2", nonce="n-2")],
        ],
        ids=["a call", "an attach"],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """Another call's result breaks the rule."""
        assert len(frames.no_mixing(history(*events)).violations) == 1

    @pytest.mark.parametrize(
        ("events", "judged"),
        [
            (exchange(), 1),
            ([sent(0), sent(1, "attach", "r-2", call_key_hash="k-1"), result(2, "r-2")], 1),
            ([sent(0), ack(0.01), result(1, nonce=None)], 0),
            ([sent(0, "attach", "r-2", call_key_hash="k-9"), result(2, "r-2", nonce="n-2")], 0),
        ],
        ids=["its own", "the attached key's", "no nonce", "a key that nobody sent"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent], judged: int) -> None:
        """The nonce that was sent comes back, or there is nothing to compare."""
        finding = frames.no_mixing(history(*events))
        assert (finding.judged, len(finding.violations)) == (judged, 0)


class TestNothingLate:
    @pytest.mark.parametrize("status", [504, 499])
    @pytest.mark.parametrize("late", [result(4), heartbeat(4)], ids=["a result", "a heartbeat"])
    def test_flags(self, status: int, late: AnyEvent) -> None:
        """Anything after TIMEOUT or CANCELLED breaks the rule."""
        events = [sent(0), ack(1), result(3, status=status), late]
        assert len(frames.nothing_late(history(*events)).violations) == 1

    def test_keeps_quiet(self) -> None:
        """A TIMEOUT that ends its call is right, and so is the same id's next use."""
        finding = frames.nothing_late(history(sent(0), ack(1), result(3, status=504), *exchange(4.0)))
        assert (finding.judged, len(finding.violations)) == (1, 0)

    def test_other_ends_are_no_case(self) -> None:
        """A heartbeat after a good result is for the rule about order."""
        assert frames.nothing_late(history(sent(0), ack(1), result(3), heartbeat(4))).judged == 0


class TestOneTrace:
    @pytest.mark.parametrize(
        "events",
        [
            [sent(0), ack(1, trace_id=OTHER_TRACE)],
            [sent(0, trace_id="MALFORMED"), ack(1, trace_id="MALFORMED")],
            [sent(0, trace_id="0" * 32), ack(1, trace_id="0" * 32)],
            [*exchange(), daemon_call(0.01, "admitted", trace_id=OTHER_TRACE)],
            [*exchange(), execution(1, "start", trace_id=None)],
            [*exchange(), execution(1, "start", trace_id=OTHER_TRACE)],
        ],
        ids=["answer", "malformed kept", "all zeros kept", "daemon", "provider without", "provider with another"],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """A trace that changes on its way breaks the rule."""
        assert len(frames.one_trace(history(opened(), *events)).violations) == 1

    @pytest.mark.parametrize(
        "events",
        [
            [*exchange(), daemon_call(0.01, "admitted"), execution(1, "start")],
            [sent(0, trace_id="MALFORMED"), ack(1, trace_id=OTHER_TRACE)],
            [sent(0, trace_id=None), ack(1, trace_id=TRACE)],
            [sent(0), received(1, "error", trace_id=None, status=409)],
        ],
        ids=["the same everywhere", "malformed replaced", "none given", "an error without"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """The same trace everywhere, or a good one for a bad one."""
        assert not frames.one_trace(history(opened(), *events)).violations


@pytest.mark.parametrize(
    "check",
    [frames.one_terminal, frames.order, frames.named, frames.no_mixing, frames.nothing_late, frames.one_trace],
)
def test_no_events_decide_nothing(check: Check) -> None:
    """Without events each rule has no case, and says what is missing."""
    finding = check(history())
    assert finding.judged == 0
    assert finding.missing
