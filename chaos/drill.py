"""One drill from start to end: bring the system up, run the smoke drill, take it down, judge.

Whatever ends it early, an error of the environment or Ctrl-C, what was seen until then is handed back.
"""

import asyncio
import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chaos import smoke
from chaos.interrupt import until_interrupted
from chaos.observe import Observed
from chaos.run_directory import RunDirectory
from chaos.runner import Record, SmokeRunner, Watcher
from chaos.topology import DAEMON_LOG, Plan, topology
from reference_daemon.clock import Clock
from reference_daemon.policy.config import Timeouts
from reference_daemon.policy.errors import HarnessError
from scenarios.run import Run

_PACKAGES: Final = ("exai-harness", "websockets", "openai", "toxiproxy-python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may choose.

    Attributes:
        toxiproxy: The Toxiproxy server's executable.
        toxiproxy_version: What it says of itself.
        seed: Start of every source of chance, Toxiproxy's own jitter excepted, which takes no seed.
        time_scale: Wall seconds per second of the drill.
        started_at: Start by the wall clock.
    """

    toxiproxy: Path
    toxiproxy_version: str
    seed: int
    time_scale: float
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """A drill that is over.

    Attributes:
        run: Its conditions, faults and judged expectations.
        calls: What was seen of each call.
        interrupted: Whether a person or the system stopped it.
    """

    run: Run
    calls: tuple[Observed, ...]
    interrupted: bool


def run_drill(options: Options, directory: RunDirectory, watcher: Watcher, *, clock: Clock) -> Finished:
    """Run the smoke drill; everything that it started has been stopped when this returns, or raises."""
    began_at = clock.now()
    record = Record(start_at=began_at)
    stopped_by: str | None = None
    interrupted = False
    try:
        interrupted = asyncio.run(until_interrupted(_drill(options, directory, watcher, record, clock)))
    except HarnessError as error:
        stopped_by = str(error)
    if interrupted:
        stopped_by = "interrupted"
    run = Run(
        scenario=smoke.SCENARIO,
        title=smoke.TITLE,
        started_at=f"{options.started_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        wall_s=clock.wall_s(clock.now() - began_at),
        time_scale=options.time_scale,
        seed=options.seed,
        timeouts_s={"call timeout": Timeouts().call_s, "expert budget": Timeouts().expert_s},
        versions=_versions(options),
        faults=tuple(record.faults),
        expectations=smoke.judge(record.calls, record.faults, directory.logs / DAEMON_LOG),
        stopped_by=stopped_by,
    )
    return Finished(run, tuple(record.calls), interrupted)


async def _drill(options: Options, directory: RunDirectory, watcher: Watcher, record: Record, clock: Clock) -> None:
    plan = Plan(
        toxiproxy=options.toxiproxy,
        latency=smoke.PROVIDER_LATENCY,
        seed=options.seed,
        time_scale=options.time_scale,
    )
    async with topology(plan, directory, say=watcher.say) as system:
        await SmokeRunner(system, record, watcher, clock=clock, seed=options.seed).run()


def _versions(options: Options) -> dict[str, str]:
    """Return the version of everything that took part."""
    versions = {"Python": platform.python_version(), "Toxiproxy": options.toxiproxy_version}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed (run from its source)"
    return versions
