"""The rule by which one setting is recommended: stated here, and nowhere else.

Three aims, in this order: success rate, P95 with retries included, work thrown away.

1. Of the candidates that keep the limits, those whose success rate is not worse than the best one's stay; of these,
   those whose P95 is not worse than the best one's; of these, those that throw no more work away than the best one.
   Of what stays, the one with the fewest changes.
2. Each of its changes is taken back if no aim gets worse by it, the change with the least effect first.
3. It is recommended if, on seeds that took no part in 1 and 2, it keeps the limits, and an aim is better than at the
   start and none before it is worse; where the start breaks a limit, keeping all of them is enough. Otherwise there
   is no advice.

"Worse" and "better" mean outside the interval of the paired differences (same seeds, so same arrivals and latencies),
and by more than what anybody would notice.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.replication.metrics import Figures
from simulator.replication.replications import Interval, interval_of, paired
from simulator.tune.space import Parameter, Point, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What is to be improved.

    Attributes:
        figure: Name of the figure.
        sign: 1 if more of it is better, -1 if less is.
        least: A difference of at most this is none that anybody would notice.
        label: Its name in tables.
    """

    figure: str
    sign: int
    least: float
    label: str

    def of(self, figures: Sequence[Figures]) -> list[float | None]:
        """Return the figure's values."""
        return [getattr(each, self.figure) for each in figures]


AIMS: Final = (
    Aim(figure="success_rate", sign=1, least=0.005, label="success rate"),
    Aim(figure="p95_s", sign=-1, least=0.5, label="P95 with retries (s)"),
    Aim(figure="thrown_away_s", sign=-1, least=1.0, label="work thrown away (s)"),
)
CONFIDENCE: Final = 1.0 - 0.05 / len(AIMS)
"""Of the interval of each aim, so that all three hold together with at least 95 % (Bonferroni)."""

Measure = Callable[[Point], Sequence[Figures]]
"""Gives a point's figures, always on the same seeds."""


def difference(new: Sequence[Figures], old: Sequence[Figures], aim: Aim) -> Interval:
    """Return the interval of `new - old` for an aim, by the paired replications."""
    return paired(aim.of(new), aim.of(old), CONFIDENCE)


def mean(figures: Sequence[Figures], aim: Aim) -> Interval:
    """Return the mean of an aim with its interval."""
    return interval_of(figures, aim.figure, CONFIDENCE)


def better(new: Sequence[Figures], old: Sequence[Figures], aim: Aim) -> bool:
    """Return whether `new` is better than `old` outside the interval."""
    found = difference(new, old, aim)
    return found.above(aim.least) if aim.sign > 0 else found.below(-aim.least)


def worse(new: Sequence[Figures], old: Sequence[Figures], aim: Aim) -> bool:
    """Return whether `new` is worse than `old` outside the interval."""
    return better(old, new, aim)


def improves(new: Sequence[Figures], old: Sequence[Figures]) -> bool:
    """Return whether an aim is better and none before it is worse: step 3 of the rule."""
    for aim in AIMS:
        if worse(new, old, aim):
            return False
        if better(new, old, aim):
            return True
    return False


def choose(candidates: Collection[Point], measure: Measure, space: Space, start: Point) -> Point:
    """Return the best of the candidates: step 1 of the rule. There must be one at least."""
    left = list(dict.fromkeys(candidates))
    for aim in AIMS:
        best = max(left, key=lambda point: (_score(measure(point), aim), -len(space.changed(start, point)), point))
        left = [point for point in left if not worse(measure(point), measure(best), aim)]
    p95 = AIMS[1]
    return min(left, key=lambda point: (len(space.changed(start, point)), -_score(measure(point), p95), point))


def take_back(chosen: Point, measure: Measure, space: Space, start: Point, keeps: Callable[[Point], bool]) -> Point:
    """Return the chosen point without the changes that do nothing: step 2 of the rule.

    Args:
        chosen: What step 1 chose.
        measure: Gives figures.
        space: The space of both points.
        start: Where the changes come from.
        keeps: Whether a point keeps the limits.
    """

    def without(parameter: Parameter, point: Point) -> Point:
        return space.moved(point, parameter, space.value_at(start, parameter))

    def effect(parameter: Parameter) -> tuple[float, ...]:
        figures = measure(without(parameter, chosen))
        return tuple(_score(measure(chosen), aim) - _score(figures, aim) for aim in AIMS)

    current = chosen
    for parameter in sorted(space.changed(start, chosen), key=effect):
        simpler = without(parameter, current)
        # Held against what was chosen, not against the step before: many small steps down would be a long one.
        if keeps(simpler) and not any(worse(measure(simpler), measure(chosen), aim) for aim in AIMS):
            current = simpler
    return current


def _score(figures: Sequence[Figures], aim: Aim) -> float:
    """Return a mean of which more is better; nothing at all is worst."""
    found = mean(figures, aim)
    return aim.sign * found.mean if found.n else float("-inf")
