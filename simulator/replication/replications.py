"""Replications: the same scenario with many seeds, and what their figures say with an interval.

Settings are compared by common random numbers: the same seeds for each of them. A seed fixes every arrival, tool and
provider latency, so the difference of two settings is theirs and not luck's; `paired` is the interval of it.

Source: A. M. Law, "Simulation Modeling and Analysis", 5th edition, 2015, sections 9.4 and 11.2.
"""

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from scipy.special import ndtri, stdtrit

from reference_daemon.policy.config import PolicyConfig
from scenarios.model import Scenario
from simulator.model.engine import simulate
from simulator.replication.fan_out import fan_out
from simulator.replication.metrics import FIGURES, Figures, figures_of

CONFIDENCE: Final = 0.95
"""Of every interval that nobody says anything else about."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and between which values the true one lies with the given confidence.

    Attributes:
        mean: Of the values; NaN without any.
        low: Lower end; minus infinity with fewer than two values, which say nothing about how far they scatter.
        high: Upper end; infinity with fewer than two values.
        n: How many values there were.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there were values enough for its ends."""
        return self.n > 1

    def above(self, other: float) -> bool:
        """Return whether all of it is above a value."""
        return self.low > other

    def below(self, other: float) -> bool:
        """Return whether all of it is below a value."""
        return self.high < other

    def within(self, least: float, most: float = math.inf) -> "Interval":
        """Return it without what cannot be: no share is above 1, and no duration below 0."""
        return self if not self.known else replace(self, low=max(self.low, least), high=min(self.high, most))

    def as_dict(self) -> dict[str, float | int | None]:
        """Return it as JSON has it; what is not known is null."""
        ends = {"mean": self.mean, "low": self.low, "high": self.high}
        return {name: value if math.isfinite(value) else None for name, value in ends.items()} | {"n": self.n}


def interval(values: Sequence[float | None], confidence: float = CONFIDENCE) -> Interval:
    """Return the mean of replications and its interval by Student's t; replications without a value do not count.

    Raises:
        ValueError: The confidence is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence = {confidence!r}: must be between 0 and 1")
    given = [float(value) for value in values if value is not None]
    n = len(given)
    mean = math.fsum(given) / n if n else math.nan
    if n < 2:  # noqa: PLR2004 - one value has no spread
        return Interval(mean, -math.inf, math.inf, n)
    variance = math.fsum((value - mean) ** 2 for value in given) / (n - 1)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half, n)


def paired(a: Sequence[float | None], b: Sequence[float | None], confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of the differences `a - b` of replications with the same seeds.

    A pair of which one side has no value does not count.

    Raises:
        ValueError: There are not as many of one as of the other.
    """
    pairs = zip(a, b, strict=True)
    return interval([x - y for x, y in pairs if x is not None and y is not None], confidence)


def intervals(figures: Sequence[Figures], confidence: float = CONFIDENCE) -> dict[str, Interval]:
    """Return the interval of every figure, by name, in the order of `FIGURES`."""
    return {name: interval([getattr(each, name) for each in figures], confidence) for name in FIGURES}


