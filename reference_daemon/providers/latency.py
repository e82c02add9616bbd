"""How long a provider takes: distributions that turn a draw from [0, 1) into seconds.

Stub provider and simulator use the same classes, and a call may carry its own draw; so a real run and its
simulation can share every latency. A distribution holds no generator and no state, and reads no clock.

`at(draw)` is the inverse of the distribution function: draws spread evenly over [0, 1) become seconds spread
as the distribution says, and a larger draw never gives a shorter time. `Mixture` alone is not monotonic: its
draw first picks a part, then a place within that part.

scipy is imported only when a gamma distribution is asked for its first value; everything else is standard
library.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from statistics import NormalDist
from typing import Any, Protocol

from reference_daemon.policy.errors import ConfigError

# A week. A latency above it is a mistake of units (milliseconds given as seconds), not a slow provider.
MAX_TIME_S = 7 * 86_400.0
# Within these bounds every draw below 1 gives a finite time; outside them no provider was ever measured.
MAX_SIGMA = 10.0
MIN_SHAPE, MAX_SHAPE = 0.01, 1e6
MIN_WEIBULL_SHAPE = 0.1  # the largest draw then gives 37 ** 10 times the scale, which is still finite

_NORMAL = NormalDist()


class Latency(Protocol):
    """A distribution of times."""

    def at(self, draw: float) -> float:
        """Return the time in seconds that belongs to `draw`, a number from [0, 1).

        Raises:
            ValueError: `draw` is outside [0, 1).
        """


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same time.

    Attributes:
        value: The time, in seconds.
    """

    value: float

    def __post_init__(self) -> None:
        """Refuse what is no time."""
        _check_time("constant.value", self.value)

    def at(self, draw: float) -> float:
        """Return `value`, whatever the draw."""
        _check_draw(draw)
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every time between two bounds is equally likely.

    Attributes:
        low: The shortest time, in seconds.
        high: Above the longest time, in seconds; at least `low`.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse bounds that are no times, or the wrong way round."""
        _check_time("uniform.low", self.low)
        _check_time("uniform.high", self.high)
        if self.high < self.low:
            raise ConfigError("uniform.high", self.high, f"must be at least uniform.low, {self.low:g}")

    def at(self, draw: float) -> float:
        """Return the time at the fraction `draw` of the way from `low` to `high`."""
        return self.low + _check_draw(draw) * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Lognormal:
    """The logarithm is normal: the usual shape of a service's times, with a long tail.

    Attributes:
        median: Half of the times are below it, in seconds.
        sigma: Standard deviation of the logarithm; P95 / median is about exp(1.645 sigma).
    """

    median: float
    sigma: float

    def __post_init__(self) -> None:
        """Refuse what is no time, and spreads that no provider has."""
        _check_time("lognormal.median", self.median)
        _check_range("lognormal.sigma", self.sigma, 0.0, MAX_SIGMA)

    def at(self, draw: float) -> float:
        """Return the time below which the fraction `draw` of all times lies."""
        if _check_draw(draw) == 0.0:
            return 0.0 if self.sigma > 0.0 else self.median
        return self.median * math.exp(self.sigma * _NORMAL.inv_cdf(draw))


@dataclass(frozen=True, slots=True)
class Gamma:
    """A sum of exponential steps; with shape 1 it is the exponential distribution.

    Attributes:
        mean: The mean, in seconds.
        shape: Number of steps, not necessarily whole; the larger, the narrower.
    """

    mean: float
    shape: float

    def __post_init__(self) -> None:
        """Refuse what is no time, and shapes without a meaning."""
        _check_time("gamma.mean", self.mean)
        _check_range("gamma.shape", self.shape, MIN_SHAPE, MAX_SHAPE)

    def at(self, draw: float) -> float:
        """Return the time below which the fraction `draw` of all times lies."""
        # Deferred: a daemon whose providers need no gamma distribution starts without scipy.
        from scipy.special import gammaincinv  # noqa: PLC0415

        return float(gammaincinv(self.shape, _check_draw(draw))) * self.mean / self.shape


@dataclass(frozen=True, slots=True)
class Weibull:
    """Times whose chance to end grows (shape above 1) or falls (below 1) while they last.

    Attributes:
        scale: 63% of the times are below it, in seconds.
        shape: Below 1 the tail is heavy; 1 is the exponential distribution.
    """

    scale: float
    shape: float

    def __post_init__(self) -> None:
        """Refuse what is no time, and shapes without a meaning."""
        _check_time("weibull.scale", self.scale)
        _check_range("weibull.shape", self.shape, MIN_WEIBULL_SHAPE, MAX_SHAPE)

    def at(self, draw: float) -> float:
        """Return the time below which the fraction `draw` of all times lies."""
        return self.scale * math.pow(-math.log1p(-_check_draw(draw)), 1.0 / self.shape)


@dataclass(frozen=True, slots=True)
class Empirical:
    """Times that were measured; each is equally likely.

    Attributes:
        values: The times in seconds, at least one; kept sorted.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Sort the values; refuse none at all, and what is no time."""
        if not self.values:
            raise ConfigError("empirical.values", [], "must hold at least one time")
        for index, value in enumerate(self.values):
            _check_time(f"empirical.values[{index}]", value)
        object.__setattr__(self, "values", tuple(sorted(self.values)))

    def at(self, draw: float) -> float:
        """Return the measured time at the fraction `draw` of the sorted values."""
        # min(): with many values, a draw just below 1 times their number rounds up to it.
        return self.values[min(int(_check_draw(draw) * len(self.values)), len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mixture.

    Attributes:
        weight: Its share, relative to the other parts' weights; above 0.
        latency: How long the calls of this part take.
    """

    weight: float
    latency: Latency

    def __post_init__(self) -> None:
        """Refuse shares that are no shares."""
        _check_number("mixture.weight", self.weight)
        if not 0.0 < self.weight < math.inf:
            raise ConfigError("mixture.weight", self.weight, "must be a finite number above 0")


