"""Rules about slots, each with a history that it must flag and a near miss that it must not."""

from typing import Any

from scenarios.checks import slots
from scenarios.checks.context import History
from scenarios.events import AnyEvent
from scenarios.history import Body
from tests.scenarios.checks.histories import (
    ack,
    broken,
    changed,
    daemon_call,
    exchange,
    execution,
    fault,
    health,
    history,
    lag,
    process,
    refusal,
    sent,
)

ALL = (slots.caps_hold, slots.slots_pair, slots.refused_holds_nothing, slots.full_when_refused, slots.free_at_once)


def call(number: int, start: float, end: float, **fields: Any) -> list[AnyEvent]:
    """Return the daemon's and the provider's events of a good call."""
    step: dict[str, Any] = {"request_id": f"r-{number}", "trace_id": f"t-{number}", "call_key_hash": f"k-{number}"}
    step |= fields
    ran = {"trace_id": step["trace_id"]}
    return [
        daemon_call(start, "admitted", **step),
        execution(start + 0.02, "start", number, **ran),
        execution(end - 0.02, "end", number, **ran),
        daemon_call(end, "answered", **step),
        daemon_call(end, "stopped", **step),
    ]


def clean() -> History:
    """Return a run of two calls that fill a tool's pool, one that is refused, and comes back."""
    refused: dict[str, Any] = {"status": 429, "scope": "tool:analyze", "retry_after_s": 2.0}
    return history(
        *call(1, 0.0, 10.0),
        *call(2, 1.0, 11.0),
        daemon_call(2.0, "refused", "r-3", trace_id="t-4", call_key_hash="k-4", **refused),
        *call(4, 11.0, 20.0),
        health(22.0, quiescent=True),
        *exchange(0.0, "r-1"),
    )


def test_clean_run_breaks_no_rule() -> None:
    """A run in which everything went right breaks no rule, and decides each."""
    for check in ALL:
        finding = check(clean())
        assert (list(finding.violations), finding.missing) == ([], None), check
        assert finding.judged > 0, check


class TestCaps:
    def test_one_execution_too_many(self) -> None:
        """Three executions of a tool with a cap of two break its cap, and the provider's."""
        assert broken(slots.caps_hold, history(*call(1, 0, 10), *call(2, 1, 10), *call(3, 2, 10))) == 2

    def test_next_begins_as_the_last_ends(self) -> None:
        """A slot may pass to the next call in the same moment."""
        run = history(*call(1, 0, 10), *call(2, 1, 10), *call(3, 10.0, 15))
        assert broken(slots.caps_hold, run) == 0

    def test_cancellation_is_noticed_a_little_late(self) -> None:
        """An execution that its provider sees cancelled soon after the call's stop has freed its slot by then."""
        first = call(1, 0, 10)
        for seen_at, breaches in ((10.2, 0), (10.6, 2)):
            first[2] = execution(seen_at, "cancelled", 1, trace_id="t-1")
            assert broken(slots.caps_hold, history(*first, *call(2, 1, 12), *call(3, 10.05, 15))) == breaches

    def test_nobody_can_count_behind_a_black_hole(self) -> None:
        """While a provider is blinded its executions are not judged."""
        calls = [*call(1, 0, 10), *call(2, 1, 10), *call(3, 2, 10)]
        hole = fault("hole", 1.5, 5.0, "daemon-provider:GLM", blinds=("GLM",))
        assert broken(slots.caps_hold, history(*calls, *hole)) == 0

    def test_session_and_global_by_admissions(self) -> None:
        """Calls that need no provider count in the session's cap and the global one by their admission."""
        admitted = [
            daemon_call(n, "admitted", f"r-{n}", provider=None, tool="version", call_key_hash=None) for n in range(4)
        ]
        assert broken(slots.caps_hold, history(*admitted)) == 1
        assert broken(slots.caps_hold, history(*admitted[:3])) == 0

    def test_waiting_heir_shares_its_owners_slots(self) -> None:
        """A call that waits for a lapsed owner's work takes no slot of its own."""
        heir = call(3, 9, 20, call_key_hash="k-1", waits=True)
        heir[1] = execution(10.1, "start", 3, trace_id="t-3")
        run = history(*call(1, 0, 10), *call(2, 1, 12), *heir, caps={"global": 2, "session": 2})
        assert broken(slots.caps_hold, run) == 0

    def test_without_the_providers_logs_it_is_undecided(self) -> None:
        """Admissions alone do not say what really ran."""
        assert slots.caps_hold(history(daemon_call(0, "admitted"))).missing is not None


