"""The search: Optuna's sampler proposes settings, the model says what they do, and the trials are kept.

One trial after the other, so that the same seed gives the same trials however many processes run the replications.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import optuna
from optuna.study import StudyDirection

from scenarios.model import Scenario
from simulator.figures import Figures
from simulator.recommend import AIMS, Measure, mean
from simulator.replications import intervals, replicate
from simulator.search_space import Parameter, Point, Space
from simulator.tune_order import Order

SHORT_LIST = 10
"""Trials of the Pareto front that are looked at again; more would only be more of the same."""

Progress = Callable[[str], None]
"""Told how far it is, in words."""


class Bench:
    """Measures points in the model; each one once for each set of seeds."""

    def __init__(self, scenario: Scenario, space: Space, executor: Executor | None, warm_up_s: float) -> None:
        """Keep what all runs have in common."""
        self._scenario, self._space, self._executor, self._warm_up_s = scenario, space, executor, warm_up_s
        self._known: dict[tuple[Point, tuple[int, ...]], Sequence[Figures]] = {}

    def on(self, seeds: tuple[int, ...]) -> Measure:
        """Return what gives a point's figures on these seeds."""
        return lambda point: self._figures(point, seeds)

    def _figures(self, point: Point, seeds: tuple[int, ...]) -> Sequence[Figures]:
        key = (point, seeds)
        if key not in self._known:
            settings = self._space.settings(point, self._scenario)
            self._known[key] = replicate(
                self._scenario,
                settings.config,
                seeds=seeds,
                warm_up_s=self._warm_up_s,
                client_timeout_s=settings.client_timeout_s,
                executor=self._executor,
            )
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Trial:
    """One point that was tried.

    Attributes:
        point: The point.
        means: Of the aims, in their order; NaN where no call gave a value.
        feasible: Whether it keeps the limits.
    """

    point: Point
    means: tuple[float, ...]
    feasible: bool


def search(order: Order, space: Space, measure: Measure, begin: Iterable[Point], progress: Progress) -> list[Trial]:
    """Try as many points as are ordered; the same arguments give the same trials.

    Args:
        order: How many, from which seed; its limits are constraints: the sampler leads away from what breaks them.
        space: What is searched.
        measure: Gives a point's figures.
        begin: Points that are tried before the sampler proposes its own.
        progress: Told about each trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [StudyDirection.MAXIMIZE if aim.sign > 0 else StudyDirection.MINIMIZE for aim in AIMS]
    study = optuna.create_study(directions=directions, sampler=optuna.samplers.TPESampler(seed=order.seed))
    for point in dict.fromkeys(begin):
        study.enqueue_trial(_indexes(space, point))
    tried: list[Trial] = []
    for number in range(order.trials):
        trial = study.ask()
        point = tuple(_suggest(trial, parameter) for parameter in space.parameters)
        figures = measure(point)
        found = intervals(figures)
        config = space.settings(point, order.scenario).config
        for limit, excess in order.limits.excesses(found, config).items():
            trial.set_constraint(limit, min(excess, 1e9))
        means = tuple(mean(figures, aim).mean for aim in AIMS)
        # Where no call succeeded there is no P95: the clients waited as long as they would.
        study.tell(trial, [order.start.client_timeout_s if math.isnan(value) else value for value in means])
        tried.append(Trial(point, means, order.limits.kept_by(found, config)))
        progress(f"trial {number + 1} of {order.trials}")
    return tried


def _indexes(space: Space, point: Point) -> dict[str, int | str]:
    """Return a point as the sampler names it: a place among ordered options, or an option."""
    pairs = zip(space.parameters, point, strict=True)
    return {each.name: each.options.index(value) if each.ordered else value for each, value in pairs}


def _suggest(trial: optuna.Trial, parameter: Parameter) -> str:
    if parameter.ordered:
        return parameter.options[trial.suggest_int(parameter.name, 0, len(parameter.options) - 1)]
    return str(trial.suggest_categorical(parameter.name, parameter.options))


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the feasible trials that no other one beats in every aim, each point once, the most successful first."""
    feasible = {trial.point: trial for trial in trials if trial.feasible}.values()
    front = [trial for trial in feasible if not any(_dominates(other, trial) for other in feasible)]
    return sorted(front, key=lambda trial: (*(-score for score in _scores(trial)), trial.point))


def _dominates(one: Trial, other: Trial) -> bool:
    pairs = list(zip(_scores(one), _scores(other), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _scores(trial: Trial) -> tuple[float, ...]:
    """Return the means with more as better; a mean of nothing is worst."""
    pairs = zip(AIMS, trial.means, strict=True)
    return tuple(-math.inf if math.isnan(value) else aim.sign * value for aim, value in pairs)
