"""One drill from start to end: bring the system up, run the scenario, take it down, gather what happened.

Whatever ends it early, an error of the environment or Ctrl-C, what was seen until then is handed back.
"""

import asyncio
import contextlib
import platform
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from chaos import collect
from chaos.defects import DEFECTS, applied, find
from chaos.interrupt import until_interrupted
from chaos.probes.logs import search_logs
from chaos.recorder import Recorder
from chaos.runner import Load, Runner, Watcher
from chaos.settings_of import caps_of, checked, timeouts_of, wanted
from chaos.topology import Plan, System, running_system
from reference_daemon.clock import Clock
from reference_daemon.garbage import look_rarely
from reference_daemon.policy.errors import HarnessError
from reference_daemon.settings import Settings
from scenarios.history import Body
from scenarios.model import Scenario
from scenarios.record import Record
from scenarios.run import Run
from scenarios.run_directory import RunDirectory
from scenarios.version import OURS, version

_PACKAGES: Final = (OURS, "websockets", "openai", "toxiproxy-python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may choose.

    Attributes:
        toxiproxy: The Toxiproxy server's executable.
        toxiproxy_version: What it says of itself.
        seed: Start of every source of chance, Toxiproxy's own jitter excepted, which takes no seed.
        time_scale: Wall seconds per second of the drill.
        started_at: Start by the wall clock.
        env_file: Settings that stand before the scenario's.
        target: Address of a daemon that runs already.
        token: Its token.
    """

    toxiproxy: Path
    toxiproxy_version: str
    seed: int
    time_scale: float
    started_at: datetime
    env_file: Path | None = None
    target: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A drill that is over.

    Attributes:
        record: What happened.
        interrupted: Whether a person or the system stopped it.
    """

    record: Record
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """A scenario whose settings the daemon will take; made by `check`.

    Attributes:
        scenario: The scenario.
        values: The settings that differ from the shipped ones, as texts.
        settings: All settings.
        not_carried: What a foreign daemon cannot be asked, in words.
    """

    scenario: Scenario
    values: dict[str, str]
    settings: Settings
    not_carried: tuple[str, ...] = ()


def check(scenario: Scenario, *, env_file: Path | None, target: str | None) -> Checked:
    """Check what can be wrong before anything starts.

    Raises:
        DrillSettingsError: A setting is wrong.
        UnknownDefectError: The scenario names a defect that there is not.
    """
    if scenario.daemon.defect is not None:
        find(scenario.daemon.defect)
    values = wanted(scenario, env_file)
    settings = checked(scenario, values)
    if target is None:
        return Checked(scenario, values, settings)
    reachable, left_out = for_foreign_daemon(scenario)
    return Checked(reachable, values, settings, left_out)


def for_foreign_daemon(scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
    """Return what of a scenario can be run on a daemon that somebody else started, and what cannot, in words."""
    left_out = [f"settings: the daemon's own are in force, not {name}" for name in scenario.settings]
    left_out += [f"provider {name}: it is not ours to control" for name in scenario.providers]
    faults = []
    for fault in scenario.faults:
        if fault.link == "client-daemon":
            faults.append(fault)
        else:
            left_out.append(f"fault {fault.title}: only the link to the clients can be reached")
    blind = {"executions", "daemon_errors"}
    expect = []
    for expectation in scenario.expect:
        if expectation.metric in blind:
            left_out.append(f"expectation {expectation.metric}: it needs logs that a foreign daemon keeps to itself")
        elif expectation.scope is not None and scenario.settings:
            left_out.append(f"expectation {expectation.metric} of {expectation.scope}: the caps are not the scenario's")
        else:
            expect.append(expectation)
    changes = {"faults": tuple(faults), "expect": tuple(expect), "daemon": type(scenario.daemon)()}
    return scenario.model_copy(update=changes), tuple(left_out)


def run_drill(what: Checked, options: Options, directory: RunDirectory, watcher: Watcher, *, clock: Clock) -> Finished:
    """Run a scenario; everything that it started has been stopped when this returns, or raises."""
    began_at = clock.now()
    recorder = Recorder(clock)
    load = Load(scenario=what.scenario, recorder=recorder)
    drill = _Drill(what, options, directory, watcher, clock, load)
    ending = run_to_its_end(drill.run())
    try:
        drill.collect()
    except HarnessError as error:  # what the clients saw is kept all the same
        ending = replace(ending, stopped_by=ending.stopped_by or str(error))
    run = replace(
        run_of(what, options, ending, wall_s=clock.wall_s(clock.now() - began_at)),
        faults=load.faults,
        schedule_lag_p99_s=None if load.driver is None else load.driver.lag_p99_s(),
    )
    events = sorted(recorder.events, key=lambda event: event.at)
    return Finished(Record(run, tuple(load.calls), events), ending.interrupted)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        stopped_by: Why before its end; None if it did not.
        interrupted: Whether a person or the system stopped it.
    """

    stopped_by: str | None
    interrupted: bool


def run_to_its_end(work: Coroutine[Any, Any, None]) -> Ending:
    """Run what a drill or a stage does; an environment that fails is an ending, not an error."""
    try:
        interrupted = asyncio.run(until_interrupted(work))
    except HarnessError as error:
        return Ending(str(error), interrupted=False)
    return Ending("interrupted" if interrupted else None, interrupted)


def run_of(what: Checked, options: Options, ending: Ending, *, wall_s: float) -> Run:
    """Return what is known of a run besides its calls, its faults and its driver."""
    return Run(
        scenario=what.scenario.name,
        title=what.scenario.title,
        body=Body.REAL,
        started_at=f"{options.started_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        wall_s=round(wall_s, 3),
        time_scale=options.time_scale,
        seed=options.seed,
        timeouts_s=timeouts_of(what.settings),
        caps={} if options.target else caps_of(what.settings),
        settings=what.values,
        versions=versions(options.toxiproxy_version),
        not_carried=what.not_carried,
        target=options.target or "embedded",
        defect=what.scenario.daemon.defect,
        stopped_by=ending.stopped_by,
    )


class _Drill:
    """One drill while it runs."""

    def __init__(
        self,
        what: Checked,
        options: Options,
        directory: RunDirectory,
        watcher: Watcher,
        clock: Clock,
        load: Load,
    ) -> None:
        self._what, self._options, self._directory = what, options, directory
        self._watcher, self._clock, self._load = watcher, clock, load
        self._system: System | None = None

    async def run(self) -> None:
        """Bring the system up, run the load, take the system down."""
        look_rarely()
        recorder, options, scenario = self._load.recorder, self._options, self._what.scenario
        plan = Plan(
            scenario=scenario,
            settings=self._what.values,
            toxiproxy=options.toxiproxy,
            seed=options.seed,
            time_scale=options.time_scale,
            logs=self._directory.logs,
            target=options.target,
        )
        system_of = running_system(plan, say=self._watcher.say, note=recorder.note, since=recorder.since)
        with _client_defect(scenario.daemon.defect):
            async with system_of as self._system:
                runner = Runner(self._system, self._load, self._watcher, clock=self._clock, seed=options.seed)
                token = options.token
                await runner.run(client_timeout_s=self._what.settings.client_timeout_s, token=token)

    def collect(self) -> None:
        """Add what daemon and provider wrote, and what stands in their logs that should not."""
        system, recorder = self._system, self._load.recorder
        if system is None:
            return
        logs: list[Path] = []
        if system.daemon is not None:
            for boot, path in system.daemon.metrics_files:
                if path.exists():
                    recorder.events += collect.daemon_events(path, start_at=recorder.start_at, boot=boot)
            logs = [path for path in system.daemon.text_logs if path.exists()]
        if system.provider_log is not None and system.provider_log.exists():
            recorder.events += collect.provider_events(system.provider_log, start_at=recorder.start_at)
        recorder.events += search_logs(logs, ())


def _client_defect(name: str | None) -> contextlib.AbstractContextManager[object]:
    """Apply a defect that is the client's; one of the daemon is applied in its own process."""
    if name is None or DEFECTS[name].where != "client":
        return contextlib.nullcontext()
    return applied(name)


def versions(toxiproxy: str) -> dict[str, str]:
    """Return the version of everything that took part."""
    found = {"Python": platform.python_version(), "Toxiproxy": toxiproxy}
    return found | {name: version(name) for name in _PACKAGES}