class TestPairs:
    def test_slots_given_back_twice(self) -> None:
        """A call that stops twice gives its slots back twice."""
        once = call(1, 0, 10)
        assert broken(slots.slots_pair, history(*once, daemon_call(10.1, "stopped", "r-1"), health(12.0))) == 1
        assert broken(slots.slots_pair, history(*once, health(12.0))) == 0

    def test_slots_kept(self) -> None:
        """A call that was answered by its work and never stops keeps its slots."""
        kept = call(1, 0, 10)[:-1]
        assert broken(slots.slots_pair, history(*kept, health(12.0, total=1))) == 1

    def test_killed_daemon_owes_no_stops(self) -> None:
        """A daemon that was killed gives nothing back."""
        ends = [process(5.0, "signalled", signal="SIGKILL"), process(5.0, "ended", exit_code=-9)]
        run = history(process(-2, "started"), *call(1, 0, 10)[:2], *ends, process(6, "started", 2), health(40.0))
        assert broken(slots.slots_pair, run) == 0

    def test_pool_not_at_zero(self) -> None:
        """A second after the last call a pool that holds anything has lost a slot; before that it may be on its way."""
        for asked_at, breaches in ((11.9, 1), (10.5, 0)):
            run = history(*call(1, 0, 10), health(asked_at + 0.01, total=1, providers={"GLM": 1}))
            assert broken(slots.slots_pair, run) == breaches

    def test_cut_work_may_still_run(self) -> None:
        """A call that timed out keeps its slots for as long as its work runs."""
        late = [daemon_call(0, "admitted"), daemon_call(5, "answered", outcome="timeout"), health(60.0, total=1)]
        assert broken(slots.slots_pair, history(*late)) == 0


class TestRefusals:
    def test_key_of_a_refused_call_stays_behind(self) -> None:
        """A 409 that names a refused request shows that its key stayed behind."""
        first, second = [sent(0.0), refusal(0.01)], sent(3.0, request_id="r-2")
        poisoned = refusal(3.01, "r-2", status=409, original_request_id="r-1")
        assert broken(slots.refused_holds_nothing, history(*first, second, poisoned)) == 1
        near = changed(poisoned, original_request_id="r-9")
        live = [sent(1.0, request_id="r-9"), ack(1.01, "r-9")]
        assert broken(slots.refused_holds_nothing, history(*first, *live, second, near)) == 0

    def test_slots_of_a_refused_call_are_counted(self) -> None:
        """A 429 that counts more slots than admitted calls hold counts those of refused ones."""
        step = daemon_call(2.0, "refused", "r-3", status=429, scope="provider:GLM", trace_id="t-3")
        for in_use, breaches in ((3, 1), (2, 0)):
            answer = refusal(2.01, "r-3", scope="provider:GLM", limit=2, in_use=in_use)
            run = history(*call(1, 0, 9), *call(2, 1, 9), sent(1.99, request_id="r-3"), step, answer)
            assert broken(slots.refused_holds_nothing, run) == breaches

    def test_refused_call_runs_all_the_same(self) -> None:
        """A trace that was only ever refused has no execution; one that came back may."""
        refused = daemon_call(2.0, "refused", "r-3", status=429, scope="global", trace_id="t-4")
        ran = execution(2.5, "start", 4, trace_id="t-4")
        assert broken(slots.refused_holds_nothing, history(refused, ran)) == 1
        assert broken(slots.refused_holds_nothing, history(refused, *call(4, 2.4, 8))) == 0