@dataclass(frozen=True, slots=True)
class Mixture:
    """Several kinds of calls, for example 95% usual ones and 5% very slow ones.

    Attributes:
        parts: At least one part.
    """

    parts: tuple[Part, ...]
    _ends: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out where on [0, 1) each part ends; refuse no parts at all."""
        if not self.parts:
            raise ConfigError("mixture.parts", [], "must hold at least one part")
        total = math.fsum(part.weight for part in self.parts)
        object.__setattr__(self, "_ends", tuple(end / total for end in accumulate(p.weight for p in self.parts)))

    def at(self, draw: float) -> float:
        """Let `draw` pick a part, and what is left of it the place within the part."""
        index = min(bisect_right(self._ends, _check_draw(draw)), len(self.parts) - 1)
        start = self._ends[index - 1] if index else 0.0
        rest = (draw - start) / (self._ends[index] - start)
        return self.parts[index].latency.at(min(max(rest, 0.0), math.nextafter(1.0, 0.0)))


_SIMPLE: Mapping[str, type[Constant | Uniform | Lognormal | Gamma | Weibull]] = {
    "constant": Constant,
    "uniform": Uniform,
    "lognormal": Lognormal,
    "gamma": Gamma,
    "weibull": Weibull,
}
_NAMES = (*_SIMPLE, "empirical", "mixture")


def parse_latency(text: str) -> Latency:
    """Read a distribution from the command line: "constant:45", "uniform:35,55", "lognormal:45,0.2".

    The numbers are the distribution's parameters in the order of its attributes; "empirical:1,2.5,4" takes
    any number. A mixture has no such form: it is written as a mapping, see `from_mapping`.

    Raises:
        ConfigError: The name, the number of parameters or a parameter is wrong.
    """
    name, _, rest = text.strip().partition(":")
    if name == "mixture":
        raise ConfigError("latency", text, "a mixture can only be written in a file")
    if name not in _NAMES:
        raise ConfigError("latency", text, f"must be NAME:NUMBERS, NAME one of {', '.join(_NAMES[:-1])}")
    numbers = [_to_number(name, word) for word in rest.split(",")]
    if name == "empirical":
        return Empirical(tuple(numbers))
    wanted = [parameter.name for parameter in fields(_SIMPLE[name])]
    if len(numbers) != len(wanted):
        raise ConfigError("latency", text, f"{name} takes {len(wanted)}: {','.join(wanted)}")
    return _SIMPLE[name](*numbers)


def from_mapping(mapping: Mapping[str, object]) -> Latency:
    """Read a distribution from a file, for example {"lognormal": {"median": 45, "sigma": 0.2}}.

    A mixture is {"mixture": {"parts": [{"weight": 9, "latency": {...}}, ...]}}.

    Raises:
        ConfigError: The name, a key or a value is wrong; its text names which.
    """
    name, parameters = _only_item(mapping)
    if name == "empirical":
        return Empirical(tuple(_list_of("empirical.values", _exactly(name, parameters, ["values"])["values"])))
    if name == "mixture":
        parts = _list_of("mixture.parts", _exactly(name, parameters, ["parts"])["parts"])
        return Mixture(tuple(_part(part) for part in parts))
    if name not in _SIMPLE:
        raise ConfigError("latency", name, f"must be one of {', '.join(_NAMES)}")
    wanted = [parameter.name for parameter in fields(_SIMPLE[name])]
    return _SIMPLE[name](**_exactly(name, parameters, wanted))


def to_mapping(latency: Latency) -> dict[str, dict[str, object]]:
    """Return the mapping that `from_mapping` reads back to an equal distribution."""
    match latency:
        case Empirical(values):
            return {"empirical": {"values": list(values)}}
        case Mixture(parts):
            listed = [{"weight": part.weight, "latency": to_mapping(part.latency)} for part in parts]
            return {"mixture": {"parts": listed}}
        case Constant() | Uniform() | Lognormal() | Gamma() | Weibull():
            parameters = {parameter.name: getattr(latency, parameter.name) for parameter in fields(latency)}
            return {type(latency).__name__.lower(): parameters}
    raise TypeError(f"{type(latency).__name__} is no distribution of this module")


def _part(mapping: object) -> Part:
    parameters = _exactly("mixture.parts", mapping, ["weight", "latency"])
    inner = parameters["latency"]
    if not isinstance(inner, Mapping):
        raise ConfigError("mixture.parts.latency", inner, "must be a mapping")
    return Part(parameters["weight"], from_mapping(inner))


def _only_item(mapping: Mapping[str, object]) -> tuple[str, object]:
    if len(mapping) != 1:
        raise ConfigError("latency", sorted(map(str, mapping)), "must hold exactly one distribution")
    return next(iter(mapping.items()))


def _exactly(name: str, parameters: object, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the parameters if they are a mapping with the wanted keys and no other."""
    if not isinstance(parameters, Mapping):
        raise ConfigError(name, parameters, f"must be a mapping with {', '.join(wanted)}")
    for key in parameters:
        if key not in wanted:
            raise ConfigError(f"{name}.{key}", parameters[key], f"unknown; {name} takes {', '.join(wanted)}")
    for key in wanted:
        if key not in parameters:
            raise ConfigError(f"{name}.{key}", None, "is missing")
    return dict(parameters)


def _list_of(setting: str, value: object) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(setting, value, "must be a list")
    return value


def _to_number(name: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"latency {name}", word, "must be a number") from None


def _check_number(setting: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(setting, value, "must be a number")


def _check_time(setting: str, value: float) -> None:
    _check_range(setting, value, 0.0, MAX_TIME_S)


def _check_range(setting: str, value: float, low: float, high: float) -> None:
    _check_number(setting, value)
    if not low <= value <= high:  # "not within", so that NaN is refused too
        raise ConfigError(setting, value, f"must be a number from {low:g} to {high:g}")


def _check_draw(draw: float) -> float:
    if not 0.0 <= draw < 1.0:
        raise ValueError(f"draw = {draw!r}: must be in [0, 1)")
    return draw
