"""A model run as a drill leaves one: its record, what the model could not know, and the verdict on the rest."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from scenarios.checks.judge import judge
from scenarios.history import Body, write_calls
from scenarios.load import to_yaml
from scenarios.model import Expectation, Metric, Scenario
from scenarios.model_faults import Fault
from scenarios.record import CALLS, EVENTS, Record, encode_events
from scenarios.run import FaultWindow, Run
from scenarios.run_directory import RunDirectory, RunDirectoryError
from scenarios.verdict import Judgement
from simulator.model.engine import ModelRun
from simulator.model.settings import ModelSettings, caps_of, timeouts_of

_NO_STORY: Final = "the model writes no story of clients, daemon and provider"
_NO_HEARTBEATS: Final = "the model's heartbeats are on time by its making"
UNSEEN: Final[dict[Metric, str]] = {
    "refusals": _NO_STORY,
    "duplicates": _NO_STORY,
    "retried_success_rate": _NO_STORY,
    "executions": _NO_STORY,
    "refused_as_duplicate_max_s": _NO_STORY,
    "max_heartbeat_gap_s": _NO_HEARTBEATS,
    "first_heartbeat_max_s": _NO_HEARTBEATS,
    "calls_without_heartbeat": _NO_HEARTBEATS,
    "call_summaries": "the model makes no results, only their times",
    "daemon_errors": "the model has no log",
}
"""Metrics that a model run says nothing about, and why."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A model run, judged.

    Attributes:
        scenario: The scenario with the expectations that the model can know.
        record: What happened.
        judgement: What it says.
    """

    scenario: Scenario
    record: Record
    judgement: Judgement


def judged(
    scenario: Scenario, settings: ModelSettings, run: ModelRun, *, started_at: datetime, wall_s: float, version: str
) -> Simulated:
    """Make a record of a model run and judge it; a pure function.

    Args:
        scenario: What was run; its seed is the run's.
        settings: What it was set to.
        run: What came out.
        started_at: Start by the wall clock.
        wall_s: How long it took on the wall.
        version: Of this package.
    """
    knowable, unseen = without_unseen(scenario)
    doubts = _doubts(scenario, run)
    conditions = Run(
        scenario=scenario.name,
        title=scenario.title,
        body=Body.SIMULATED,
        started_at=started_at.isoformat(),
        wall_s=wall_s,
        time_scale=1.0,
        seed=scenario.seed,
        timeouts_s=timeouts_of(settings),
        caps=caps_of(settings.config),
        settings=dict(settings.values),
        versions={"exai-harness": version},
        faults=tuple(_windows(scenario, run)),
        not_carried=(*doubts, *settings.not_carried, *unseen),
        target="model",
        doubts=doubts,
    )
    record = Record(conditions, run.calls, [])
    return Simulated(knowable, record, judge(knowable, record))


def without_unseen(scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
    """Return the scenario with the expectations that a model run can know, and the others in words.

    Where none is left, all stay: the run is then undecided, each for its own reason.
    """
    reasons = [(each, _unseen(each)) for each in scenario.expect]
    known = tuple(each for each, reason in reasons if reason is None)
    if not known:
        return scenario, ()
    left_out = tuple(f"expectation {_name(each)}: {reason}" for each, reason in reasons if reason is not None)
    return scenario.model_copy(update={"expect": known}), left_out


def keep(simulated: Simulated, directory: RunDirectory) -> None:
    """Write scenario and history: from them, all else can be made again.

    Raises:
        RunDirectoryError: They cannot be written.
    """
    directory.write("scenario.yaml", to_yaml(simulated.scenario).encode())
    path: Path = directory.path / CALLS
    try:
        write_calls(path, simulated.record.calls)
    except OSError as error:
        raise RunDirectoryError.of(path, error) from error
    directory.write(EVENTS, encode_events(simulated.record.run, simulated.record.events))


def _unseen(expectation: Expectation) -> str | None:
    if expectation.metric is None:
        return "the model keeps the rules by its making, and has no story to judge them by"
    return UNSEEN.get(expectation.metric)


def _name(expectation: Expectation) -> str:
    """Name an expectation with its filters."""
    filters = ("phase", "tool", "provider", "outcome", "layer", "scope", "during")
    given = [f"{name} {getattr(expectation, name)}" for name in filters if getattr(expectation, name) is not None]
    rules = expectation.broken and f"broken {expectation.broken}"
    what = expectation.metric or rules or "invariants"
    return f"{what} ({', '.join(given)})" if given else what


def _doubts(scenario: Scenario, run: ModelRun) -> tuple[str, ...]:
    """Return the parts that the model leaves out and that may change any result."""
    defect = scenario.daemon.defect
    seeded = () if defect is None else (f"defect {defect}: the model's daemon has none",)
    return (*seeded, *run.not_carried)


def _windows(scenario: Scenario, run: ModelRun) -> Iterator[FaultWindow]:
    """Return the windows of the faults as they were in the model, under the names that the calls have.

    A daemon that drains takes its time, so a signal's window is seldom the plan's.
    """
    faults = dict(_named(scenario.faults))
    for window in sorted(run.windows, key=lambda each: each.began_at):
        fault = faults[window.name]
        link = fault.link or (f"provider:{fault.provider.name}" if fault.provider is not None else "daemon")
        ended_at = window.ended_at if math.isfinite(window.ended_at) else None
        yield FaultWindow(name=window.name, title=fault.title, link=link, started_at=window.began_at, ended_at=ended_at)


def _named(faults: Iterable[Fault]) -> Iterator[tuple[str, Fault]]:
    """Return each fault with its name; those that would have the same get a number, as in a drill."""
    seen: Counter[str] = Counter()
    for fault in faults:
        seen[fault.title] += 1
        yield fault.title if seen[fault.title] == 1 else f"{fault.title}-{seen[fault.title]}", fault
