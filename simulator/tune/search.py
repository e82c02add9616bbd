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
from simulator.model.settings import ModelSettings, in_force, model_settings
from simulator.replication.metrics import Figures
from simulator.replication.replications import intervals, replicate
from simulator.tune.order import Order
from simulator.tune.rule import AIMS, Measure, mean
from simulator.tune.space import Parameter, Point, Space

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

    def shipped(self, seeds: tuple[int, ...]) -> Sequence[Figures]:
        """Return the figures of the settings as they are shipped: nothing set, not even what is never searched."""
        bare = self._scenario.model_copy(update={"settings": {}})
        return self._replicated(bare, model_settings(bare), seeds)

    def _figures(self, point: Point, seeds: tuple[int, ...]) -> Sequence[Figures]:
        key = (point, seeds)
        if key not in self._known:
            self._known[key] = self._replicated(self._scenario, self._space.settings(point, self._scenario), seeds)
        return self._known[key]

    def _replicated(self, scenario: Scenario, settings: ModelSettings, seeds: tuple[int, ...]) -> Sequence[Figures]:
        return replicate(
            in_force(scenario, settings),
            settings.config,
            seeds=seeds,
            warm_up_s=self._warm_up_s,
            client_timeout_s=settings.client_timeout_s,
            executor=self._executor,
        )


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
        study.tell(trial, for_sampler(means, order.start.client_timeout_s))
        tried.append(Trial(point, means, order.limits.kept_by(found, config)))
        progress(f"trial {number + 1} of {order.trials}")
    return tried


def for_sampler(means: Sequence[float], patience_s: float) -> list[float]:
    """Return what the sampler is told: where no call gave a value, the worst that a value could be.

    Without a call nothing succeeded; where none succeeded there is no P95, and clients waited as long as they would.
    """
    worst = [0.0 if aim.sign > 0 else patience_s for aim in AIMS]
    return [least if math.isnan(value) else value for value, least in zip(means, worst, strict=True)]


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
    front: list[Trial] = []
    # In this order whoever beats a trial comes before it, and is on the front or beaten by somebody who is.
    for trial in sorted(feasible, key=lambda trial: (*(-score for score in _scores(trial)), trial.point)):
        if not any(_dominates(other, trial) for other in front):
            front.append(trial)
    return front


def _dominates(one: Trial, other: Trial) -> bool:
    pairs = list(zip(_scores(one), _scores(other), strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def _scores(trial: Trial) -> tuple[float, ...]:
    """Return the means with more as better; a mean of nothing is worst."""
    pairs = zip(AIMS, trial.means, strict=True)
    return tuple(-math.inf if math.isnan(value) else aim.sign * value for aim, value in pairs)
