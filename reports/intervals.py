"""Intervals of a change between two runs, from as many independent calls as they are worth."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from reports.stats import first_rank
from reports.table import Floats


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

    Source: E. Wilson, "Probable Inference", JASA 22, 1927.
    """
    share, worth, z2 = hits / n, n / divisor, float(ndtri(tail)) ** 2
    middle = (share + z2 / (2 * worth)) / (1 + z2 / worth)
    half = math.sqrt(z2 * (share * (1 - share) / worth + z2 / (4 * worth**2))) / (1 + z2 / worth)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def quantile_interval(ordered: Floats, q: float, divisor: float, tail: float) -> Interval:
    """Return a quantile with its interval by order statistics.

    The ranks of the ends are those of so many independent calls, read at the same share of all calls.
    """
    n, few = len(ordered), max(1, int(len(ordered) / divisor))
    low, high = first_rank(few, q, tail) - 1, first_rank(few, q, 1 - tail)
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
    """Return by which share of `before` it is more now; all values must be above 0 or an end infinite."""
    change = difference(_log(now), _log(before))
    return Interval(*(math.expm1(min(end, _BIGGEST)) for end in (change.value, change.low, change.high)))


_BIGGEST = 700.0
"""Logarithm of about the biggest number there is."""


def _log(interval: Interval) -> Interval:
    ends = (interval.value, interval.low, interval.high)
    with np.errstate(divide="ignore"):
        value, low, high = (float(np.log(max(end, 0.0))) for end in ends)
    return Interval(value, low, high)