def interval_of(figures: Sequence[Figures], name: str, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of one figure, within what it can be: no figure is below 0, and no share above 1."""
    values = [getattr(each, name) for each in figures]
    if FIGURES[name].unit != "share":
        return interval(values, confidence).within(0.0)
    return interval_of_share(values, sum(_tries(each, name) for each in figures), confidence)


def interval_of_share(values: Sequence[float | None], tries: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a share.

    Where every replication has 0, or every one has 1, their spread says nothing: the end on the other side is then
    Wilson's, over the tries of all replications together.

    Args:
        values: The share of each replication.
        tries: Of how many cases in all they are shares; 0 where they are none of cases.
        confidence: Of the interval.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    found = interval(values, confidence).within(0.0, 1.0)
    if not found.known or found.low != found.high or found.mean not in {0.0, 1.0} or tries <= 0:
        return found
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    rest = z2 / (tries + z2)
    return replace(found, low=1.0 - rest) if found.mean else replace(found, high=rest)


def _tries(figures: Figures, name: str) -> float:
    """Return of how many cases a share is one: attempts, or calls; the share of work is none of cases."""
    if name == "refusal_rate":
        return figures.calls * (figures.attempts_per_call or 0.0)
    return 0 if name == "thrown_away_share" else figures.calls


def seeds_from(seed: int, replications: int) -> tuple[int, ...]:
    """Return the seeds of so many replications; the first is `seed` itself, so that a drill's is among them."""
    return tuple(range(seed, seed + replications))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One replication, as it is sent to another process."""

    scenario: Scenario
    config: PolicyConfig
    seed: int
    warm_up_s: float = 0.0
    client_timeout_s: float = 180.0


def run_task(task: Task) -> Figures:
    """Run one replication: the work of a worker process, on this machine or on another one."""
    return figures_and_gaps(task)[0]


def figures_and_gaps(task: Task) -> tuple[Figures, tuple[str, ...]]:
    """Run one replication; return its figures, and the parts of the scenario that the model leaves out."""
    run = simulate(task.scenario, task.config, seed=task.seed, client_timeout_s=task.client_timeout_s)
    return figures_of(run, task.warm_up_s, seed=task.seed, load_s=task.scenario.load_s), run.not_carried


def tasks_of(
    scenario: Scenario,
    config: PolicyConfig,
    *,
    seeds: Sequence[int],
    warm_up_s: float = 0.0,
    client_timeout_s: float = 180.0,
) -> Iterator[Task]:
    """Return a task for each seed, ready to be sent."""
    caps = config.caps
    # The shipped caps stand behind a read-only view, which cannot be sent to another process.
    portable = replace(config, caps=replace(caps, tools=dict(caps.tools), providers=dict(caps.providers)))
    for seed in seeds:
        yield Task(
            scenario=scenario, config=portable, seed=seed, warm_up_s=warm_up_s, client_timeout_s=client_timeout_s
        )


def replicate(
    scenario: Scenario,
    config: PolicyConfig,
    *,
    seeds: Sequence[int],
    warm_up_s: float = 0.0,
    client_timeout_s: float = 180.0,
    executor: Executor | None = None,
) -> list[Figures]:
    """Run a scenario once for each seed, and return the figures in the order of the seeds.

    A pure function: the same arguments give the same figures, whichever executor runs them.

    Args:
        scenario: What is run.
        config: The daemon's settings.
        seeds: One for each replication; the same ones for settings that are to be compared.
        warm_up_s: Calls that were meant to start before this moment are left out.
        client_timeout_s: Seconds that a client waits for a call, where its phase says nothing else.
        executor: Where the replications run, see `worker_pool`; None: here, one after the other.

    Raises:
        WorkersError: The workers themselves ended.
    """
    tasks = tasks_of(scenario, config, seeds=seeds, warm_up_s=warm_up_s, client_timeout_s=client_timeout_s)
    return fan_out(executor, run_task, tasks)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """Return an executor with so many processes; None: one for each core.

    Its processes are new ones, not copies of this one: a copy of a process with threads may hang.
    """
    return ProcessPoolExecutor(
        max_workers=workers or cores(), mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
    )


def _begin_worker() -> None:
    """Make a worker end when its command does.

    Ctrl-C ends it at once and without a word: the command says what there is to say. A command that is killed cannot
    end its workers, and each would wait for work for ever; so each watches for its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, name="watch for the command's end", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


__all__ = [
    "CONFIDENCE",
    "Interval",
    "Task",
    "cores",
    "figures_and_gaps",
    "interval",
    "interval_of",
    "interval_of_share",
    "intervals",
    "paired",
    "replicate",
    "run_task",
    "seeds_from",
    "tasks_of",
    "worker_pool",
]
