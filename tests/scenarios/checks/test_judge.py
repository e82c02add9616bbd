"""The verdict on a run: what decides it, and what must never pass."""

from collections.abc import Sequence
from typing import Any

import pytest

from scenarios.checks import judge as module
from scenarios.checks.context import History
from scenarios.checks.judge import judge, judge_rules
from scenarios.checks.registry import RULES, Finding, Rule, load_rules, rule
from scenarios.history import Body
from scenarios.numbers import NUMBERS
from scenarios.run import FaultProof, FaultWindow
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict, Violation
from tests.scenarios.checks.histories import (
    a_call,
    a_scenario,
    exchange,
    execution,
    fault,
    opened,
    probe,
    record,
)

HELD, VIOLATED, UNDECIDED = Verdict.HELD, Verdict.VIOLATED, Verdict.UNDECIDED
BREACH = Violation(what="it broke")


def finding_of(number: str, monkeypatch: pytest.MonkeyPatch, check: Any) -> InvariantResult:
    """Judge one rule whose check is replaced."""
    load_rules()
    monkeypatch.setitem(RULES, number, Rule(number, "a rule", check))
    results = judge_rules(History(record()))
    return next(result for result in results if result.rule == number)


def named(judgement: Judgement, name: str) -> ExpectationResult | None:
    """Return the expectation of that name; None if there is none."""
    return next((result for result in judgement.expectations if result.name == name), None)


