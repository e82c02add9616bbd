"""Quantiles and 95 % intervals: what a few calls say about all the calls that might have been made."""

import math
from collections.abc import Sequence
from typing import Final

Z_95: Final = 1.959963984540054
"""The normal distribution's quantile at 0.975."""

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


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which `hits` in `n` were seen.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def of_quantile(values: Sequence[float], q: float) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a quantile, by order statistics; an end that so few values do not show is None.

    The number of values below the true quantile is binomial, whatever their distribution.
    """
    ordered, n = sorted(values), len(values)
    low: float | None = None
    chance = 0.0  # that at most `rank` values lie below the true quantile
    for rank in range(n):
        chance += _binomial(rank, n, q)
        if chance <= TAIL:
            low = ordered[rank]
        if chance >= 1 - TAIL:
            return low, ordered[rank]
    return low, None


def _binomial(hits: int, n: int, share: float) -> float:
    """Return the chance of exactly `hits` in `n`; by logarithms, since the factors overflow for many calls."""
    ways = math.lgamma(n + 1) - math.lgamma(hits + 1) - math.lgamma(n - hits + 1)
    return math.exp(ways + hits * math.log(share) + (n - hits) * math.log1p(-share))
