"""Intervals of a change between two runs, from as many independent calls as they are worth."""

import math
from dataclasses import dataclass
from typing import Final

from reports.table import Floats
from scenarios.checks.intervals import ranks, wilson

SHORTEST_S: Final = 0.001
"""Of a latency of less, as a model's local tools and refusals have, no share is computed: it counts as this much."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and where the true one lies; an end that so few calls do not show is infinite."""

    value: float
    low: float
    high: float


def share_interval(hits: int, n: int, divisor: float, tail: float) -> Interval:
    """Return a share with its Wilson interval.

    Args:
        hits: Calls that have it.
        n: Calls in all; at least 1.
        divisor: How many of them are worth one independent call.
        tail: Chance left out on each side.
    """
    return Interval(hits / n, *wilson(hits, n, divisor=divisor, tail=tail))


def quantile_interval(ordered: Floats, q: float, divisor: float, tail: float) -> Interval:
    """Return a quantile with its interval by order statistics.

    The ranks of the ends are those of so many independent calls, read at the same share of all calls.
    """
    n, few = len(ordered), max(1, int(len(ordered) / divisor))
    low, high = ranks(few, q, tail)
    return Interval(
        float(ordered[max(0, math.ceil(q * n) - 1)]),
        float(ordered[int(low / few * n)]) if low >= 0 else -math.inf,
        float(ordered[math.ceil((high + 1) / few * n) - 1]) if high < few else math.inf,
    )


def difference(now: Interval, before: Interval) -> Interval:
    """Return how much more it is now, with the interval that follows from both.

    Source: R. Newcombe, "Interval Estimation for the Difference Between Independent Proportions", Statistics in
    Medicine 17, 1998, method 10; G. Zou and A. Donner, 2008, for other measures.
    """
    value = now.value - before.value
    return Interval(
        value,
        value - math.hypot(now.value - now.low, before.high - before.value),
        value + math.hypot(now.high - now.value, before.value - before.low),
    )


def ratio(now: Interval, before: Interval) -> Interval:
    """Return by which share of `before` a latency is more now; what is below a millisecond counts as one."""
    change = difference(_log(now), _log(before))
    ends = (change.value, change.low, change.high)
    return Interval(*(math.expm1(end) if end < _BIGGEST else math.inf for end in ends))


_BIGGEST: Final = 700.0
"""Logarithm of about the biggest number there is."""


def _log(interval: Interval) -> Interval:
    ends = (interval.value, interval.low, interval.high)
    # An end that is not shown stays so.
    return Interval(*(end if math.isinf(end) else math.log(max(end, SHORTEST_S)) for end in ends))