class TestFull:
    def refused(self, at: float, **fields: Any) -> AnyEvent:
        """Return a refusal for the provider's pool."""
        known: dict[str, Any] = {"status": 429, "scope": "provider:GLM", "trace_id": "t-9", "call_key_hash": "k-9"}
        return daemon_call(at, "refused", "r-9", **(known | fields))

    def test_refused_with_room(self) -> None:
        """A 429 while one of two slots is free is wrong."""
        assert broken(slots.full_when_refused, history(*call(1, 0, 10), self.refused(5.0))) == 1

    def test_freed_a_moment_ago(self) -> None:
        """A slot that was freed within 50 ms may still look taken; one freed before that may not."""
        calls = [*call(1, 0, 10), *call(2, 1, 12)]
        assert broken(slots.full_when_refused, history(*calls, self.refused(10.04))) == 0
        assert broken(slots.full_when_refused, history(*calls, self.refused(10.06))) == 1

    def test_no_grace_in_virtual_time(self) -> None:
        """In virtual time nothing is late."""
        calls = [*call(1, 0, 10), *call(2, 1, 12)]
        run = history(*calls, self.refused(10.04), body=Body.SIMULATED)
        assert broken(slots.full_when_refused, run) == 1

    def test_bounds_are_on_the_wall(self) -> None:
        """At a time scale of 0.1, 50 ms on the wall are half a second of the run."""
        calls = [*call(1, 0, 10), *call(2, 1, 12)]
        assert broken(slots.full_when_refused, history(*calls, self.refused(10.4), time_scale=0.1)) == 0

    def test_slot_of_the_lapsed_owner_passes_on(self) -> None:
        """A call whose key has a lapsed owner is not refused for a pool in which that owner holds a slot."""
        calls = [*call(1, 0, 10), *call(2, 1, 12)]
        assert broken(slots.full_when_refused, history(*calls, self.refused(5.0, call_key_hash="k-1"))) == 1
        other = self.refused(5.0, call_key_hash="k-1", session="s-2", scope="session")
        full = [step for n in (3, 4, 5) for step in call(n, 1, 9, session="s-2")]
        assert broken(slots.full_when_refused, history(*calls, *full, other)) == 0

    def test_unknown_cap_is_undecided(self) -> None:
        """A refusal for a scope whose cap nobody knows says nothing."""
        assert slots.full_when_refused(history(self.refused(1.0, scope="tool:other"))).missing is not None


class TestFreeAtOnce:
    def late(self, stopped_at: float) -> list[AnyEvent]:
        """Return a call whose only execution ends at 10."""
        events = call(1, 0, 10.02)
        return [*events[:-2], daemon_call(stopped_at, "answered"), daemon_call(stopped_at, "stopped", trace_id="t-1")]

    def test_slot_held_after_the_work(self) -> None:
        """300 ms after the work's end, 200 of them the tool's own and 50 for stamps, the slot is free."""
        assert broken(slots.free_at_once, history(*self.late(10.31))) == 1
        assert broken(slots.free_at_once, history(*self.late(10.29))) == 0

    def test_fault_on_the_link(self) -> None:
        """While a fault is on the provider's link, the daemon may hear of the end late."""
        slow = fault("slow", 5.0, 20.0, "daemon-provider:GLM")
        finding = slots.free_at_once(history(*self.late(14.0), *slow))
        assert (finding.judged, len(finding.violations)) == (0, 0)

    def test_stall_explains_it(self) -> None:
        """A machine that stood still explains a late stop."""
        finding = slots.free_at_once(history(*self.late(10.8), lag(10.7, 0.6)))
        assert (finding.stalled, len(finding.violations)) == (1, 0)
