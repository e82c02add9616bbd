"""Rules about how calls end, each with a history that it must flag and a near miss that it must not."""

from typing import Any

import pytest

from scenarios.checks import ends
from scenarios.checks.context import History
from tests.scenarios.checks.histories import (
    a_run,
    ack,
    broken,
    daemon_call,
    ended,
    execution,
    fault,
    history,
    lag,
    opened,
    received,
    result,
    sent,
)

TIMEOUTS = a_run().timeouts_s | {"result ttl": 600.0, "drain grace": 60.0}


def told(*events: Any, calls: Any = (), **run: Any) -> History:
    """Return the history of these events, where results are kept for 600 s and a drain takes 60 s at most."""
    return history(*events, calls=calls, **({"timeouts_s": TIMEOUTS} | run))


def in_daemon(outcome: str = "ok", *, at: float = 12.0, stopped_at: float | None = None, **fields: Any) -> list[Any]:
    """Return the daemon's and the provider's events of r-1, answered at `at`."""
    stop = at if stopped_at is None else stopped_at
    return [
        daemon_call(0.01, "admitted"),
        execution(0.05, "start"),
        execution(stop - 0.01, "end" if outcome == "ok" else "cancelled"),
        daemon_call(at, "answered", outcome=outcome, **fields),
        daemon_call(stop, "stopped"),
    ]


class TestLostClient:
    lost = (opened(), sent(0.0), ack(0.02), ended(3.0))

    def test_nobody_there_and_all_is_well(self) -> None:
        """A call whose client went away runs to its end, and a later attach finds its result."""
        attach = [sent(14.0, "attach", "a-1", connection=2, call_key_hash="k-1"), result(14.01, "a-1", connection=2)]
        run = told(*self.lost, *in_daemon(client_there=False), *attach)
        finding = ends.lost_client_cancels_nothing(run)
        assert (finding.judged, len(finding.violations), finding.missing) == (2, 0, None)

    @pytest.mark.parametrize(("outcome", "breaches"), [("cancelled", 1), ("error", 1), ("timeout", 0)])
    def test_cancelled_by_the_loss(self, outcome: str, breaches: int) -> None:
        """Only a client's cancel cancels; a timeout may come whoever is there."""
        events = in_daemon(outcome, at=3.1, client_there=False)
        assert broken(ends.lost_client_cancels_nothing, told(*self.lost, *events)) == breaches

    def test_cancelled_by_the_client_just_before(self) -> None:
        """A client may cancel, and go away before it has its answer."""
        cancel = sent(2.99, "cancel")
        events = in_daemon("cancelled", at=3.1, client_there=False)
        assert broken(ends.lost_client_cancels_nothing, told(*self.lost, cancel, *events)) == 0

    def test_provider_that_went_away(self) -> None:
        """An execution that a fault cut off was not cancelled by the client's loss."""
        cut = fault("cut", 3.0, 4.0, "daemon-provider:GLM")
        events = in_daemon("error", at=3.1, client_there=False)
        assert broken(ends.lost_client_cancels_nothing, told(*self.lost, *events, *cut)) == 0

    @pytest.mark.parametrize(("status", "at", "breaches"), [(404, 14.0, 1), (410, 14.0, 1), (404, 700.0, 0)])
    def test_result_is_kept(self, status: int, at: float, breaches: int) -> None:
        """Within the result TTL an attach finds the result."""
        attach = sent(at, "attach", "a-1", connection=2, call_key_hash="k-1")
        answer = received(at + 0.01, "error", "a-1", connection=2, status=status, code="UNKNOWN_CALL")
        run = told(*self.lost, *in_daemon(client_there=False), attach, answer)
        assert broken(ends.lost_client_cancels_nothing, run) == breaches

    def test_attach_that_was_there_first(self) -> None:
        """An attach may overtake the call that it is about."""
        attach = sent(0.0, "attach", "a-1", connection=2, call_key_hash="k-1")
        answer = received(0.01, "error", "a-1", connection=2, status=404, code="UNKNOWN_CALL")
        assert broken(ends.lost_client_cancels_nothing, told(*self.lost, *in_daemon(), attach, answer)) == 0


