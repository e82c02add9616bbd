"""Distributions fitted to times, of which some were cut by a timeout before they ended.

A call that was cut took longer than its timeout: the fit counts that (the survival function at the timeout is its part
of the likelihood), for dropping it would make the tail look better than it is. Two parameters each, by maximum
likelihood; compared by Akaike's criterion; held against the times by the largest distance between the fitted
distribution and the Kaplan-Meier estimate, whose chance is found by a parametric bootstrap with the timeouts kept,
since the tables of Kolmogorov and Smirnov hold neither for fitted parameters nor for cut times.

Sources: E. L. Kaplan and P. Meier, "Nonparametric Estimation from Incomplete Observations", JASA 53, 1958; H. Akaike,
"A new look at the statistical model identification", IEEE TAC 19, 1974; W. Stute et al., "Bootstrap based
goodness-of-fit-tests", Metrika 40, 1993.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import gammaincc, gammaln, log_ndtr, ndtr

from reference_daemon.providers.latency import Constant, Empirical, Gamma, Latency, Lognormal, Weibull

Floats = npt.NDArray[np.float64]
Family = Literal["lognormal", "gamma", "weibull"]

SIGNIFICANCE: Final = 0.05
"""Chance below which the times are not taken for a sample of the fitted distribution."""

BOOTSTRAPS: Final = 199
"""Samples of the bootstrap: the smallest chance that it can tell is 1 in 200."""

_ONE_TIME: Final = 2e-3
"""Deviation of the logarithms below which nothing is fitted: two parameters say nothing about one time."""

_NEAR: Final = 0.01
"""How far a time may be from that one, relatively."""

_ROUGH: Final = 1e-4
"""Tolerance of the bootstrap's fits: far below the distance that it looks at."""

_PARAMETERS: Final = 2
_EMPIRICAL_VALUES: Final = 200
_LOG_2PI: Final = math.log(2 * math.pi)
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Times:
    """Times in seconds, in order: those that ended, and the moments at which others were cut.

    Attributes:
        ended: How long those took that ended; all above 0.
        cut: After how long the others were cut.
    """

    ended: Floats
    cut: Floats

    @property
    def n(self) -> int:
        """How many there are."""
        return int(self.ended.size + self.cut.size)

    @classmethod
    def of(cls, ended: npt.ArrayLike, cut: npt.ArrayLike = ()) -> "Times":
        """Sort the times."""
        return cls(np.sort(np.asarray(ended, dtype=np.float64)), np.sort(np.asarray(cut, dtype=np.float64)))


