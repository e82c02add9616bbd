"""Rules about the daemon's own end, each with a history that it must flag and a near miss that it must not."""

from typing import Any

import pytest

from scenarios.checks import restarts
from scenarios.checks.context import History
from scenarios.history import Outcome
from tests.scenarios.checks.histories import (
    TRACE,
    a_call,
    a_run,
    ack,
    broken,
    changed,
    daemon_call,
    ended,
    execution,
    fault,
    history,
    opened,
    process,
    received,
    refusal,
    result,
    sent,
)

TIMEOUTS = a_run().timeouts_s | {"drain grace": 60.0}


def told(*events: Any, calls: Any = ()) -> History:
    """Return the history of these events, where a drain takes 60 s at most."""
    return history(*events, calls=calls, timeouts_s=TIMEOUTS)


def in_daemon(outcome: str = "ok", *, at: float = 12.0) -> list[Any]:
    """Return the daemon's events of r-1, answered at `at`."""
    answered = daemon_call(at, "answered", outcome=outcome)
    return [daemon_call(0.01, "admitted"), answered, daemon_call(at, "stopped")]


class TestTerm:
    term = process(10.0, "signalled", signal="SIGTERM")
    exits = process(12.5, "ended", exit_code=0)

    def test_graceful(self) -> None:
        """A daemon that answers what it has, refuses what comes, and exits with 0 ended well."""
        refused = daemon_call(11.0, "refused", "r-2", status=503, code="DRAINING")
        finding = restarts.ends_gracefully(told(self.term, *in_daemon(), refused, self.exits))
        assert (finding.judged, len(finding.violations), finding.missing) == (1, 0, None)

    @pytest.mark.parametrize(("at", "breaches"), [(11.0, 1), (10.2, 0)])
    def test_admits_a_call(self, at: float, breaches: int) -> None:
        """A draining daemon admits nobody; 250 ms are left to the signal."""
        late = [daemon_call(at, "admitted", "r-2"), daemon_call(12.0, "answered", "r-2")]
        assert broken(restarts.ends_gracefully, told(self.term, *in_daemon(), *late, self.exits)) == breaches

    def test_refuses_with_429(self) -> None:
        """A draining daemon does not say that its caller should come back."""
        refused = daemon_call(11.0, "refused", "r-2", status=429, scope="global")
        assert broken(restarts.ends_gracefully, told(self.term, *in_daemon(), refused, self.exits)) == 1

    def test_drops_a_call(self) -> None:
        """A call in flight gets an answer before the daemon restarts."""
        assert broken(restarts.ends_gracefully, told(self.term, *in_daemon()[:1], self.exits)) == 1

    @pytest.mark.parametrize(("exit_code", "breaches"), [(1, 1), (-15, 1), (0, 0)])
    def test_exit_code(self, exit_code: int, breaches: int) -> None:
        """It exits with 0."""
        assert broken(restarts.ends_gracefully, told(self.term, changed(self.exits, exit_code=exit_code))) == breaches

    @pytest.mark.parametrize(("at", "breaches"), [(10.1, 1), (70.0, 0)])
    def test_cuts_calls_before_the_grace_is_over(self, at: float, breaches: int) -> None:
        """Calls in flight have the whole grace, unless a second signal says that there is no time."""
        signalled = fault("sigterm", 10.0, 71.0, link="")
        exits = process(70.5, "ended", exit_code=0)
        run = [self.term, *in_daemon("interrupted", at=at), *signalled, exits]
        assert broken(restarts.ends_gracefully, told(*run)) == breaches
        assert broken(restarts.ends_gracefully, told(*run, changed(self.term, at=10.05))) == 0
        asked = [opened(), sent(0.0), ack(0.02), received(at, status=500, code="INTERRUPTED")]
        assert broken(restarts.ends_gracefully, told(self.term, *asked, *signalled, exits)) == breaches

    def test_drill_that_ends_has_no_patience(self) -> None:
        """A signal that is no fault of the scenario's ends the drill: calls may be cut, the daemon killed."""
        cut = in_daemon("interrupted", at=10.1)
        assert broken(restarts.ends_gracefully, told(self.term, *cut, self.exits)) == 0
        finding = restarts.ends_gracefully(told(self.term, changed(self.exits, exit_code=-9)))
        assert (finding.judged, len(finding.violations)) == (0, 0)

    def test_waits_for_ever(self) -> None:
        """A daemon that had to be killed after its grace did not end; one that was killed before says nothing."""
        for killed_at, breaches, judged in ((80.0, 1, 1), (20.0, 0, 0)):
            kill = [process(killed_at, "signalled", signal="SIGKILL"), process(killed_at + 0.1, "ended", exit_code=-9)]
            finding = restarts.ends_gracefully(told(self.term, *kill))
            assert (len(finding.violations), finding.judged) == (breaches, judged)

    def test_still_running_when_the_record_ends(self) -> None:
        """A daemon that has its grace before it is not late yet."""
        assert broken(restarts.ends_gracefully, told(self.term, *in_daemon())) == 0

    def test_without_the_daemons_log(self) -> None:
        """Clients see that a call was dropped, or acked too late."""
        asked = [opened(), sent(0.0), ack(0.02)]
        assert broken(restarts.ends_gracefully, told(*asked, self.term, ended(12.5), self.exits)) == 1
        assert broken(restarts.ends_gracefully, told(*asked, result(12.4), self.term, ended(12.5), self.exits)) == 0
        late = [sent(11.0, request_id="r-2"), ack(11.01, "r-2"), result(12.0, "r-2")]
        assert broken(restarts.ends_gracefully, told(opened(), *late, self.term, ended(12.5), self.exits)) == 1
        refused = [late[0], refusal(11.01, "r-2", status=503)]
        assert broken(restarts.ends_gracefully, told(opened(), *refused, self.term, ended(12.5), self.exits)) == 0


