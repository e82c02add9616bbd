"""The gate over its stages, without running any."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.conduct import Conducted
from chaos.drill import Ending, Options, for_foreign_daemon, run_to_its_end
from chaos.gate import StageResult, checked_stage, verdict_of, write_gate
from chaos.settings_of import DrillSettingsError
from chaos.stages import STAGES
from scenarios.history import Body
from scenarios.load import find_scenario, load_scenario
from scenarios.record import Record
from scenarios.run import Run
from scenarios.run_directory import RunDirectory
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict

OPTIONS = Options(
    toxiproxy=Path("toxiproxy-server"),
    toxiproxy_version="2.12.0",
    seed=0,
    time_scale=0.05,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def a_result(folder: Path, stage: str, verdict: Verdict) -> StageResult:
    """Return a stage with one expectation of that verdict, and one rule that nobody could judge."""
    run = Run(
        scenario=stage,
        title=stage,
        body=Body.REAL,
        started_at="2026-01-01T00:00:00Z",
        wall_s=1.0,
        time_scale=0.05,
        seed=0,
        timeouts_s={},
    )
    expectation = ExpectationResult(
        name="success_rate", value=0.5, limit="at least 1", verdict=verdict, reason="1 of 2"
    )
    rule = InvariantResult(
        rule="INV-23", title="clocks", verdict=Verdict.UNDECIDED, judged=0, reason="nothing to judge"
    )
    path = folder / stage
    path.mkdir()
    (path / "junit.xml").write_text(f'<testsuites><testsuite name="{stage}"/></testsuites>')
    return StageResult(
        stage, Conducted(Record(run, (), ()), Judgement(expectations=(expectation,), invariants=(rule,)), path, False)
    )


@pytest.mark.parametrize(
    ("verdicts", "planned", "expected"),
    [
        ((Verdict.HELD, Verdict.HELD), 2, Verdict.HELD),
        ((Verdict.HELD,), 2, Verdict.UNDECIDED),
        ((Verdict.HELD, Verdict.UNDECIDED), 2, Verdict.UNDECIDED),
        ((Verdict.VIOLATED, Verdict.UNDECIDED), 3, Verdict.VIOLATED),
        ((), 1, Verdict.UNDECIDED),
    ],
)
def test_the_worst_stage_decides(
    tmp_path: Path, verdicts: tuple[Verdict, ...], planned: int, expected: Verdict
) -> None:
    """A stage that was not run leaves the gate undecided; one that was violated decides."""
    results = [a_result(tmp_path, str(number), verdict) for number, verdict in enumerate(verdicts)]
    assert verdict_of(results, [str(number) for number in range(planned)]) is expected


def test_summaries_name_every_stage_and_what_nobody_judged(tmp_path: Path) -> None:
    """Summary, Markdown and JUnit hold all stages, also those that were not run."""
    results = [a_result(tmp_path, "smoke", Verdict.HELD), a_result(tmp_path, "parallel", Verdict.VIOLATED)]
    summary = write_gate(RunDirectory(tmp_path), results, ["smoke", "parallel", "chaos"])
    assert (summary["verdict"], summary["not_run"]) == ("violated", ["chaos"])
    assert summary["judged_nowhere"] == ["INV-23 clocks"]
    text = (tmp_path / "summary.md").read_text()
    assert "success_rate: 1 of 2" in text
    suites = ET.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 - written a line above
    assert [suite.get("name") for suite in suites] == ["smoke", "parallel"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_valid(stage: str) -> None:
    """The shipped stages and their settings pass the daemon's own checks."""
    assert checked_stage(stage, OPTIONS).scenario.time_scale == 0.05


def test_a_foreign_daemon_gets_what_can_reach_it() -> None:
    """Faults on its providers, signals, and expectations on logs are left out and named."""
    scenario = load_scenario(find_scenario("04-chaos"))
    reachable, left_out = for_foreign_daemon(scenario)
    assert {fault.link for fault in reachable.faults} == {"client-daemon"}
    assert any("standstill" in part for part in left_out)
    assert any("daemon_errors" in part for part in left_out)
    assert all(expectation.metric != "daemon_errors" for expectation in reachable.expect)


def test_an_environment_that_fails_is_an_ending() -> None:
    """What stopped a run is told; what was seen until then is still to be written."""

    async def fails() -> None:
        raise DrillSettingsError("scenario x", "nothing works")

    async def ends() -> None:
        pass

    assert run_to_its_end(fails()) == Ending("scenario x: nothing works", interrupted=False)
    assert run_to_its_end(ends()) == Ending(None, interrupted=False)
