"""Limits that a recommendation must keep: the largest cap of a scope, or a bound on what the model predicts."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.errors import HarnessError
from scenarios.mistakes import nearest
from scenarios.model import Scenario
from simulator.model.settings import caps_of
from simulator.replication.metrics import FIGURES
from simulator.replication.replications import Interval
from simulator.tune.space import asked

_SCOPES: Final = ("global", "session")
_EVERY_PROVIDER: Final = "provider-concurrency"


class LimitError(HarnessError):
    """A limit cannot be understood."""

    exit_code = 2

    def __init__(self, text: str, rule: str) -> None:
        """Keep what was given and what was expected."""
        super().__init__(text, rule)
        self.text, self.rule = text, rule

    def __str__(self) -> str:
        """Name both."""
        return f"--limit {self.text}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on a figure's mean.

    Attributes:
        figure: Name of the figure.
        value: The bound.
        at_least: Whether the figure must not be below it; else it must not be above.
    """

    figure: str
    value: float
    at_least: bool

    def excess(self, mean: float) -> float:
        """Return by how much a mean breaks the bound; 0 or less if it keeps it, infinity for a mean of nothing."""
        excess = self.value - mean if self.at_least else mean - self.value
        return math.inf if math.isnan(excess) else excess

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.figure} {'at least' if self.at_least else 'at most'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a tuning.

    Attributes:
        caps: Largest cap, by scope: `global`, `session`, `tool:NAME`, `provider:NAME`.
        bounds: On the figures.
    """

    caps: Mapping[str, int]
    bounds: tuple[Bound, ...]

    def kept_by(self, means: Mapping[str, Interval], config: PolicyConfig) -> bool:
        """Return whether settings with these figures keep everything."""
        return all(excess <= 0.0 for excess in self.excesses(means, config).values())

    def excesses(self, means: Mapping[str, Interval], config: PolicyConfig) -> dict[str, float]:
        """Return by how much each limit is broken, by its words; 0 or less if it is kept."""
        caps = caps_of(config)
        found = {f"{scope} at most {most}": caps.get(scope, math.inf) - most for scope, most in self.caps.items()}
        return found | {str(bound): bound.excess(means[bound.figure].mean) for bound in self.bounds}


def read_limits(texts: Iterable[str], scenario: Scenario) -> Limits:
    """Read limits such as `p95_s=120`, `success_rate=95%`, `global=12`, `provider:GLM=4`.

    `provider-concurrency=N` is the largest cap of every provider that the load asks.

    Raises:
        LimitError: One is none, or of a tool or provider that the load does not ask; it says what was expected.
    """
    tools, providers = asked(scenario)
    scopes = [*_SCOPES, *(f"tool:{tool}" for tool in tools), *(f"provider:{provider}" for provider in providers)]
    caps: dict[str, int] = {}
    bounds: list[Bound] = []
    for text in texts:
        name, equals, given = text.partition("=")
        if not equals:
            raise LimitError(text, "must be NAME=VALUE")
        if name == _EVERY_PROVIDER:
            caps |= {f"provider:{provider}": _cap(text, given) for provider in providers}
        elif name in scopes:
            caps[name] = _cap(text, given)
        elif name in FIGURES and FIGURES[name].better:
            bounds.append(Bound(name, _bound(text, name, given), FIGURES[name].better == "more"))
        else:
            raise LimitError(text, _what_there_is(name, [*scopes, _EVERY_PROVIDER]))
    return Limits(caps, tuple(bounds))


def _what_there_is(name: str, scopes: list[str]) -> str:
    """Return which names there are, and which one was probably meant."""
    figures = [figure for figure, what in FIGURES.items() if what.better]
    meant = nearest(name, [*scopes, *figures])
    hint = f' (did you mean "{meant}"?)' if meant else ""
    return f"NAME must be one of {', '.join([*scopes, *figures])}{hint}"


def _bound(text: str, figure: str, given: str) -> float:
    """Read a bound in the figure's unit; a share may be written in per cent."""
    share = FIGURES[figure].unit == "share"
    if given.endswith("%") and not share:
        raise LimitError(text, "only a share can be given in per cent")
    value = _number(text, given.removesuffix("%")) / (100 if given.endswith("%") else 1)
    if value < 0 or (share and value > 1):
        raise LimitError(
            text, "VALUE must be a share from 0 to 1, or from 0% to 100%" if share else "must not be below 0"
        )
    return value


def _number(text: str, given: str) -> float:
    try:
        value = float(given)
    except ValueError as error:
        raise LimitError(text, "VALUE must be a number") from error
    if not math.isfinite(value):
        raise LimitError(text, "VALUE must be finite")
    return value


def _cap(text: str, given: str) -> int:
    value = _number(text, given)
    if value < 1 or value != int(value):
        raise LimitError(text, "a cap must be a whole number of at least 1")
    return int(value)
