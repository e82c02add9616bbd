"""Tuning: search, choose by the rule, take back what does nothing, and show the rest on fresh seeds."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from simulator.model.faults import not_carried
from simulator.model.settings import model_settings
from simulator.replication.metrics import Figures
from simulator.replication.replications import intervals
from simulator.tune.order import Order
from simulator.tune.rule import Measure, choose, improves, take_back
from simulator.tune.search import SHORT_LIST, Bench, Progress, Trial, pareto_front, search
from simulator.tune.space import Parameter, Point, SeedSets, Space, space_for


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A point that differs from the recommended one in one parameter.

    Attributes:
        parameter: The parameter.
        value: What it has there.
        figures: What the model says.
    """

    parameter: Parameter
    value: str
    figures: Sequence[Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What came out.

    Attributes:
        order: What was asked for.
        space: What was searched.
        seeds: Of the three steps.
        trials: In the order in which they were made.
        shipped: The point of the shipped settings.
        start: Where changes come from: the scenario's settings and those of --env-file.
        recommended: What the rule chose; equal to `start` where nothing is better.
        chosen: What step 1 of the rule chose, before changes were taken back.
        feasible: Whether what is recommended, or else the start, keeps the limits on fresh seeds.
        found: Whether anything that was tried keeps the limits on the seeds that it was chosen by.
        proof: Figures on fresh seeds of the start and of the recommended point.
        as_shipped: Figures on the same seeds with nothing set at all, not even what is never searched.
        taken_back: Figures on fresh seeds of the recommended point without one of its changes.
        around: Figures of the points around the recommended one.
        centre: Figures of the recommended point on the same seeds as `around`.
        not_carried: Parts of the scenario and of its settings that the model left out, in words.
    """

    order: Order
    space: Space
    seeds: SeedSets
    trials: tuple[Trial, ...]
    shipped: Point
    start: Point
    recommended: Point
    chosen: Point
    feasible: bool
    found: bool
    proof: Mapping[Point, Sequence[Figures]]
    as_shipped: Sequence[Figures]
    taken_back: Mapping[str, Sequence[Figures]]
    around: tuple[Neighbour, ...]
    centre: Sequence[Figures]
    not_carried: tuple[str, ...] = ()

    @property
    def advised(self) -> bool:
        """Whether there is anything to recommend."""
        return self.recommended != self.start


def tune(order: Order, executor: Executor | None, progress: Progress) -> Tuning:
    """Tune; the same order gives the same outcome, whichever executor runs the replications.

    Raises:
        ConfigError: A setting of the scenario or of --env-file breaks a rule.
        UnknownConcurrencyError: A provider has a concurrency that nobody knows, and no limit.
        WorkersError: The workers themselves ended.
    """
    scenario = order.scenario
    own, start_values = model_settings(scenario).values, order.start.values
    space = space_for(scenario, [{}, own, start_values], start_values, most=order.limits.caps, patience=order.patience)
    start, shipped = space.point_of(start_values), space.point_of({})
    seeds = SeedSets.of(order.seed, order.replications)
    bench = Bench(scenario, space, executor, order.warm_up_s)
    trials = search(order, space, bench.on(seeds.search), [start, space.point_of(own), shipped], progress)
    progress("choosing")
    chosen, simplest = _choose(order, space, bench, seeds, trials, start, shipped)
    measure = bench.on(seeds.proof)
    recommended = simplest if _is_proven(order, space, simplest, start, measure) else start
    progress("looking around")
    return Tuning(
        order=order,
        space=space,
        seeds=seeds,
        trials=tuple(trials),
        shipped=shipped,
        start=start,
        recommended=recommended,
        chosen=chosen or start,
        feasible=chosen is not None and _holds(order, space, recommended, measure(recommended)),
        found=chosen is not None,
        proof={point: measure(point) for point in dict.fromkeys((start, recommended))},
        as_shipped=bench.shipped(seeds.proof),
        taken_back={
            each.name: measure(space.moved(recommended, each, space.value_at(start, each)))
            for each in space.changed(start, recommended)
        },
        around=tuple(_around(space, recommended, bench, seeds.choice)),
        centre=bench.on(seeds.choice)(recommended),
        not_carried=_left_out(order),
    )


def _choose(
    order: Order,
    space: Space,
    bench: Bench,
    seeds: SeedSets,
    trials: Sequence[Trial],
    start: Point,
    shipped: Point,
) -> tuple[Point | None, Point]:
    """Return what step 1 of the rule chose and what step 2 left of it; None and the start if nothing keeps limits."""
    measure = bench.on(seeds.choice)

    def keeps(point: Point) -> bool:
        return _holds(order, space, point, measure(point))

    listed = [
        space.plain(point, start) for point in (shipped, *(trial.point for trial in pareto_front(trials)[:SHORT_LIST]))
    ]
    candidates = [point for point in dict.fromkeys((start, *listed)) if keeps(point)]
    if not candidates:
        return None, start
    chosen = choose(candidates, measure, space, start)
    return chosen, space.plain(take_back(chosen, measure, space, start, keeps), start)


def _is_proven(order: Order, space: Space, point: Point, start: Point, measure: Measure) -> bool:
    """Return whether a point stands the proof: step 3 of the rule."""
    if not _holds(order, space, point, measure(point)):
        return False
    return not _holds(order, space, start, measure(start)) or improves(measure(point), measure(start))


def _holds(order: Order, space: Space, point: Point, figures: Sequence[Figures]) -> bool:
    return order.limits.kept_by(intervals(figures), space.settings(point, order.scenario).config)


def _left_out(order: Order) -> tuple[str, ...]:
    """Return what the model leaves out of this load: the advice knows nothing of it."""
    defect = order.scenario.daemon.defect
    seeded = () if defect is None else (f"defect {defect}: the model's daemon has none",)
    return (*seeded, *not_carried(order.scenario), *order.start.not_carried)


def _around(space: Space, centre: Point, bench: Bench, seeds: tuple[int, ...]) -> list[Neighbour]:
    """Return every point that differs in one parameter by one of a few values, spread over its options."""
    measure = bench.on(seeds)
    return [
        Neighbour(parameter, value, measure(space.moved(centre, parameter, value)))
        for parameter in space.parameters
        for value in _few(parameter, space.value_at(centre, parameter))
    ]


_FEW = 4


def _few(parameter: Parameter, at: str) -> list[str]:
    """Return a few other options: the nearest ones and the ends of what is ordered, all of what is not."""
    options = list(parameter.options)
    if at not in options:  # a cap that the global one lowered
        options = sorted([*options, at], key=float)
    index = options.index(at)
    if not parameter.ordered or len(options) <= _FEW:
        return [option for option in options if option != at]
    near = {0, max(index - 1, 0), min(index + 1, len(options) - 1), len(options) - 1} - {index}
    return [options[place] for place in sorted(near)]