class TestRules:
    @pytest.mark.parametrize(
        ("finding", "verdict", "reason"),
        [
            (Finding(3), HELD, "3 cases judged, no breach"),
            (Finding(1, note="but mind"), HELD, "1 case judged, no breach; but mind"),
            (Finding(3, [BREACH]), VIOLATED, "1 breach, the first: it broke"),
            (Finding(3, [BREACH], missing="half", stalled=2), VIOLATED, "1 breach, the first: it broke"),
            (Finding(0), UNDECIDED, "nothing to judge: no such case in this run"),
            (Finding(0, missing="no frames"), UNDECIDED, "nothing to judge: no frames"),
            (Finding(3, missing="no log"), UNDECIDED, "3 cases without a breach, but no log"),
            (Finding(3, stalled=1), UNDECIDED, "1 breach while the machine stood still, which may be why"),
        ],
    )
    def test_verdict_table(
        self, finding: Finding, verdict: Verdict, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A breach violates; no case, a stall or something missing leaves open; only cases without a breach hold."""
        result = finding_of("INV-09", monkeypatch, lambda _: finding)
        assert (result.verdict, result.reason) == (verdict, reason)

    def test_a_check_that_raises_is_undecided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It names the exception, passes nothing, and the other rules are judged all the same."""

        def broken(_: History) -> Finding:
            raise KeyError("r-1")

        result = finding_of("INV-09", monkeypatch, broken)
        assert result.verdict is UNDECIDED
        assert result.reason == "the check itself failed: KeyError: 'r-1'"

    def test_what_a_rule_could_not_see_leaves_it_undecided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether its check knows that executions were hidden or not."""
        load_rules()
        monkeypatch.setitem(RULES, "INV-06", Rule("INV-06", "caps", lambda _: Finding(3)))
        cut = fault("cut", 5, 9, link="daemon-provider:GLM", blinds=("GLM",))
        results = judge_rules(History(record(execution(1, "start"), *cut)))
        assert results[5].verdict is UNDECIDED
        assert "at GLM during cut" in results[5].reason

    def test_many_breaches_are_counted_and_few_are_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A thousand breaches of one kind say no more than five."""
        result = finding_of("INV-09", monkeypatch, lambda _: Finding(1000, [BREACH] * 1000))
        assert (result.violated, len(result.violations)) == (1000, module.MOST_VIOLATIONS)

    def test_a_rule_without_a_check_is_undecided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody judges it, so nobody may say that it held."""
        known = {number: each for number, each in load_rules().items() if number != "INV-09"}
        monkeypatch.setattr(module, "load_rules", lambda: known)
        results = judge_rules(History(record()))
        assert [result.rule for result in results] == list(NUMBERS)
        assert results[8].verdict is UNDECIDED

    def test_without_any_event_no_rule_holds(self) -> None:
        """No data never passes."""
        assert {result.verdict for result in judge_rules(History(record()))} == {UNDECIDED}

    def test_the_rules_are_kept_in_order(self) -> None:
        """Whichever module was imported first."""
        assert list(load_rules()) == sorted(RULES)

    def test_a_rule_has_one_check(self) -> None:
        """A second module that claims a number is a mistake; so is a number that no rule has."""
        load_rules()
        with pytest.raises(ValueError, match="two checks"):
            rule("INV-01", "again")(lambda _: Finding(0))
        with pytest.raises(ValueError, match="none of"):
            rule("INV-47", "beyond")


ALL = [{"invariants": "all"}]
SOME = [{"invariants": ["INV-31"]}]
GOOD = (opened(), *exchange())


class TestInvariants:
    @pytest.mark.parametrize(
        ("expect", "events", "verdict"),
        [
            (ALL, GOOD, HELD),
            (ALL, (*GOOD, probe("INV-31", held=False)), VIOLATED),
            (ALL, (), UNDECIDED),
            (SOME, GOOD, UNDECIDED),
            (SOME, (*GOOD, probe("INV-31")), HELD),
            (SOME, (*GOOD, probe("INV-31", held=False)), VIOLATED),
            (SOME, (*GOOD, probe("INV-31"), probe("INV-32", held=False)), VIOLATED),
            ([{"invariants": ["INV-99"]}], GOOD, UNDECIDED),
        ],
        ids=[
            "all: none broken",
            "all: one broken",
            "all: no data",
            "some: not judged",
            "some: held",
            "some: broken",
            "some: another one broken",
            "no such rule",
        ],
    )
    def test_verdict_table(self, expect: list[Any], events: Sequence[Any], verdict: Verdict) -> None:
        """`all` needs one decided rule and no breach; a named rule must be decided; a breach of any rule counts."""
        assert judge(a_scenario(expect=expect), record(*events)).verdict is verdict

    def test_calls_alone_decide_no_rule(self) -> None:
        """That rules know what they do not see says nothing about the daemon."""
        assert judge(a_scenario(expect=ALL), record(calls=[a_call()])).verdict is UNDECIDED

    def test_named_rules_are_required(self) -> None:
        """The others are listed as not judged."""
        judgement = judge(a_scenario(expect=SOME), record(*GOOD))
        required = [result.rule for result in judgement.invariants if result.required]
        assert required == ["INV-31"]
        assert "INV-31" not in {result.rule for result in judgement.not_judged}

    def test_rules_are_judged_unasked(self) -> None:
        """A scenario that names none still fails on a breach."""
        scenario = a_scenario(expect=[{"metric": "calls", "min": 1}])
        judgement = judge(scenario, record(probe("INV-31", held=False), calls=[a_call()]))
        assert judgement.verdict is VIOLATED


def window(bit: bool | None = True, healed: bool | None = True, **changes: Any) -> FaultWindow:
    """Return a fault with its proof."""
    proof = FaultProof(bit=bit, healed=healed, evidence="20 ms before, 21 ms during")
    known: dict[str, Any] = {"name": "slow", "title": "", "link": "client-daemon", "started_at": 1.0, "proof": proof}
    return FaultWindow(**(known | changes))


class TestFaultsBit:
    @pytest.mark.parametrize(
        ("fault", "verdict"),
        [
            (window(), HELD),
            (window(healed=None), HELD),
            (window(bit=False), UNDECIDED),
            (window(bit=None), UNDECIDED),
            (window(healed=False), UNDECIDED),
            (window(proof=None), UNDECIDED),
        ],
        ids=["bit", "does not heal", "missed", "unseen", "stayed", "nobody looked"],
    )
    def test_verdict_table(self, fault: FaultWindow, verdict: Verdict) -> None:
        """A fault that may have missed makes the run say nothing about it."""
        result = named(judge(a_scenario(), record(faults=(window(), fault))), "faults_bit")
        assert result is not None
        assert result.verdict is verdict
        assert verdict is HELD or "slow" in result.reason

    def test_evidence_is_shown(self) -> None:
        """Whoever reads the report sees what was measured."""
        result = named(judge(a_scenario(), record(faults=(window(bit=False),))), "faults_bit")
        assert result is not None
        assert "20 ms before, 21 ms during" in result.reason

    def test_a_fault_that_never_began_is_a_doubt(self) -> None:
        """A run without its fault shows nothing about it."""
        faults = [{"at": 5, "for": 5, "link": "client-daemon", "toxic": "down"}]
        result = named(judge(a_scenario(faults=faults), record()), "faults_bit")
        assert result is not None
        assert result.verdict is UNDECIDED

    def test_no_faults_need_no_proof(self) -> None:
        """The expectation is left out; in a simulation nothing can miss."""
        assert named(judge(a_scenario(), record()), "faults_bit") is None
        simulated = record(faults=(window(proof=None),), body=Body.SIMULATED)
        assert named(judge(a_scenario(), simulated), "faults_bit") is None


class TestAlways:
    @pytest.mark.parametrize(("lag_s", "verdict"), [(5.0, HELD), (5.1, UNDECIDED), (float("nan"), UNDECIDED)])
    def test_the_driver_keeps_its_schedule(self, lag_s: float, verdict: Verdict) -> None:
        """A quarter of a second on the wall, which is five seconds at a time scale of 0.05."""
        kept = named(judge(a_scenario(), record(schedule_lag_p99_s=lag_s, time_scale=0.05)), "schedule_kept")
        assert kept is not None
        assert kept.verdict is verdict

    @pytest.mark.parametrize(("lag_s", "verdict"), [(0.1, VIOLATED), (147.0, UNDECIDED)])
    def test_a_driver_that_stood_still_accuses_nobody(self, lag_s: float, verdict: Verdict) -> None:
        """A missed figure violates, unless the load driver was late itself: then the machine may be why."""
        expect = [{"metric": "calls", "min": 5}]
        run = record(calls=[a_call()] * 4, schedule_lag_p99_s=lag_s, time_scale=0.05)
        judgement = judge(a_scenario(expect=expect), run)
        missed = named(judgement, "calls")
        assert missed is not None
        assert missed.verdict is verdict
        assert ("stood still" in missed.reason) is (verdict is UNDECIDED)

    def test_without_a_schedule_there_is_nothing_to_keep(self) -> None:
        """The expectation is left out."""
        assert named(judge(a_scenario(), record()), "schedule_kept") is None

    def test_what_a_stopped_run_had_not_reached_is_open(self) -> None:
        """Too few of something may still have come; too many of it stay too many."""
        calls = [a_call()] * 4
        for limits, verdict in (({"min": 5}, UNDECIDED), ({"max": 3}, VIOLATED)):
            scenario = a_scenario(expect=[{"metric": "calls", **limits}])
            missed = named(judge(scenario, record(calls=calls, stopped_by="interrupted")), "calls")
            assert missed is not None
            assert missed.verdict is verdict

    def test_a_run_that_was_stopped_is_undecided(self) -> None:
        """However well it went until then."""
        calls = [a_call()] * 20
        assert judge(a_scenario(), record(*GOOD, calls=calls)).verdict is HELD
        stopped = judge(a_scenario(), record(*GOOD, calls=calls, stopped_by="Ctrl-C"))
        assert stopped.verdict is UNDECIDED
        completed = named(stopped, "completed")
        assert completed is not None
        assert "Ctrl-C" in completed.reason

    def test_expectations_come_in_the_scenarios_order(self) -> None:
        """Those that every run has come last."""
        expect = [{"invariants": "all"}, {"metric": "calls", "min": 1}]
        judgement = judge(a_scenario(expect=expect), record(stopped_by="x", schedule_lag_p99_s=0.0))
        assert [each.name for each in judgement.expectations] == ["invariants", "calls", "schedule_kept", "completed"]


@pytest.mark.parametrize(
    ("held", "verdict"), [(False, Verdict.HELD), (True, Verdict.VIOLATED), (None, Verdict.UNDECIDED)]
)
def test_a_scenario_may_be_there_to_show_a_rule_broken(held: bool | None, verdict: Verdict) -> None:
    """`broken` holds when the rule is broken, fails when it holds, and is undecided when nobody could tell."""
    scenario = a_scenario(expect=[{"broken": "INV-31"}])
    probes = [] if held is None else [probe("INV-31", held=held)]
    judgement = judge(scenario, record(*probes))
    (shown,) = [result for result in judgement.expectations if result.name == "broken (INV-31)"]
    assert shown.verdict is verdict
    if held is False:
        assert judgement.verdict is Verdict.HELD
