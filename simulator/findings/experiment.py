"""What the experiments have in common: seeds, workers, and how a number with its interval is written."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from reference_daemon.policy.config import PolicyConfig
from reports.study import Series, Study
from scenarios.model import Scenario
from simulator.model.engine import ModelRun, simulate
from simulator.replication.fan_out import fan_out
from simulator.replication.metrics import Figures
from simulator.replication.replications import (
    Interval,
    Task,
    interval,
    interval_of,
    interval_of_share,
    replicate,
    seeds_from,
    tasks_of,
)

Measured = Mapping[str, float | None]
"""What a run says, by name; none is below 0. Of how many cases a share is one stands under its name and `TRIES`."""

TRIES: Final = ", tries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How an experiment is run.

    Attributes:
        seed: Of the first replication; the others follow.
        replications: How many; None: as many as the experiment's document has.
        executor: Where they run; None: here, one after the other.
        runs_dir: Where real drills leave their runs.
        say: Told what has begun.
    """

    seed: int = 1
    replications: int | None = None
    executor: Executor | None = None
    runs_dir: Path = Path("runs")
    say: Callable[[str], None] = lambda _: None

    def seeds(self, usual: int) -> tuple[int, ...]:
        """Return the seeds; `usual` is how many the experiment takes if nobody says anything else."""
        return seeds_from(self.seed, self.replications or usual)

    def figures(
        self,
        scenario: Scenario,
        config: PolicyConfig,
        seeds: Sequence[int],
        *,
        warm_up_s: float = 0.0,
        client_timeout_s: float = 180.0,
    ) -> list[Figures]:
        """Return the figures of all replications."""
        return replicate(
            scenario,
            config,
            seeds=seeds,
            warm_up_s=warm_up_s,
            client_timeout_s=client_timeout_s,
            executor=self.executor,
        )

    def measures(
        self, scenario: Scenario, config: PolicyConfig, seeds: Sequence[int], measure: Callable[[ModelRun], Measured]
    ) -> list[Measured]:
        """Return what a function of the module level reads out of each replication."""
        tasks = tasks_of(scenario, config, seeds=seeds)
        return fan_out(self.executor, partial(measured, measure=measure), tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim, and what shows it.

    Attributes:
        number: In the document.
        name: In the command.
        claim: What is claimed, in a sentence.
        study: Runs the experiment.
        real: Whether real daemons are drilled: such figures are not the same twice.
    """

    number: int
    name: str
    claim: str
    study: Callable[[Conditions], Study]
    real: bool = False


def measured(task: Task, measure: Callable[[ModelRun], Measured]) -> Measured:
    """Run one replication and read it: the work of a worker process."""
    return measure(simulate(task.scenario, task.config, seed=task.seed, client_timeout_s=task.client_timeout_s))


def written(found: Interval, digits: int = 2) -> str:
    """Write an interval for a table."""
    if not found.n:
        return "–"
    mean, low, high = (_number(value, digits) for value in (found.mean, found.low, found.high))
    return f"{mean} ({low} to {high})" if found.known else mean


def share(found: Interval) -> str:
    """Write the interval of a share; Student's t knows nothing of 0 and 1."""
    return written(found.within(0.0, 1.0))


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # the sum makes a zero of minus zero


def line(label: str, x: Sequence[float], found: Sequence[Interval]) -> Series:
    """Return a line with its band; points without a value are left out."""
    kept = [(at, each) for at, each in zip(x, found, strict=True) if each.n]
    return Series(
        label,
        tuple(at for at, _ in kept),
        tuple(each.mean for _, each in kept),
        tuple(each.low if each.known else each.mean for _, each in kept),
        tuple(each.high if each.known else each.mean for _, each in kept),
    )


def of(figures: Sequence[Figures], name: str) -> Interval:
    """Return the interval of one figure."""
    return interval_of(figures, name)


def of_measured(found: Sequence[Measured], name: str) -> Interval:
    """Return the interval of one measure, within what it can be."""
    values = [each[name] for each in found]
    if name + TRIES not in found[0]:
        return interval(values).within(0.0)
    return interval_of_share(values, sum(each[name + TRIES] or 0.0 for each in found))


def conditions_of(seeds: Sequence[int]) -> dict[str, str]:
    """Return the foot of a page."""
    how = f"from {seeds[0]}, as many as stand at the table"
    return {
        "seeds": how,
        "intervals": "95 %, by Student's t over the replications; of shares that are all 0 or all 1, Wilson's",
    }
