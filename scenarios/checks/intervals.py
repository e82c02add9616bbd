"""Quantiles and 95 % intervals: what a few calls say about all the calls that might have been made."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

TAIL: Final = 0.025
"""Chance that a 95 % interval leaves out on each side."""


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest of `values` that at least the share `q` of them does not exceed: one that was seen.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values have no quantile")
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def wilson(hits: int, n: int, *, divisor: float = 1.0, tail: float = TAIL) -> tuple[float, float]:
    """Return the interval of a share of which `hits` in `n` were seen.

    Args:
        hits: Cases that have it.
        n: Cases in all.
        divisor: How many of them are worth one independent case.
        tail: Chance left out on each side.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if n == 0:
        return 0.0, 1.0
    share, worth, z2 = hits / n, n / divisor, NormalDist().inv_cdf(tail) ** 2
    middle = (share + z2 / (2 * worth)) / (1 + z2 / worth)
    half = math.sqrt(z2 * (share * (1 - share) / worth + z2 / (4 * worth * worth))) / (1 + z2 / worth)
    return max(0.0, middle - half), min(1.0, middle + half)


def of_quantile(values: Sequence[float], q: float) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a quantile, by order statistics; an end that so few values do not show is None."""
    ordered, n = sorted(values), len(values)
    low, high = ranks(n, q)
    return ordered[low] if low >= 0 else None, ordered[high] if high < n else None


def ranks(n: int, q: float, tail: float = TAIL) -> tuple[int, int]:
    """Return the places of the ends of a quantile's interval among `n` ordered values.

    The number of values below the true quantile is binomial, whatever their distribution; so the ends are values, too.
    The first is -1, and the second `n`, where so few values do not show that end.
    """
    return _first_rank(n, q, tail) - 1, _first_rank(n, q, 1 - tail)


def _first_rank(n: int, q: float, chance: float) -> int:
    """Return the smallest rank below which the true quantile has at least that chance to lie; at most `n`."""
    # Deferred: who lists scenarios or checks one needs no scipy.
    from scipy.special import bdtr  # noqa: PLC0415

    first, last = 0, n
    while first < last:
        middle = (first + last) // 2
        if bdtr(middle, n, q) >= chance:
            last = middle
        else:
            first = middle + 1
    return first
