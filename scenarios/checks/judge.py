"""The verdict on a run: the scenario's expectations, those that every run has, and the invariants."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from scenarios.checks.blind import limited
from scenarios.checks.context import History
from scenarios.checks.expectations import judge_metric
from scenarios.checks.probes import with_probes
from scenarios.checks.registry import Finding, Rule, load_rules
from scenarios.model import Expectation, Scenario
from scenarios.numbers import NUMBERS
from scenarios.record import Record
from scenarios.run import FaultWindow, Run
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict, worst

MOST_VIOLATIONS: Final = 5
"""Breaches of one rule that a result lists; it counts them all."""

ABOUT_RULES: Final = "INV-46"
"""The rule about rules: it says nothing about the daemon, so a run that decides it alone decides nothing."""

LATEST_WALL_S: Final = 0.25
"""Wall seconds that the load driver may be late at its 99th percentile; a later one hides what it should measure."""


def judge(scenario: Scenario, record: Record) -> Judgement:
    """Judge a run of `scenario`. A pure function: an old run can be judged again."""
    history = History(record, scenario)
    meant = {each.broken for each in scenario.expect}
    judged = judge_rules(history, required=_named(scenario.expect))
    invariants = tuple(replace(result, meant=result.rule in meant) for result in judged)
    expectations = [_expectation(scenario, history, each, invariants) for each in scenario.expect]
    expectations = [_doubted(result, record.run.doubts) for result in expectations]
    if record.run.stopped_by is not None:
        expectations = [_unless_more(result, each) for each, result in zip(scenario.expect, expectations, strict=True)]
    schedule = _schedule_kept(record.run)
    if schedule is not None and schedule.verdict is not Verdict.HELD:
        pairs = zip(scenario.expect, expectations, strict=True)
        expectations = [result if each.metric is None else _excused(result) for each, result in pairs]
    always = (_faults_bit(scenario, record.run), schedule, _completed(record.run))
    expectations += [result for result in always if result is not None]
    return Judgement(expectations=tuple(expectations), invariants=invariants)


def judge_rules(history: History, *, required: Iterable[str] = ()) -> tuple[InvariantResult, ...]:
    """Judge every rule; those in `required` make the run undecided if they are."""
    rules = load_rules()
    needed = set(required)
    return tuple(_judge_rule(number, rules.get(number), history, number in needed) for number in NUMBERS)


def _named(expectations: Iterable[Expectation]) -> set[str]:
    """Return the rules that the scenario names; `all` names none, since some can never be judged in one run."""
    return {
        number
        for each in expectations
        if each.invariants is not None and each.invariants != "all"
        for number in each.invariants
    }


def _judge_rule(number: str, rule: Rule | None, history: History, required: bool) -> InvariantResult:  # noqa: FBT001 - private, and named by its only caller
    if rule is None:
        return InvariantResult(
            rule=number, title="", verdict=Verdict.UNDECIDED, judged=0, reason="no check is written", required=required
        )
    try:
        finding = with_probes(history, number, limited(history, number, rule.check(history)))
    except Exception as error:  # noqa: BLE001 - a check that breaks says nothing, and must not hide the others
        finding = Finding(0)
        verdict, reason = Verdict.UNDECIDED, f"the check itself failed: {type(error).__name__}: {error}"
    else:
        verdict, reason = _say(finding)
    return InvariantResult(
        rule=number,
        title=rule.title,
        verdict=verdict,
        judged=finding.judged,
        reason=reason,
        required=required,
        violations=tuple(finding.violations[:MOST_VIOLATIONS]),
        violated=len(finding.violations),
    )


def _say(finding: Finding) -> tuple[Verdict, str]:
    """Turn a finding into a verdict and its reason."""
    if finding.violations:
        first = finding.violations[0].what
        return Verdict.VIOLATED, f"{_counted(len(finding.violations), 'breach', 'breaches')}, the first: {first}"
    if finding.stalled:
        stalls = _counted(finding.stalled, "breach", "breaches")
        return Verdict.UNDECIDED, f"{stalls} while the machine stood still, which may be why"
    if finding.judged == 0:
        return Verdict.UNDECIDED, f"nothing to judge: {finding.missing or 'no such case in this run'}"
    if finding.missing is not None:
        return Verdict.UNDECIDED, f"{_counted(finding.judged, 'case')} without a breach, but {finding.missing}"
    note = f"; {finding.note}" if finding.note else ""
    return Verdict.HELD, f"{_counted(finding.judged, 'case')} judged, no breach{note}"


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _expectation(
    scenario: Scenario, history: History, expectation: Expectation, invariants: tuple[InvariantResult, ...]
) -> ExpectationResult:
    if expectation.broken is not None:
        return _shown_broken(expectation.broken, invariants)
    if expectation.invariants is None:
        return judge_metric(scenario, history, expectation)
    if expectation.invariants == "all":
        return _all_rules(invariants)
    return _named_rules(expectation.invariants, invariants)


def _doubted(result: ExpectationResult, doubts: tuple[str, ...]) -> ExpectationResult:
    """Leave a result open if its body left out what may have changed it: it saw another, milder run."""
    if not doubts:
        return result
    parts = [doubt.partition(":")[0] for doubt in doubts]
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    return replace(result, verdict=Verdict.UNDECIDED, reason=f"{result.reason}; but it ran without {parts[0]}{more}")


def _excused(result: ExpectationResult) -> ExpectationResult:
    """Leave a missed figure open if the load driver was late: the same standstill may have made calls late, or fail."""
    if result.verdict is not Verdict.VIOLATED:
        return result
    reason = f"{result.reason}; but the load driver stood still, too, which may be why"
    return replace(result, verdict=Verdict.UNDECIDED, reason=reason)


def _unless_more(result: ExpectationResult, expectation: Expectation) -> ExpectationResult:
    """Leave open what a run that was stopped had not reached: the rest of it could have brought it."""
    least, value = expectation.min, result.value
    if result.verdict is not Verdict.VIOLATED or least is None or value is None or value >= least:
        return result
    return replace(result, verdict=Verdict.UNDECIDED, reason=f"{result.reason}; but the run was stopped before its end")


def _shown_broken(number: str, invariants: tuple[InvariantResult, ...]) -> ExpectationResult:
    """Judge `broken`: the old behaviour shows, if the rule against it is broken."""
    (rule,) = [result for result in invariants if result.rule == number]
    verdicts = {Verdict.VIOLATED: Verdict.HELD, Verdict.HELD: Verdict.VIOLATED}
    return ExpectationResult(
        name=f"broken ({number})",
        value=None if rule.verdict is Verdict.UNDECIDED else float(rule.violated),
        limit="at least 1 breach, to be shown",
        verdict=verdicts.get(rule.verdict, Verdict.UNDECIDED),
        reason=rule.reason,
        n=rule.judged,
    )


def _all_rules(invariants: tuple[InvariantResult, ...]) -> ExpectationResult:
    """Judge `invariants: all`: no rule is broken, and at least one besides the rule about rules was decided."""
    decided = [result for result in invariants if result.verdict is not Verdict.UNDECIDED]
    if all(result.rule == ABOUT_RULES and result.verdict is Verdict.HELD for result in decided):
        decided = []
    broken = [result.rule for result in decided if result.verdict is Verdict.VIOLATED and not result.meant]
    reason = f"{len(decided)} of {len(invariants)} rules could be decided"
    if broken:
        reason += f"; broken: {', '.join(broken)}"
    return ExpectationResult(
        name="invariants",
        value=float(len(broken)) if decided else None,
        limit="no rule broken",
        verdict=worst(result.verdict for result in decided if not result.meant),
        reason=reason,
        n=len(decided),
    )


def _named_rules(numbers: Iterable[str], invariants: tuple[InvariantResult, ...]) -> ExpectationResult:
    """Judge a list of rules: every one was decided, and held."""
    named = dict.fromkeys(numbers)
    chosen = [result for result in invariants if result.rule in named]
    unknown = [number for number in named if number not in NUMBERS]
    open_rules = [result.rule for result in chosen if result.verdict is Verdict.UNDECIDED] + unknown
    broken = [result.rule for result in chosen if result.verdict is Verdict.VIOLATED]
    parts = [f"{len(chosen) + len(unknown) - len(open_rules)} of {len(named)} rules decided"]
    parts += [f"broken: {', '.join(broken)}"] if broken else []
    parts += [f"undecided: {', '.join(open_rules)}"] if open_rules else []
    verdicts = [result.verdict for result in chosen] + [Verdict.UNDECIDED for _ in unknown]
    return ExpectationResult(
        name=f"invariants {', '.join(named)}",
        value=float(len(broken)),
        limit="every one decided, none broken",
        verdict=worst(verdicts),
        reason="; ".join(parts),
        n=len(named),
    )


def _faults_bit(scenario: Scenario, run: Run) -> ExpectationResult | None:
    """Every fault did what it is for, and was gone after its removal; else the run says nothing about it."""
    if run.body.value == "simulated" or not (scenario.faults or run.faults):
        return None
    doubts = [doubt for fault in run.faults if (doubt := _doubt(fault)) is not None]
    missing = len(scenario.faults) - len(run.faults)
    if missing > 0:
        doubts.append(f"{_counted(missing, 'fault')} of the scenario never began")
    bit = sum(1 for fault in run.faults if fault.proof is not None and fault.proof.bit)
    planned = max(len(scenario.faults), len(run.faults))
    return ExpectationResult(
        name="faults_bit",
        value=float(bit),
        limit="every fault bit and healed",
        verdict=Verdict.UNDECIDED if doubts else Verdict.HELD,
        reason="; ".join([f"{bit} of {_counted(planned, 'fault')} bit", *doubts]),
        n=planned,
    )


def _doubt(fault: FaultWindow) -> str | None:
    """Return what is doubtful about a fault; None if it bit and healed."""
    if fault.proof is None:
        return f"{fault.name}: nobody looked whether it bit"
    if not fault.proof.bit:
        seen = "did not bite" if fault.proof.bit is False else "nobody could see whether it bit"
        return f"{fault.name}: {seen} ({fault.proof.evidence})"
    if fault.proof.healed is False:
        return f"{fault.name}: was not gone after its removal ({fault.proof.evidence})"
    return None


def _schedule_kept(run: Run) -> ExpectationResult | None:
    """Judge whether the load driver kept its own schedule: a late one hides latency."""
    lag_s = run.schedule_lag_p99_s
    if lag_s is None:
        return None
    most_s = LATEST_WALL_S / run.time_scale
    kept = lag_s <= most_s  # false for NaN
    late = f"P99 of the driver's lag behind its schedule: {lag_s:.3g} s"
    return ExpectationResult(
        name="schedule_kept",
        value=lag_s,
        limit=f"at most {most_s:.4g} s",
        verdict=Verdict.HELD if kept else Verdict.UNDECIDED,
        reason=late if kept else f"{late}; so late a driver hides latency, and its figures say nothing",
    )


def _completed(run: Run) -> ExpectationResult | None:
    """A run that was stopped before its end says nothing, unless something was already broken."""
    if run.stopped_by is None:
        return None
    return ExpectationResult(
        name="completed",
        value=None,
        limit="the run reaches its end",
        verdict=Verdict.UNDECIDED,
        reason=f"the run ended early: {run.stopped_by}",
    )