class TestReconnect:
    first = (opened(), sent(0.0), ack(0.02), ended(3.0))

    def again(self, at: float, **fields: Any) -> list[Any]:
        """Return the call, sent again by the same client on another connection."""
        known: dict[str, Any] = {"connection": 2, "client": "c-1", "request_id": "r-2"}
        return [opened(at - 0.1, connection=2, client="c-1"), sent(at, **(known | fields))]

    def test_replayed(self) -> None:
        """A call that was done is replayed."""
        run = told(*self.first, *in_daemon(), *self.again(13.0), result(13.01, "r-2", connection=2, client="c-1"))
        finding = ends.never_a_second_execution(run)
        assert (finding.judged, len(finding.violations)) == (1, 0)

    @pytest.mark.parametrize(("at", "breaches"), [(13.0, 1), (5.0, 1), (700.0, 0)])
    def test_executed_again(self, at: float, breaches: int) -> None:
        """A second execution of a live or finished key is wrong, until its result is forgotten."""
        second = daemon_call(at + 0.01, "admitted", "r-2")
        run = told(*self.first, *in_daemon(), *self.again(at), second)
        assert broken(ends.never_a_second_execution, run) == breaches

    def test_another_daemon_may_execute(self) -> None:
        """A daemon that was started anew knows no keys."""
        second = daemon_call(13.01, "admitted", "r-2", boot=2)
        assert broken(ends.never_a_second_execution, told(*self.first, *in_daemon(), *self.again(13.0), second)) == 0

    def test_heir_of_a_lapsed_key(self) -> None:
        """A takeover is another rule's."""
        second = daemon_call(5.01, "admitted", "r-2", waits=True)
        assert broken(ends.never_a_second_execution, told(*self.first, *in_daemon(), *self.again(5.0), second)) == 0

    def test_new_key_for_the_old_call(self) -> None:
        """A client that reconnects keeps its call's key; another call has another trace."""
        assert broken(ends.never_a_second_execution, told(*self.first, *self.again(4.0, call_key_hash="k-2"))) == 1
        other = self.again(4.0, call_key_hash="k-2", trace_id="f" * 32)
        assert broken(ends.never_a_second_execution, told(*self.first, *other)) == 0

    def test_without_the_daemons_log(self) -> None:
        """A second ack of an answered call shows a second execution; of a call that was cut it does not."""
        again = [*self.again(13.0), ack(13.01, "r-2", connection=2, client="c-1")]
        moved = [opened(), sent(0.0), ack(0.02)]
        assert broken(ends.never_a_second_execution, told(*moved, result(12.0), *again)) == 1
        cut = received(12.0, status=504, code="TIMEOUT")
        assert broken(ends.never_a_second_execution, told(*moved, cut, *again)) == 0


class TestCancel:
    asked = (opened(), sent(0.0), ack(0.02), sent(5.0, "cancel"))
    later = received(9.0, "health_res", None)

    def test_cancelled(self) -> None:
        """A cancelled call gets one 499, and its work stops at once."""
        answer = received(5.02, status=499, code="CANCELLED")
        run = told(*self.asked, answer, *in_daemon("cancelled", at=5.01, stopped_at=5.1), self.later)
        finding = ends.cancel_ends_the_call(run)
        assert (finding.judged, len(finding.violations)) == (1, 0)

    def test_result_that_raced(self) -> None:
        """A result that was on its way is right, too."""
        assert broken(ends.cancel_ends_the_call, told(*self.asked, result(5.01), *in_daemon(at=5.0), self.later)) == 0

    def test_two_answers(self) -> None:
        """A cancelled call must not get its result as well."""
        answers = [received(5.02, status=499, code="CANCELLED"), result(6.0)]
        assert broken(ends.cancel_ends_the_call, told(*self.asked, *answers, self.later)) == 1

    def test_no_answer(self) -> None:
        """A cancel must not be ignored, unless its connection went away."""
        assert broken(ends.cancel_ends_the_call, told(*self.asked, self.later)) == 1
        assert broken(ends.cancel_ends_the_call, told(*self.asked, ended(5.1), self.later)) == 0

    def test_foreign_cancel(self) -> None:
        """Another session cannot cancel the call."""
        foreign = [*self.asked[:3], sent(5.0, "cancel", connection=2, client="c-1")]
        assert ends.cancel_ends_the_call(told(*foreign, self.later)).judged == 0

    def test_execution_goes_on(self) -> None:
        """The provider's work stops within 250 ms of the cancel, and the slots are free then."""
        answer = received(5.02, status=499, code="CANCELLED")
        for stopped_at, breaches in ((6.0, 1), (5.3, 0)):
            events = in_daemon("cancelled", at=5.01, stopped_at=stopped_at)
            assert broken(ends.cancel_ends_the_call, told(*self.asked, answer, *events, self.later)) == breaches
        held = in_daemon("cancelled", at=5.01, stopped_at=5.1)
        held[-1] = daemon_call(6.0, "stopped")
        assert broken(ends.cancel_ends_the_call, told(*self.asked, answer, *held, self.later)) == 1

    def test_stall_explains_it(self) -> None:
        """A machine that stood still explains late work."""
        answer = received(5.02, status=499, code="CANCELLED")
        events = in_daemon("cancelled", at=5.01, stopped_at=6.0)
        finding = ends.cancel_ends_the_call(told(*self.asked, answer, *events, lag(5.9, 0.8), self.later))
        assert (finding.stalled, len(finding.violations)) == (1, 0)
