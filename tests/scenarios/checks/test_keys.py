"""Rules about keys, each with a history that it must flag and a near miss that it must not."""

from typing import Any

import pytest

from scenarios.checks import keys
from scenarios.checks.context import History
from scenarios.events import AnyEvent, DaemonCall, Execution
from tests.scenarios.checks.histories import (
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

ALL = (
    keys.never_twice_at_once,
    keys.duplicate_names_owner,
    keys.other_work_is_refused,
    keys.replays_as_it_was,
    keys.one_owner,
    keys.fenced_first,
)

TIMEOUTS = a_run().timeouts_s | {"result ttl": 600.0}


def told(*events: Any) -> History:
    """Return the history of these events, where results are kept for 600 s."""
    return history(*events, timeouts_s=TIMEOUTS)


def call(name: str, start: float, end: float, **fields: Any) -> list[AnyEvent]:
    """Return the daemon's events of a good call with the key k-1."""
    return [daemon_call(start, "admitted", name, **fields), *stop(name, end)]


def stop(name: str, end: float, outcome: str = "ok") -> list[AnyEvent]:
    """Return a call's answer, and its stop in the same moment."""
    return [daemon_call(end, "answered", name, outcome=outcome), daemon_call(end, "stopped", name)]


def takeover(*, fenced_at: float = 10.0, heir_at: float = 10.0, runs_at: float = 12.01) -> list[AnyEvent]:
    """Return the events of a lapsed owner, whose work stops at 12, and of the call that takes its key over."""
    heir: dict[str, Any] = {"trace_id": "t-2"}
    return [
        daemon_call(0.0, "admitted", "r-1", trace_id="t-1"),
        execution(0.1, "start", 1, trace_id="t-1"),
        daemon_call(fenced_at, "answered", "r-1", trace_id="t-1", outcome="superseded", status=409),
        daemon_call(heir_at, "admitted", "r-2", waits=True, **heir),
        received(10.01, status=409, code="SUPERSEDED", superseded_by="r-2"),
        execution(12.0, "cancelled", 1, trace_id="t-1"),
        daemon_call(12.0, "stopped", "r-1", trace_id="t-1"),
        execution(runs_at, "start", 2, **heir),
        execution(20.0, "end", 2, **heir),
        *(changed(step, trace_id="t-2") for step in stop("r-2", 20.0)),
    ]


def clean() -> History:
    """Return a run with a duplicate, other work under the key, a replay, and a takeover of another key."""
    other = [changed(e, call_key_hash="k-2") if hasattr(e, "call_key_hash") else e for e in takeover()]
    renamed = [changed(e, request_id=f"o-{e.request_id}") for e in other if isinstance(e, DaemonCall)]
    ran = [e for e in other if isinstance(e, Execution)]
    return told(
        sent(0.0),
        ack(0.01),
        *call("r-1", 0.0, 10.0, trace_id="t-0"),
        sent(1.0, request_id="r-2"),
        daemon_call(1.0, "refused", "r-2", status=409, code="DUPLICATE", original_request_id="r-1"),
        refusal(1.01, "r-2", status=409, original_request_id="r-1"),
        sent(2.0, request_id="r-3", fingerprint="f-2"),
        refusal(2.01, "r-3", status=422),
        result(10.01),
        sent(11.0, request_id="r-4"),
        result(11.01, "r-4", replayed=True),
        *renamed,
        *ran,
    )


def test_clean_run_breaks_no_rule() -> None:
    """A run in which everything went right breaks no rule, and decides each."""
    for check in ALL:
        finding = check(clean())
        assert (list(finding.violations), finding.missing) == ([], None), check
        assert finding.judged > 0, check


class TestOverlap:
    """Executions of one key at the same time."""

    def ran(self, *, second_at: float, first: str = "end") -> list[AnyEvent]:
        """Return two executions of one key, the first of which is over at 10."""
        return [
            daemon_call(0.0, "admitted", "r-1", trace_id="t-1"),
            *(changed(step, trace_id="t-1") for step in stop("r-1", 9.9)),
            daemon_call(second_at, "admitted", "r-2", trace_id="t-2"),
            execution(0.1, "start", 1, trace_id="t-1"),
            execution(10.0, first, 1, trace_id="t-1"),
            execution(second_at, "start", 2, trace_id="t-2"),
        ]

    def test_two_at_once(self) -> None:
        """Two executions of one key must not overlap; one may begin as the other ends."""
        assert broken(keys.never_twice_at_once, told(*self.ran(second_at=8.0))) == 1
        assert broken(keys.never_twice_at_once, told(*self.ran(second_at=10.0))) == 0

    def test_cancellation_is_noticed_late(self) -> None:
        """An execution whose daemon went away first has ended, though its provider notices a moment later."""
        assert broken(keys.never_twice_at_once, told(*self.ran(second_at=9.9, first="cancelled"))) == 0

    def test_over_a_restart(self) -> None:
        """A key that still runs for a daemon that is gone must not run for the next one."""
        moves = [process(-1, "started"), process(5.0, "ended", exit_code=-9), process(5.5, "started", 2)]
        first = [daemon_call(0.0, "admitted", "r-1", trace_id="t-1"), execution(0.1, "start", 1, trace_id="t-1")]
        second = daemon_call(6.0, "admitted", "r-2", trace_id="t-2", boot=2)
        again = [second, execution(6.1, "start", 2, trace_id="t-2")]
        for noticed_at, breaches in ((8.0, 1), (5.1, 0)):
            gone = execution(noticed_at, "cancelled", 1, trace_id="t-1")
            assert broken(keys.never_twice_at_once, told(*moves, *first, gone, *again)) == breaches

    def test_behind_a_black_hole(self) -> None:
        """Where nobody can count executions, none is judged."""
        hole = fault("hole", 7.0, 9.0, "daemon-provider:GLM", blinds=("GLM",))
        assert broken(keys.never_twice_at_once, told(*self.ran(second_at=8.0), *hole)) == 0

    def test_key_from_the_frames(self) -> None:
        """Without the daemon's log, the clients know which key a trace has."""
        events = [e for e in self.ran(second_at=8.0) if isinstance(e, Execution)]
        asked = [sent(0.0, trace_id="t-1"), sent(7.9, request_id="r-2", trace_id="t-2")]
        assert broken(keys.never_twice_at_once, told(*events, *asked)) == 1


class TestDuplicates:
    def refused(self, at: float, named: str | None, **fields: Any) -> AnyEvent:
        """Return the refusal of a duplicate of k-1."""
        known = {"status": 409, "code": "DUPLICATE", "original_request_id": named}
        return daemon_call(at, "refused", "r-2", **(known | fields))

    @pytest.mark.parametrize(("named", "breaches"), [("r-1", 0), ("r-2", 1), ("r-9", 1), (None, 1)])
    def test_names_the_owner(self, named: str | None, breaches: int) -> None:
        """A duplicate hears of the live owner of its key: not of itself, of a stranger, or of nobody."""
        owner = call("r-1", 0.0, 10.0)
        assert broken(keys.duplicate_names_owner, told(*owner, self.refused(5.0, named))) == breaches

    def test_owner_that_has_stopped(self) -> None:
        """A key that is free makes no duplicates; 50 ms are left to the stamps."""
        owner = call("r-1", 0.0, 10.0)
        assert broken(keys.duplicate_names_owner, told(*owner, self.refused(10.1, "r-1"))) == 1
        assert broken(keys.duplicate_names_owner, told(*owner, self.refused(10.04, "r-1"))) == 0

    def test_fenced_owner_is_owner_no_more(self) -> None:
        """While the heir of a key waits, duplicates hear of the heir."""
        for named, breaches in (("r-1", 1), ("r-2", 0)):
            third = changed(self.refused(11.0, named), request_id="r-3")
            assert broken(keys.duplicate_names_owner, told(*takeover(), third)) == breaches

    def test_request_id_in_flight_is_no_duplicate_key(self) -> None:
        """A request_id that is used again while it is in flight is told its own name, rightly."""
        again = changed(self.refused(5.0, "r-1"), request_id="r-1")
        assert broken(keys.duplicate_names_owner, told(*call("r-1", 0.0, 10.0), again)) == 0

    def test_duplicate_that_waited(self) -> None:
        """A duplicate that gets the owner's result waited for it; one that came when the owner had ended did not."""
        owner, asked = call("r-1", 0.0, 10.0), [opened(), sent(5.0, request_id="r-2")]
        assert broken(keys.duplicate_names_owner, told(*owner, *asked, result(10.01, "r-2"))) == 1
        late = [opened(), sent(9.9, request_id="r-2"), result(10.01, "r-2", replayed=True)]
        assert broken(keys.duplicate_names_owner, told(*owner, *late)) == 0

    def test_by_frames_alone(self) -> None:
        """Without the daemon's log the named request must have the same key, and not have ended."""
        owner = [sent(0.0), ack(0.01), sent(5.0, request_id="r-2")]
        for named, breaches in (("r-1", 0), ("r-2", 1), ("r-9", 1)):
            answer = refusal(5.01, "r-2", status=409, original_request_id=named)
            assert broken(keys.duplicate_names_owner, told(*owner, answer)) == breaches
        answer = refusal(5.01, "r-2", status=409, original_request_id="r-1")
        assert broken(keys.duplicate_names_owner, told(*owner, result(4.0), answer)) == 1
        cut = received(4.0, status=504, code="TIMEOUT")
        assert broken(keys.duplicate_names_owner, told(*owner, cut, answer)) == 0


class TestOtherWork:
    first = (opened(), sent(0.0), ack(0.01), result(10.0))
    other = sent(12.0, request_id="r-2", fingerprint="f-2")

    @pytest.mark.parametrize(
        ("answer", "breaches"),
        [
            (refusal(12.01, "r-2", status=422), 0),
            (refusal(12.01, "r-2", status=503), 0),
            (ack(12.01, "r-2"), 1),
            (result(12.01, "r-2", replayed=True), 1),
            (refusal(12.01, "r-2", status=429), 1),
            (refusal(12.01, "r-2", status=409), 1),
        ],
    )
    def test_answer_to_other_work(self, answer: AnyEvent, breaches: int) -> None:
        """Other work under a finished key gets 422, unless the daemon is about to end."""
        assert broken(keys.other_work_is_refused, told(*self.first, self.other, answer)) == breaches

    def test_key_that_nobody_knows_any_more(self) -> None:
        """After the result TTL, or in another daemon, the key is free."""
        late = [changed(self.other, at=601.0), ack(601.01, "r-2")]
        assert keys.other_work_is_refused(told(*self.first, *late)).judged == 0
        anew = [opened(11.0, connection=2, boot_id="b-2"), changed(self.other, connection=2), ack(12.01, "r-2")]
        moved = [anew[0], changed(anew[1], client="c-1"), anew[2]]
        assert keys.other_work_is_refused(told(*self.first, *moved)).judged == 0

    def test_unknown_ttl_is_undecided(self) -> None:
        """Without the result TTL nothing can be said."""
        assert keys.other_work_is_refused(history(*self.first)).missing is not None


class TestReplays:
    first = (opened(), sent(0.0), ack(0.01), result(10.0, payload_hash="p-1"))
    again = sent(12.0, request_id="r-2")

    @pytest.mark.parametrize(
        ("answer", "breaches"),
        [
            (result(12.01, "r-2", replayed=True, payload_hash="p-1"), 0),
            (result(12.01, "r-2", replayed=True, payload_hash="p-2"), 1),
            (ack(12.01, "r-2"), 1),
            (refusal(12.01, "r-2", status=409), 1),
            (refusal(12.01, "r-2", status=429), 1),
            (refusal(12.01, "r-2", status=503), 0),
        ],
    )
    def test_answer_to_the_same_work(self, answer: AnyEvent, breaches: int) -> None:
        """The same work under a finished key gets the very same payload, unless the daemon is about to end."""
        assert broken(keys.replays_as_it_was, told(*self.first, self.again, answer)) == breaches

    def test_executed_error_is_replayed(self) -> None:
        """An error of an execution is kept like a result."""
        error = received(10.0, status=502, code="PROVIDER_ERROR", payload_hash="e-1")
        answer = received(12.01, request_id="r-2", status=502, code="PROVIDER_ERROR", payload_hash="e-1", replayed=True)
        assert broken(keys.replays_as_it_was, told(*self.first[:3], error, self.again, answer)) == 0
        assert broken(keys.replays_as_it_was, told(*self.first[:3], error, self.again, ack(12.01, "r-2"))) == 1

    def test_refusal_is_never_replayed(self) -> None:
        """A 429 that comes again as a replay was kept."""
        asked, again = [sent(0.0), refusal(0.01)], sent(3.0, request_id="r-2")
        assert broken(keys.replays_as_it_was, told(*asked, again, refusal(3.01, "r-2", replayed=True))) == 1
        assert broken(keys.replays_as_it_was, told(*asked, again, refusal(3.01, "r-2"))) == 0

    def test_two_replays_of_an_answer_that_nobody_saw(self) -> None:
        """Where the first client went away, the replays must be alike."""
        lost = [opened(), sent(0.0), ack(0.01), ended(5.0)]
        replay = result(12.01, "r-2", replayed=True)
        third = sent(13.0, request_id="r-3")
        for payload, breaches in (("p-1", 0), ("p-2", 1)):
            other = result(13.01, "r-3", replayed=True, payload_hash=payload)
            assert broken(keys.replays_as_it_was, told(*lost, self.again, replay, third, other)) == breaches

    def test_cut_call_may_still_hold_its_key(self) -> None:
        """After a 504 the work may go on for a while, and a duplicate hears of it."""
        cut = [*self.first[:3], received(10.0, status=504, code="TIMEOUT", payload_hash="e-1")]
        answer = refusal(12.01, "r-2", status=409, original_request_id="r-1")
        assert broken(keys.replays_as_it_was, told(*cut, self.again, answer)) == 0

    def test_small_store_may_drop_it(self) -> None:
        """Where the store of results was made smaller, a result may be gone before its time."""
        settings = {"EXAI_WS_RESULT_MAX_ENTRIES": "1"}
        run = history(*self.first, self.again, ack(12.01, "r-2"), timeouts_s=TIMEOUTS, settings=settings)
        assert broken(keys.replays_as_it_was, run) == 0


class TestOwners:
    def test_two_owners(self) -> None:
        """A key that is held is not given to another call, but for one that waits for its owner."""
        assert broken(keys.one_owner, told(*call("r-1", 0, 10), *call("r-2", 5, 12))) == 1
        assert broken(keys.one_owner, told(*call("r-1", 0, 10), *call("r-2", 10, 12))) == 0
        assert broken(keys.one_owner, told(*takeover())) == 0

    def test_late_owner_frees_its_heirs_key(self) -> None:
        """When the fenced owner ends, its heir still holds the key."""
        third = call("r-3", 13.0, 25.0)
        assert broken(keys.one_owner, told(*takeover(), *third)) == 1
        assert broken(keys.one_owner, told(*takeover(), *call("r-3", 20.0, 25.0))) == 0

    def test_released_twice(self) -> None:
        """A key that is released twice may be another call's by then."""
        assert broken(keys.one_owner, told(*call("r-1", 0, 10), daemon_call(10.1, "stopped"))) == 1

    def test_without_the_log_it_is_undecided(self) -> None:
        """Who holds a key is in the daemon's log only."""
        assert keys.one_owner(told(sent(0.0))).missing is not None


class TestFencing:
    def test_owner_is_answered_first(self) -> None:
        """The owner of a lapsed key hears that it was superseded before its heir is admitted."""
        assert broken(keys.fenced_first, told(*takeover())) == 0
        assert broken(keys.fenced_first, told(*takeover(fenced_at=10.5))) == 1

    def test_taken_over_without_fencing(self) -> None:
        """A key that just changes hands was not fenced."""
        assert broken(keys.fenced_first, told(*call("r-1", 0, 10), *call("r-2", 5, 12))) == 1

    def test_heir_runs_too_soon(self) -> None:
        """The heir's work begins when the owner's has stopped; 50 ms are left to the stamps."""
        assert broken(keys.fenced_first, told(*takeover(runs_at=11.9))) == 1
        assert broken(keys.fenced_first, told(*takeover(runs_at=11.97))) == 0

    def test_owner_hears_of_its_heir(self) -> None:
        """The 409 that the owner gets names the call that took over."""
        asked = sent(0.0)
        wrong = [changed(e, superseded_by="r-9") if getattr(e, "superseded_by", None) else e for e in takeover()]
        assert broken(keys.fenced_first, told(asked, *wrong)) == 1
        assert broken(keys.fenced_first, told(asked, *takeover())) == 0

    def test_owner_that_was_cut_before(self) -> None:
        """An owner that timed out was answered already, and is not answered again."""
        events = takeover()
        cut = [*events[:2], changed(events[2], outcome="timeout", at=8.0), *events[3:]]
        assert broken(keys.fenced_first, told(*cut)) == 0
