"""A model run judged like a drill's, and never for what the model cannot know."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scenarios.checks.judge import judge
from scenarios.history import Body
from scenarios.load import load_scenario, shipped
from scenarios.model import Scenario
from scenarios.record import read_record
from scenarios.run_directory import RunDirectory
from scenarios.verdict import Verdict
from simulator.model.engine import simulate
from simulator.model.settings import model_settings
from simulator.simulated import UNSEEN, Simulated, judged, keep, without_unseen
from tests.simulator.small import a_scenario

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def simulated(scenario: Scenario) -> Simulated:
    """Run a scenario in the model, and judge it."""
    settings = model_settings(scenario)
    run = simulate(scenario, settings.config, seed=scenario.seed)
    return judged(scenario, settings, run, started_at=NOW, wall_s=0.5, version="1.0")


def verdicts(result: Simulated) -> list[Verdict]:
    """Return the verdicts on the expectations."""
    return [expectation.verdict for expectation in result.judgement.expectations]


class TestVerdict:
    @pytest.mark.parametrize(
        ("least", "verdict"), [(0.5, Verdict.HELD), (1.01, Verdict.VIOLATED)], ids=["held", "violated"]
    )
    def test_what_the_model_knows_is_judged(self, least: float, verdict: Verdict) -> None:
        """A limit on outcomes or latencies is held or violated, as in a drill."""
        result = simulated(a_scenario(expect=[{"metric": "success_rate", "min": least}]))
        assert (verdicts(result), result.judgement.verdict) == ([verdict], verdict)

    def test_too_few_calls_are_undecided(self) -> None:
        """A P99 of 40 calls says nothing, in the model as elsewhere."""
        scenario = a_scenario(expect=[{"metric": "p99_s", "max": 1000, "least_calls": 100_000}])
        assert simulated(scenario).judgement.verdict is Verdict.UNDECIDED

    @pytest.mark.parametrize("metric", list(UNSEEN))
    def test_what_it_cannot_know_is_left_out_by_name(self, metric: str) -> None:
        """An expectation on heartbeats, logs or frames is neither held nor violated: it is named as left out."""
        limits = [{"metric": "success_rate", "min": 0.5}, {"metric": metric, "max": 0}]
        result = simulated(a_scenario(expect=limits))
        assert verdicts(result) == [Verdict.HELD]
        assert any(part.startswith(f"expectation {metric}: ") for part in result.record.run.not_carried)

    def test_invariants_are_not_judged(self) -> None:
        """The rules need the stories of daemon and clients; they are left out, and listed as not judged."""
        result = simulated(a_scenario(expect=[{"metric": "calls", "min": 1}, {"invariants": "all"}]))
        assert "expectation invariants: the model keeps the rules by its making" in str(result.record.run.not_carried)
        assert {rule.rule for rule in result.judgement.not_judged} >= {"INV-01", "INV-06", "INV-12", "INV-19"}

    def test_with_nothing_else_to_judge_it_is_undecided(self) -> None:
        """A scenario of which the model knows no expectation decides nothing; it does not pass."""
        result = simulated(a_scenario(expect=[{"metric": "daemon_errors", "max": 0}]))
        assert result.judgement.verdict is Verdict.UNDECIDED

    @pytest.mark.parametrize(
        "changes",
        [
            {"faults": [{"at": 10, "for": 5, "signal": "SIGSTOP"}]},
            {"daemon": {"defect": "leaked-slot"}},
        ],
        ids=["fault", "defect"],
    )
    @pytest.mark.parametrize("least", [0.5, 1.01], ids=["else held", "else violated"])
    def test_a_part_left_out_that_matters_leaves_everything_open(self, changes: dict[str, Any], least: float) -> None:
        """Without a fault of the scenario the model saw another, milder run: it may neither pass nor fail."""
        result = simulated(a_scenario(expect=[{"metric": "success_rate", "min": least}], **changes))
        assert verdicts(result) == [Verdict.UNDECIDED]
        assert "; but it ran without " in result.judgement.expectations[0].reason

    def test_fault_that_it_carries_is_a_window(self) -> None:
        """A failing provider is in the model, so the report shades its time, and recovery can be judged."""
        fault = {"at": 300, "for": 100, "provider": {"name": "GLM", "mode": "status:503"}}
        result = simulated(a_scenario(faults=[fault], expect=[{"metric": "recovery_s", "max": 1500}]))
        (window,) = result.record.run.faults
        assert (window.name, window.link, window.started_at, window.ended_at) == (
            "glm-status-503",
            "provider:GLM",
            300.0,
            400.0,
        )
        assert verdicts(result) == [Verdict.HELD]

    def test_a_daemon_that_drains_has_the_window_that_it_took(self) -> None:
        """The signal is on until the daemon is back, not until the plan says so."""
        result = simulated(a_scenario(faults=[{"at": 300, "for": 5, "signal": "SIGTERM"}]))
        (window,) = result.record.run.faults
        assert window.started_at == 300.0
        assert (window.ended_at or 0.0) > 305.0

    def test_windows_have_the_names_that_the_calls_have(self) -> None:
        """Two faults of one name are told apart, in the windows as in the calls."""
        slow = {"name": "slow", "at": 100, "for": 50, "provider": {"name": "GLM", "mode": "status:503"}}
        result = simulated(a_scenario(faults=[slow, slow | {"at": 400}]))
        windows = result.record.run.faults
        assert [(window.name, window.title) for window in windows] == [("slow", "slow"), ("slow-2", "slow")]
        assert {name for call in result.record.calls for name in call.faults} == {"slow", "slow-2"}


def test_the_run_says_what_it_is() -> None:
    """Body, seed, caps and settings are in the record; a reader never takes it for a drill."""
    run = simulated(a_scenario(settings={"EXAI_WS_GLOBAL_MAX_INFLIGHT": 5})).record.run
    assert (run.body, run.target, run.seed, run.started_at) == (
        Body.SIMULATED,
        "model",
        3,
        "2026-01-02T03:04:05+00:00",
    )
    assert (run.caps["global"], run.settings) == (5, {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "5"})


def test_it_can_be_judged_again(tmp_path: Path) -> None:
    """What is kept reads back to the same record and the same verdict."""
    fault = {"at": 10, "for": 5, "signal": "SIGSTOP"}
    result = simulated(a_scenario(faults=[fault], expect=[{"metric": "calls", "min": 1}, {"invariants": "all"}]))
    directory = RunDirectory.create(tmp_path, "tiny", started_at=NOW)
    keep(result, directory)
    record = read_record(directory.path)
    assert record == result.record
    assert judge(load_scenario(directory.path / "scenario.yaml"), record) == result.judgement


@pytest.mark.parametrize("name", list(shipped()))
def test_no_shipped_scenario_passes_on_what_was_not_seen(name: str) -> None:
    """Every expectation that is held is on a metric of calls alone."""
    scenario = load_scenario(shipped()[name])
    kept, left_out = without_unseen(scenario)
    seen = [each for each in kept.expect if each.metric is not None and each.metric not in UNSEEN]
    assert len(seen) + len(left_out) == len(scenario.expect) or kept is scenario
