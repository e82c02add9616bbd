"""Rules for callers: when they try again, and how long they wait."""

from typing import Any

import pytest

from scenarios.checks import clients
from scenarios.checks.registry import Finding
from scenarios.events import AnyEvent, Frame
from tests.scenarios.checks.histories import (
    a_call,
    ack,
    changed,
    ended,
    exchange,
    history,
    lag,
    opened,
    refusal,
    result,
    sent,
)


def refused(at: float, number: int, *, advice_s: float | None = 2.0, **fields: Any) -> list[Frame]:
    """Return attempt `number`, sent at that moment and refused."""
    request_id = f"r-{number}"
    return [sent(at, request_id=request_id), refusal(at + 0.01, request_id, retry_after_s=advice_s, **fields)]


def again(at: float, number: int = 2, **fields: Any) -> list[Frame]:
    """Return attempt `number`, which is answered."""
    request_id = f"r-{number}"
    return [sent(at, request_id=request_id, **fields), ack(at + 0.01, request_id), result(at + 9, request_id)]


class TestAttempts:
    @pytest.mark.parametrize(
        "events",
        [
            [*refused(0, 1), *refused(3, 2), *refused(6, 3), *refused(9, 4)],
            [sent(0), refusal(0.01, status=422), *again(3)],
            [sent(0), ack(0.01), result(5, status=504, code="TIMEOUT"), *again(8)],
            [*exchange(), *again(20)],
            [sent(0), ack(0.01), *again(5)],
            [*refused(0, 1), *again(3, call_key_hash="k-2")],
            [*refused(0, 1), *again(3, timeout_s=0.0)],
            [sent(0), ack(0.01), ended(2), *(changed(frame, connection=2) for frame in again(3, call_key_hash="k-2"))],
        ],
        ids=[
            "four attempts",
            "after a 422",
            "after a timeout",
            "after its result",
            "while it runs",
            "another key",
            "no time left",
            "another key after a lost connection",
        ],
    )
    def test_flags(self, events: list[AnyEvent]) -> None:
        """A call that is sent again without reason, or as another one, breaks the rule."""
        assert len(clients.attempts(history(opened(), *events)).violations) == 1

    @pytest.mark.parametrize(
        "events",
        [
            [*refused(0, 1), *refused(3, 2), *again(6, 3)],
            [sent(0), refusal(0.01, status=503, retry_after_s=2.0), *again(3)],
            [sent(0), ack(0.01), ended(2), *(changed(frame, connection=2) for frame in again(3))],
            [sent(0), ack(0.01), result(5, status=500)],
        ],
        ids=["three attempts", "after a 503", "after a lost connection", "failed, and left at that"],
    )
    def test_keeps_quiet(self, events: list[AnyEvent]) -> None:
        """Later, with the same key and trace, and not more than three times."""
        finding = clients.attempts(history(opened(), *events))
        assert (finding.judged, len(finding.violations)) == (1, 0)

    def test_good_calls_are_no_case(self) -> None:
        """Where nothing was refused, nothing shows how refusals are taken."""
        finding = clients.attempts(history(opened(), *exchange()))
        assert finding.judged == 0
        assert finding.missing

    def test_without_frames_the_calls_own_count_is_judged(self) -> None:
        """A model keeps no frames."""
        finding = clients.attempts(history(calls=[a_call(attempts=4), a_call(attempts=3), a_call()]))
        assert (finding.judged, len(finding.violations)) == (2, 1)


def retried(*waits_s: float, advice_s: float | None = 10.0) -> list[AnyEvent]:
    """Return calls that were refused, and came again after these waits."""
    events: list[AnyEvent] = []
    for number, wait_s in enumerate(waits_s):
        trace = f"{number + 1:032x}"
        pair = [sent(0, request_id=f"a-{number}"), refusal(0, f"a-{number}", retry_after_s=advice_s)]
        frames = [*pair, sent(wait_s, request_id=f"b-{number}"), result(wait_s + 5, f"b-{number}")]
        events += [changed(frame, trace_id=trace) for frame in frames]
    return events


EVEN = [10.05, 10.15, 10.25, 10.35, 10.45, 10.55, 10.65, 10.75, 10.85, 10.95]
"""Waits whose jitter is as uniform as can be."""


class TestWaits:
    def judged(self, *events: AnyEvent, **changes: Any) -> Finding:
        """Judge these events."""
        return clients.waits(history(opened(), *events, **changes))

    def test_uniform_jitter_is_right(self) -> None:
        """Ten waits from 10 s to 11 s."""
        finding = self.judged(*retried(*EVEN))
        assert (finding.judged, len(finding.violations), finding.missing) == (10, 0, None)

    def test_too_short_a_wait_is_flagged(self) -> None:
        """Who comes before retry_after breaks the rule."""
        assert len(self.judged(*retried(*EVEN, 9.9)).violations) == 1

    def test_a_tick_early_is_none(self) -> None:
        """Timers may fire a tick early."""
        assert not self.judged(*retried(*EVEN, 9.998)).violations

    def test_too_long_a_wait_is_flagged(self) -> None:
        """Beyond its jitter a client that waits has lost time."""
        assert len(self.judged(*retried(*EVEN, 11.3)).violations) == 1

    def test_a_stall_explains_a_long_wait(self) -> None:
        """While the machine stood still, nobody could come."""
        finding = self.judged(*retried(11.3), lag(11.3))
        assert (len(finding.violations), finding.stalled) == (0, 1)

    @pytest.mark.parametrize("wait_s", [10.0, 11.0])
    def test_no_jitter_is_flagged(self, wait_s: float) -> None:
        """Waits that are all alike come all at once."""
        (breach,) = self.judged(*retried(*[wait_s] * 10)).violations
        assert "not uniform" in breach.what

    def test_few_waits_leave_it_undecided(self) -> None:
        """Three waits show no distribution."""
        finding = self.judged(*retried(10.1, 10.5, 10.9))
        assert not finding.violations
        assert finding.missing

    @pytest.mark.parametrize(("wait_s", "breaches"), [(1.05, 0), (4000.0, 1)])
    def test_senseless_advice_is_replaced(self, wait_s: float, breaches: int) -> None:
        """Told to wait for longer than an hour, a client takes its own backoff."""
        assert len(self.judged(*retried(wait_s, advice_s=4000.0)).violations) == breaches

    def test_the_backoff_counts_where_it_is_longer(self) -> None:
        """After a second refusal the backoff is 2 s, whatever shorter advice says."""
        events = [*refused(0, 1, advice_s=0.5), *refused(1.06, 2, advice_s=0.5), *again(3.2, 3)]
        assert not self.judged(*events).violations

    def test_nothing_refused_decides_nothing(self) -> None:
        """Without a refusal there is no wait."""
        finding = self.judged(*exchange())
        assert finding.judged == 0
        assert finding.missing