class TestKill:
    moves = (
        process(-1.0, "started"),
        process(5.0, "signalled", signal="SIGKILL"),
        process(5.1, "ended", exit_code=-9),
        process(6.0, "started", 2),
    )
    ran = (execution(0.1, "start"), execution(5.1, "cancelled"))
    unknown = a_call(outcome=Outcome.UNKNOWN, finished_at=7.0)
    asked = (sent(0.0), ack(0.01))

    def test_reported_as_unknown(self) -> None:
        """A call that the kill cut off ran once, and is reported as unknown."""
        finding = restarts.nothing_runs_again(told(*self.moves, *self.ran, *self.asked, calls=[self.unknown]))
        assert (finding.judged, len(finding.violations), finding.missing) == (1, 0, None)

    def test_runs_again_by_itself(self) -> None:
        """Nothing runs again that nobody sent again."""
        again = execution(8.0, "start", 2)
        call = a_call(outcome=Outcome.OK, finished_at=12.0)
        frames = [*self.asked, result(12.0)]
        assert broken(restarts.nothing_runs_again, told(*self.moves, *self.ran, *frames, again, calls=[call])) == 1
        resent = sent(7.5, request_id="r-2")
        assert (
            broken(restarts.nothing_runs_again, told(*self.moves, *self.ran, *frames, again, resent, calls=[call])) == 0
        )

    def test_unknown_call_runs_in_one_daemon_only(self) -> None:
        """A call that is reported as unknown was left to its user."""
        again = [sent(7.5, request_id="r-2"), execution(8.0, "start", 2)]
        run = told(*self.moves, *self.ran, *self.asked, *again, calls=[self.unknown])
        assert broken(restarts.nothing_runs_again, run) == 1

    def test_ok_without_a_result(self) -> None:
        """A call whose result never came is not ok; one that got it by an attach is."""
        call = a_call(outcome=Outcome.OK, finished_at=7.0)
        assert broken(restarts.nothing_runs_again, told(*self.moves, *self.ran, *self.asked, calls=[call])) == 1
        attach = sent(6.5, "attach", "a-1", call_key_hash="k-1", trace_id=None)
        run = told(*self.moves, *self.ran, *self.asked, attach, result(7.0, "a-1", trace_id=None), calls=[call])
        assert broken(restarts.nothing_runs_again, run) == 0

    def test_calls_that_had_ended_are_not_judged(self) -> None:
        """A kill says nothing of calls that were over."""
        call = a_call(outcome=Outcome.OK, finished_at=4.0, trace_id=TRACE)
        assert restarts.nothing_runs_again(told(*self.moves, calls=[call])).judged == 0