class _Likelihood(Protocol):
    def __call__(self, parameters: Floats) -> float:
        """Return minus the logarithm of the likelihood."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """A family in its own parameters; each is the logarithm of a positive number, but a lognormal's location.

    Attributes:
        likelihood: Makes the likelihood of some times.
        start: Guesses the parameters by the moments of the logarithms.
        cdf: The distribution function.
        draw: Draws times.
        latency: The scenario's distribution.
    """

    likelihood: Callable[[Times], _Likelihood]
    start: Callable[[float, float], tuple[float, float]]
    cdf: Callable[[Floats, Floats], Floats]
    draw: Callable[[np.random.Generator, Floats, int], Floats]
    latency: Callable[[Floats], Latency]


def _lognormal(times: Times) -> _Likelihood:
    logs, (cuts, counts) = np.log(times.ended), _counted(np.log(times.cut))
    n, total, squares = logs.size, float(logs.sum()), float(np.square(logs).sum())

    def minus_log(parameters: Floats) -> float:
        mu, log_sigma = float(parameters[0]), float(parameters[1])
        sigma = math.exp(log_sigma)
        spread = (squares - 2 * mu * total + n * mu * mu) / (2 * sigma * sigma)
        survived = float(counts @ log_ndtr(-(cuts - mu) / sigma)) if cuts.size else 0.0
        return n * (log_sigma + _LOG_2PI / 2) + total + spread - survived

    return minus_log


def _gamma(times: Times) -> _Likelihood:
    n, total, logs = times.ended.size, float(times.ended.sum()), float(np.log(times.ended).sum())
    cuts, counts = _counted(times.cut)

    def minus_log(parameters: Floats) -> float:
        shape, scale = math.exp(parameters[0]), math.exp(parameters[1])
        density = (shape - 1) * logs - total / scale - n * (float(gammaln(shape)) + shape * math.log(scale))
        survived = float(counts @ np.log(np.maximum(gammaincc(shape, cuts / scale), _TINY))) if cuts.size else 0.0
        return -density - survived

    return minus_log


def _weibull(times: Times) -> _Likelihood:
    logs, (cuts, counts) = np.log(times.ended), _counted(np.log(times.cut))
    n, total = logs.size, float(logs.sum())

    def minus_log(parameters: Floats) -> float:
        shape, log_scale = math.exp(parameters[0]), float(parameters[1])
        with np.errstate(over="ignore"):  # far from the best parameters a hazard may be infinite, and is refused
            hazards = float(np.exp(shape * (logs - log_scale)).sum())
            survived = float(counts @ np.exp(shape * (cuts - log_scale))) if cuts.size else 0.0
        return -n * (float(parameters[0]) - shape * log_scale) - (shape - 1) * total + hazards + survived

    return minus_log


def _counted(values: Floats) -> tuple[Floats, Floats]:
    """Return the different values, and how often each occurs: timeouts are few different ones."""
    found, counts = np.unique(values, return_counts=True)
    return found, counts.astype(np.float64)


_EULER: Final = 0.5772156649015329
_SHAPES: Final[Mapping[Family, _Shape]] = MappingProxyType(
    {
        "lognormal": _Shape(
            _lognormal,
            lambda mean, deviation: (mean, math.log(deviation)),
            lambda p, x: np.asarray(ndtr((np.log(x) - p[0]) / math.exp(p[1]))),
            lambda chance, p, n: np.exp(p[0] + math.exp(p[1]) * chance.standard_normal(n)),
            lambda p: Lognormal(math.exp(p[0]), math.exp(p[1])),
        ),
        "gamma": _Shape(
            _gamma,
            lambda mean, deviation: (-2 * math.log(deviation), mean + 2 * math.log(deviation)),
            lambda p, x: 1.0 - np.asarray(gammaincc(math.exp(p[0]), x / math.exp(p[1]))),
            lambda chance, p, n: chance.gamma(math.exp(p[0]), math.exp(p[1]), n),
            lambda p: Gamma(math.exp(p[0] + p[1]), math.exp(p[0])),
        ),
        "weibull": _Shape(
            _weibull,
            # The logarithm of a Weibull time is of Gumbel's kind: deviation pi / (shape sqrt 6).
            lambda mean, deviation: (
                math.log(math.pi / math.sqrt(6) / deviation),
                mean + _EULER * deviation * math.sqrt(6) / math.pi,
            ),
            lambda p, x: -np.expm1(-np.exp(math.exp(p[0]) * (np.log(x) - p[1]))),
            lambda chance, p, n: math.exp(p[1]) * chance.weibull(math.exp(p[0]), n),
            lambda p: Weibull(math.exp(p[1]), math.exp(p[0])),
        ),
    }
)
FAMILIES: Final[tuple[Family, ...]] = tuple(_SHAPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A family fitted to times.

    Attributes:
        family: Which.
        parameters: In the family's own terms.
        latency: The same as a scenario's distribution.
        aic: Akaike's criterion: the smaller, the better; comparable between families for the same times only.
        distance: Largest distance to the Kaplan-Meier estimate, from 0 to 1.
        p_value: Chance of a distance at least as large if the times were a sample of this distribution; None if nobody
            asked.
    """

    family: Family
    parameters: Floats
    latency: Latency
    aic: float
    distance: float
    p_value: float | None = None

    def cdf(self, at_s: Floats) -> Floats:
        """Return the share of times that are at most these."""
        return _SHAPES[self.family].cdf(self.parameters, at_s)


def fit(family: Family, times: Times, start: Floats | None = None, tolerance: float = 1e-7) -> Fit:
    """Fit a family by maximum likelihood, cut times included.

    Args:
        family: Which.
        times: What was seen.
        start: Parameters near the best ones, where they are known.
        tolerance: How well the best parameters are to be found; they are logarithms, so this is a relative error.

    Raises:
        ValueError: There are fewer than two different times that ended.
    """
    shape = _SHAPES[family]
    logs = np.log(times.ended)
    deviation = float(logs.std()) if logs.size else 0.0
    if deviation <= 0.0:
        raise ValueError("at least two different times that ended are needed")
    guess = np.array(shape.start(float(logs.mean()), deviation)) if start is None else start
    exact = {"xatol": tolerance, "fatol": tolerance, "maxiter": 1000}
    found = minimize(shape.likelihood(times), guess, method="Nelder-Mead", options=exact)
    parameters = np.asarray(found.x, dtype=np.float64)
    return Fit(
        family=family,
        parameters=parameters,
        latency=shape.latency(parameters),
        aic=2 * _PARAMETERS + 2 * float(found.fun),
        distance=distance(times, lambda at_s: shape.cdf(parameters, at_s)),
    )


def kaplan_meier(times: Times) -> tuple[Floats, Floats]:
    """Return the different times that ended, and the estimated share of all times that are at most each.

    The last share is below 1 where the longest times were cut: what lies behind nobody knows.
    """
    at_s, ended = np.unique(times.ended, return_counts=True)
    # At risk: who had neither ended nor been cut before. Who is cut at the moment of an end was still there.
    before = np.searchsorted(times.ended, at_s, side="left") + np.searchsorted(times.cut, at_s, side="left")
    return at_s, np.asarray(1.0 - np.cumprod(1.0 - ended / (times.n - before)), dtype=np.float64)


