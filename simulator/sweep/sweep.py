"""A sweep: a scenario with many settings, each with the same seeds, and which of them is best, if that can be said."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from simulator.replication.metrics import FIGURES, Figures
from simulator.replication.replications import Interval, Task, interval_of, paired, tasks_of
from simulator.replication.workers import run_tasks
from simulator.sweep.values import Point, Vary
from simulator.tune.rule import AIMS

RANKED: Final = tuple(name for name, figure in FIGURES.items() if figure.better)
"""Figures by which settings can be ranked."""

LEAST: Final = {aim.figure: aim.least for aim in AIMS}
"""A difference of at most this is none that anybody would notice, as for `tune`."""

_LEAST_BY_UNIT: Final = {"share": 0.005, "s": 0.5}
_LEAST_SHARE: Final = 0.005
"""Of what has no such unit, counts and rates, a difference of so much of its value."""

AS_IT_IS: Final = "as it is"
"""What the row with nothing changed is called."""


@dataclass(frozen=True)
class Row:
    """One setting and what it gave.

    Attributes:
        point: The setting.
        figures: One for each seed, in their order; empty if it failed.
        why_not: Why it failed; None if it did not.
        repeats: Whether it is what the sweep starts from, said with other words: its figures are those.
    """

    point: Point
    figures: tuple[Figures, ...]
    why_not: str | None = None
    repeats: bool = False

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """Every figure with its interval."""
        return {name: interval_of(self.figures, name) for name in FIGURES}

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
        least: Least difference that anybody would notice.
    """

    row: Row
    second: Row
    difference: Interval
    least: float

    @property
    def told_apart(self) -> bool:
        """Whether zero, no difference at all, lies outside the interval."""
        return self.difference.above(0.0) or self.difference.below(0.0)

    @property
    def sure(self) -> bool:
        """Whether all of the interval is a difference that somebody would notice."""
        return self.difference.above(self.least) or self.difference.below(-self.least)


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
    def distinct(self) -> tuple[Row, ...]:
        """The settings without those that say again what is."""
        return tuple(row for row in self.rows if not row.repeats)

    @property
    def runs(self) -> int:
        """Replications that came to their end."""
        return sum(len(row.figures) for row in self.distinct)

    @property
    def calls(self) -> int:
        """Logical calls of all replications, those of the warm-up not counted."""
        return sum(figures.calls for row in self.distinct for figures in row.figures)

    @property
    def speed_up(self) -> float:
        """Processor seconds per second on the wall: how many cores were kept busy by the model itself."""
        return self.cpu_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def best(self) -> Best | None:
        """The best setting beside the next that runs otherwise, of those that always have the figure; or None."""
        better = -1.0 if FIGURES[self.by].better == "more" else 1.0
        complete = [row for row in self.distinct if row.figures and row.intervals[self.by].n == len(self.seeds)]
        ranked = sorted(complete, key=lambda row: better * row.intervals[self.by].mean)
        others = (row for row in ranked[1:] if not row.point.runs_as(ranked[0].point))
        if (second := next(others, None)) is None:
            return None
        first = ranked[0]
        difference = paired(_values(first, self.by), _values(second, self.by))
        least = least_of(self.by, max(abs(row.intervals[self.by].mean) for row in (first, second)))
        return Best(row=first, second=second, difference=difference, least=least)


def least_of(name: str, value: float) -> float:
    """Return the least difference of a figure that anybody would notice, where it has about that value."""
    return LEAST.get(name) or _LEAST_BY_UNIT.get(FIGURES[name].unit) or _LEAST_SHARE * value


def repeating(points: Sequence[Point]) -> frozenset[int]:
    """Return the places of the settings that say again what the sweep starts from, if it starts from something."""
    start = next((index for index, point in enumerate(points) if point.shipped), None)
    if start is None:
        return frozenset()
    return frozenset(index for index, point in enumerate(points) if index != start and point.runs_as(points[start]))


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
    cpu_s, again = 0.0, repeating(points)
    tasks = _tasks(points, again, seeds, warm_up_s)
    for number, done in enumerate(run_tasks(executor, tasks, workers=workers), start=1):
        cpu_s += done.cpu_s
        if done.figures is None:
            why_not.setdefault(done.name[0], done.why_not or "")
        else:
            found[done.name] = done.figures
            not_carried |= dict.fromkeys(done.not_carried)
        watch(number)
    start = next((index for index, point in enumerate(points) if point.shipped), 0)
    rows = []
    for index, point in enumerate(points):
        ran = start if index in again else index
        figures = () if ran in why_not else tuple(found[ran, seed] for seed in seeds)
        rows.append(Row(point, figures, why_not.get(ran), repeats=index in again))
    return tuple(rows), cpu_s, tuple(not_carried)


def _tasks(
    points: Sequence[Point], again: Container[int], seeds: Sequence[int], warm_up_s: float
) -> Iterator[tuple[tuple[int, int], Task]]:
    for index, point in enumerate(points):
        if index in again:
            continue
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
