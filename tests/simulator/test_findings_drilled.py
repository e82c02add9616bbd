"""Findings 1 and 2: what is read out of the drills' histories."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reports.study import Scatter
from scenarios.model import Scenario
from scenarios.run import Run
from simulator.findings import drilled
from simulator.findings.drilled import Drilled, DrillFailedError
from simulator.findings.experiment import Conditions
from simulator.model.engine import simulate
from simulator.model.settings import model_settings
from simulator.replication.command_run import Finished
from simulator.simulated import judged


def a_drill(label: str, **load: Any) -> Drilled:
    """Return what a drill of three calls leaves, made by the model."""
    phase = {"phase": "one", "duration": 10, "arrivals": {"burst": {"size": 3}}, "sequence": ["analyze"]} | load
    scenario = Scenario.model_validate(
        {
            "name": "three",
            "title": "Three",
            "providers": {"GLM": {"latency": {"constant": {"value": 40}}}},
            "load": [phase],
            "expect": [{"metric": "calls", "min": 1}],
        }
    )
    settings = model_settings(scenario)
    run = simulate(scenario, settings.config, seed=scenario.seed)
    made = judged(scenario, settings, run, started_at=datetime(2026, 1, 1, tzinfo=UTC), wall_s=1.0, version="0")
    return Drilled(label, made.record)


def drills(monkeypatch: pytest.MonkeyPatch, **before: Any) -> None:
    """Let the drills be made by the model: those whose label ends with "before" with another load."""

    def fake(_: Conditions, label: str, scenario: str) -> Drilled:
        return a_drill(label, **(before if label.endswith("before") else {}))

    monkeypatch.setattr(drilled, "_drill", fake)


def test_cancellations_are_told_with_their_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, nothing is answered, and it is over before the client's 9 s are; after, everything is."""
    drills(monkeypatch, client_timeout=9.0, sequence=["chat"])
    study = drilled.cancellations(Conditions())
    assert study.headline.startswith("Before, 0 of 3 and 0 of 3 expert calls are answered, all over after 8.0 to 8.0 s")
    assert study.headline.endswith("after, 3 of 3 and 3 of 3.")


def test_duplicates_are_told_with_their_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drill has a row: calls, answers with their interval, outcomes."""
    drills(monkeypatch, keys="shared")
    study = drilled.duplicates(Conditions())
    (table,) = study.sections[0].tables
    assert [row[0] for row in table.rows][:2] == ["equal arguments, before", "equal arguments, after"]
    assert table.rows[0][2:5] == ("3", "1", "0.33 (0.06 to 0.79)")
    assert table.rows[0][-1] == "duplicate 409 × 2, ok × 1"
    dots = study.sections[0].charts[0]
    assert isinstance(dots, Scatter)
    assert [len(series.x) for series in dots.series] == [3] * 5


def test_calls_that_never_end_have_no_moments() -> None:
    """Where no call ended, that is said."""
    assert drilled._over_after([]) == "and none ended"


def _changed(run: Run, **changes: Any) -> Run:
    """Return a run's conditions with some of them changed."""
    return replace(run, **changes)


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({}, 0, None),
        ({}, 1, None),
        ({}, 3, "ended with 3"),
        ({"stopped_by": "interrupted"}, 0, r"was stopped \(interrupted\)"),
        ({"scenario": "other"}, 0, "left the history of other"),
    ],
)
def test_half_a_drill_is_no_finding(
    changes: dict[str, str], status: int, why: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a drill that was judged, to its end and of the scenario that was asked for, shows anything."""
    record = a_drill("three").record
    record = replace(record, run=_changed(record.run, **changes))

    def fake(command: Sequence[str], **_: object) -> Finished:
        (Path(command[-1]) / "run").mkdir(parents=True)
        return Finished(status, "", "exai: no room")

    monkeypatch.setattr(drilled, "run_command", fake)
    monkeypatch.setattr(drilled, "read_record", lambda _: record)
    if why is None:
        assert drilled._drill(Conditions(runs_dir=tmp_path), "x", "three").record is record
        return
    with pytest.raises(DrillFailedError, match=f"{why}: exai: no room"):
        drilled._drill(Conditions(runs_dir=tmp_path), "x", "three")


def test_a_drill_that_leaves_nothing_is_no_finding(tmp_path: Path) -> None:
    """Exit 3, with the scenario's name: nothing is shown of a drill that did not run."""
    with pytest.raises(DrillFailedError, match=r"no-such-scenario ended with 2 .*: .*no-such-scenario") as raised:
        drilled._drill(Conditions(runs_dir=tmp_path), "none", "no-such-scenario")
    assert raised.value.exit_code == 3
