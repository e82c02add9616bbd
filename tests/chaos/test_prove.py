"""What counts as caught."""

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.conduct import Conducted
from chaos.defects import DEFECTS
from chaos.protocol_stage import RULES, asked_about, protocol_scenario
from chaos.prove import CLEAN, Proof, about, fired_in, markdown, stages_of, verdict_of
from chaos.stages import STAGES
from scenarios.load import find_scenario
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict
from tests.scenarios.checks.histories import record


def a_proof(verdict: Verdict, why: str = "caught") -> Proof:
    """Return the proof of a defect."""
    return Proof(
        defect="d", title="t", stage="smoke", rule="INV-01", fired=("INV-01",), verdict=verdict, why=why, wall_s=1.0
    )


def test_what_fired_is_named_without_its_filters() -> None:
    """Violated rules by number, missed expectations by metric; what held or is undecided did not fire."""
    judgement = Judgement(
        expectations=(
            ExpectationResult(
                name="success_rate (phase steady)", value=0.0, limit="1", verdict=Verdict.VIOLATED, reason=""
            ),
            ExpectationResult(name="p95_s", value=1.0, limit="2", verdict=Verdict.HELD, reason=""),
        ),
        invariants=(
            InvariantResult(rule="INV-03", title="", verdict=Verdict.VIOLATED, judged=1, reason=""),
            InvariantResult(rule="INV-04", title="", verdict=Verdict.UNDECIDED, judged=0, reason=""),
        ),
    )
    assert fired_in(Conducted(record(), judgement, Path(), interrupted=False)) == ("INV-03", "expectation:success_rate")


@pytest.mark.parametrize(
    ("proofs", "verdict"),
    [
        ([a_proof(Verdict.HELD)], Verdict.HELD),
        ([a_proof(Verdict.HELD), a_proof(Verdict.VIOLATED)], Verdict.VIOLATED),
        ([a_proof(Verdict.HELD), a_proof(Verdict.UNDECIDED, "not for the gate: virtual time")], Verdict.HELD),
        ([a_proof(Verdict.UNDECIDED, "not for the gate: virtual time")], Verdict.UNDECIDED),
    ],
)
def test_the_verdict_is_the_worst_of_what_the_gate_can_see(proofs: list[Proof], verdict: Verdict) -> None:
    """One defect that is not caught is enough; those that are not the gate's have no say."""
    assert verdict_of(proofs) is verdict


def test_every_defect_has_a_stage_that_exists() -> None:
    """A defect names a stage of the gate or a shipped scenario."""
    named = stages_of(DEFECTS.values())
    assert "protocol" in named
    for stage in named:
        assert stage in STAGES or find_scenario(stage).is_file()


def test_a_defect_of_the_protocol_stage_is_asked_about_its_own_rule() -> None:
    """The stage as it is asks about all of its rules, a proof about one; a foreign daemon is asked all that can be."""
    scenario = protocol_scenario(0.05, embedded=True)
    assert asked_about(scenario) == frozenset(RULES)
    assert asked_about(about(scenario, "INV-07")) == frozenset({"INV-07"})
    assert asked_about(protocol_scenario(0.05, embedded=False)) is None


def test_what_the_gate_cannot_see_is_said() -> None:
    """A defect that only virtual time or a static check judges says so; all the others name a rule of their stage."""
    elsewhere = {name for name, defect in DEFECTS.items() if defect.judged_by != "gate"}
    assert elsewhere == {"wall-clock-deadlines"}
    asked = {each.rule for each in DEFECTS.values() if each.stage == "protocol" and each.judged_by == "gate"}
    assert asked
    assert asked <= set(RULES)


def test_the_table_has_a_row_for_each_proof() -> None:
    """The clean daemon stands in the table, too."""
    rows = markdown([replace(a_proof(Verdict.HELD), defect=CLEAN), a_proof(Verdict.HELD)]).splitlines()
    assert rows[2:] == [f"| {name} | t | smoke | INV-01 | caught | 1 |" for name in (CLEAN, "d")]
