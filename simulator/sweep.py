"""A sweep: a scenario with many settings, each with the same seeds, and which of them is best, if that can be said."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from simulator.figures import FIGURES, Figures
from simulator.replications import Interval, Task, intervals, paired, tasks_of
from simulator.sweep_values import Point, Vary
from simulator.workers import run_tasks

RANKED: Final = tuple(name for name, figure in FIGURES.items() if figure.better)
"""Figures by which settings can be ranked."""

AS_IT_IS: Final = "as it is"
"""What the row with nothing changed is called."""


@dataclass(frozen=True)
class Row:
    """One setting and what it gave.

    Attributes:
        point: The setting.
        figures: One for each seed, in their order; empty if it failed.
        why_not: Why it failed; None if it did not.
    """

    point: Point
    figures: tuple[Figures, ...]
    why_not: str | None = None

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """Every figure with its interval."""
        return intervals(self.figures)

    @property
    def label(self) -> str:
        """What was set, in words."""
        return ", ".join(f"{name}={value}" for name, value in self.point.values.items()) or AS_IT_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The setting with the best mean, and whether that can be told from the second one.

    Attributes:
        row: The best one.
        second: The one after it.
        difference: Of the figure, best minus second, seed by seed.
    """

    row: Row
    second: Row
    difference: Interval

    @property
    def sure(self) -> bool:
        """Whether zero, no difference at all, lies outside the interval."""
        return self.difference.above(0.0) or self.difference.below(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep gave.

    Attributes:
        name: Name of the scenario.
        varied: What was varied.
        one_at_a_time: Whether each was varied by itself.
        rows: A row for each setting, in the order of the values.
        seeds: The seeds, the same for every setting.
        warm_up_s: Seconds whose calls are left out.
        by: Figure by which settings are ranked.
        workers: How many replications ran at once.
        wall_s: How long it took.
        cpu_s: Processor seconds of all replications.
        not_carried: Parts of the scenario that the model leaves out.
    """

    name: str
    varied: tuple[Vary, ...]
    one_at_a_time: bool
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    warm_up_s: float
    by: str
    workers: int
    wall_s: float
    cpu_s: float
    not_carried: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Row, ...]:
        """The settings that could not be simulated."""
        return tuple(row for row in self.rows if row.why_not is not None)

    @property
    def runs(self) -> int:
        """Replications that came to their end."""
        return sum(len(row.figures) for row in self.rows)

    @property
    def calls(self) -> int:
        """Logical calls of all replications, those of the warm-up not counted."""
        return sum(figures.calls for row in self.rows for figures in row.figures)

    @property
    def speed_up(self) -> float:
        """Processor seconds per second on the wall: how many cores were kept busy by the model itself."""
        return self.cpu_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def best(self) -> Best | None:
        """The best setting beside the second one, of those with the figure in every replication; None without two."""
        better = -1.0 if FIGURES[self.by].better == "more" else 1.0
        complete = [row for row in self.rows if row.figures and row.intervals[self.by].n == len(self.seeds)]
        ranked = sorted(complete, key=lambda row: better * row.intervals[self.by].mean)
        if len(ranked) < 2:  # noqa: PLR2004 - a best one needs another one
            return None
        first, second = ranked[:2]
        difference = paired(_values(first, self.by), _values(second, self.by))
        return Best(row=first, second=second, difference=difference)


def run_sweep(
    points: Sequence[Point],
    *,
    seeds: Sequence[int],
    warm_up_s: float,
    executor: Executor,
    workers: int,
    watch: Callable[[int], None],
) -> tuple[tuple[Row, ...], float, tuple[str, ...]]:
    """Run every setting with every seed; return the rows in the order of the settings.

    Args:
        points: The settings.
        seeds: The seeds.
        warm_up_s: Calls that were meant to start before this moment are left out.
        executor: Where the replications run.
        workers: How many of them at once.
        watch: Called with the number of replications that are over, after each.

    Returns:
        The rows, the processor seconds of all replications, and what the model leaves out of the scenario.

    Raises:
        WorkersError: The workers themselves ended.
    """
    found: dict[tuple[int, int], Figures] = {}
    why_not: dict[int, str] = {}
    not_carried: dict[str, None] = {}
    cpu_s = 0.0
    for number, done in enumerate(run_tasks(executor, _tasks(points, seeds, warm_up_s), workers=workers), start=1):
        cpu_s += done.cpu_s
        if done.figures is None:
            why_not.setdefault(done.name[0], done.why_not or "")
        else:
            found[done.name] = done.figures
            not_carried |= dict.fromkeys(done.not_carried)
        watch(number)
    rows = tuple(
        Row(point, () if index in why_not else tuple(found[index, seed] for seed in seeds), why_not.get(index))
        for index, point in enumerate(points)
    )
    return rows, cpu_s, tuple(not_carried)


def _tasks(points: Sequence[Point], seeds: Sequence[int], warm_up_s: float) -> Iterator[tuple[tuple[int, int], Task]]:
    for index, point in enumerate(points):
        for task in tasks_of(
            point.scenario,
            point.config,
            seeds=seeds,
            warm_up_s=warm_up_s,
            client_timeout_s=point.client_timeout_s,
        ):
            yield (index, task.seed), task


def _values(row: Row, name: str) -> list[float | None]:
    return [getattr(figures, name) for figures in row.figures]