def distance(times: Times, cdf: Callable[[Floats], Floats]) -> float:
    """Return the largest distance between a distribution function and the Kaplan-Meier steps, up to the last one."""
    at_s, shares = kaplan_meier(times)
    below = np.concatenate(([0.0], shares[:-1]))
    model = cdf(at_s)
    return float(max(np.max(np.abs(shares - model)), np.max(np.abs(model - below))))


def with_p_value(found: Fit, times: Times, chance: np.random.Generator, bootstraps: int = BOOTSTRAPS) -> Fit:
    """Return the fit with the chance of its distance, by a parametric bootstrap.

    Each sample is drawn from the fit, cut at timeouts drawn from the Kaplan-Meier estimate of the timeouts themselves,
    and fitted anew.
    """
    shape = _SHAPES[found.family]
    reached = 0
    for _ in range(bootstraps):
        drawn = shape.draw(chance, found.parameters, times.n)
        limits = _timeouts(times, chance)
        sample = Times.of(drawn[drawn <= limits], limits[drawn > limits])
        reached += fit(found.family, sample, found.parameters, _ROUGH).distance >= found.distance
    return Fit(
        family=found.family,
        parameters=found.parameters,
        latency=found.latency,
        aic=found.aic,
        distance=found.distance,
        p_value=(1 + reached) / (1 + bootstraps),
    )


def _timeouts(times: Times, chance: np.random.Generator) -> Floats:
    """Draw as many timeouts as there are times; infinite where none was seen to be so long."""
    if not times.cut.size:
        return np.full(times.n, np.inf)
    # Seen from the timeouts, it is the ends that cut; one who ended at the moment of a timeout is cut before it.
    at_s, cut = np.unique(times.cut, return_counts=True)
    before = np.searchsorted(times.cut, at_s, side="left") + np.searchsorted(times.ended, at_s, side="right")
    shares = 1.0 - np.cumprod(1.0 - cut / (times.n - before))
    places = np.searchsorted(shares, chance.random(times.n), side="left")
    return np.concatenate((at_s, [np.inf]))[places]


def empirical(times: Times) -> Empirical:
    """Return the times themselves as a distribution, by their Kaplan-Meier estimate.

    Where the longest were cut, nothing is known of the tail but that it is beyond: those values are the longest time
    that was seen, a lower bound.
    """
    at_s, shares = kaplan_meier(times)
    wanted = (np.arange(_EMPIRICAL_VALUES) + 0.5) / _EMPIRICAL_VALUES
    places = np.searchsorted(shares, wanted * (1 - 1e-12), side="left")
    longest = max(float(at_s[-1]), float(times.cut[-1]) if times.cut.size else 0.0)
    values = np.concatenate((at_s, [longest]))[np.minimum(places, at_s.size)]
    return Empirical(tuple(float(value) for value in values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the times are taken for.

    Attributes:
        fits: Every family, tested; none where all times are one.
        best: The one with the smallest criterion among those that the times do not contradict; None if they
            contradict all of them.
        latency: The best one's distribution, the one time, or the times themselves.
    """

    fits: tuple[Fit, ...]
    best: Fit | None
    latency: Latency

    @property
    def name(self) -> str:
        """What was chosen."""
        return self.best.family if self.best is not None else type(self.latency).__name__.lower()


def choose(times: Times, chance: np.random.Generator, bootstraps: int = BOOTSTRAPS) -> Choice:
    """Fit and test every family, and choose; times that are all one are that time.

    Raises:
        ValueError: No time ended.
    """
    if not times.ended.size:
        raise ValueError("at least one time that ended is needed")
    if float(np.log(times.ended).std()) < _ONE_TIME:
        return Choice(fits=(), best=None, latency=_one_time(times))
    fits = tuple(with_p_value(fit(family, times), times, chance, bootstraps) for family in FAMILIES)
    possible = [each for each in fits if each.p_value is not None and each.p_value >= SIGNIFICANCE]
    best = min(possible, key=lambda each: each.aic, default=None)
    return Choice(fits=fits, best=best, latency=empirical(times) if best is None else best.latency)


def _one_time(times: Times) -> Latency:
    """Return the time that all take; the times themselves where some took longer, or were cut later."""
    middle_s = float(np.median(times.ended))
    seen_s = np.concatenate((times.ended, times.cut[times.cut > middle_s]))
    one = bool(np.all(np.abs(seen_s - middle_s) <= _NEAR * middle_s))
    return Constant(middle_s) if one else empirical(times)
