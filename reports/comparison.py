"""What comes out when a run is compared with a baseline."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scenarios.verdict import ExpectationResult, Verdict

LEAST_S: Final = 0.5
"""A latency that grew by less, in seconds, is no regression, whatever its share: nobody would notice."""

MUCH: Final = 10.0
"""Of a latency, the share from which on nobody needs to know how much more exactly: 1000 %."""

Measure = Literal["p50", "p95", "p99", "failed", "timed_out", "retried"]

QUANTILES: Final[Mapping[Measure, float]] = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

DEFAULT_LIMITS: Final[Mapping[Measure, float]] = {
    "p50": 0.10,
    "p95": 0.10,
    "p99": 0.20,
    "failed": 0.02,
    "timed_out": 0.02,
    "retried": 0.05,
}
"""Least effects: latencies by which share of the baseline's, rates by which share of all calls."""


def limits_of(texts: Iterable[str]) -> dict[Measure, float]:
    """Read limits as they are given to a command: "p95=20%" or "p95=0.2"; the others keep their defaults.

    Raises:
        ValueError: There is no such measure, or what follows is no number from 0 on.
    """
    limits = dict(DEFAULT_LIMITS)
    for text in texts:
        name, _, number = text.partition("=")
        if name not in limits:
            raise ValueError(f"{text!r}: {name!r} is none of {', '.join(limits)}")
        try:
            value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise ValueError(f"{text!r}: the limit must be a share of at least 0, as in {name}=0.1 or {name}=10%")
        limits[name] = value
    return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measure of both runs.

    Attributes:
        measure: p50, p95 and p99 of the latency in seconds, of calls that ended; failed, timed_out and retried as
            shares of all calls.
        tool: Name of the tool; empty: all that both runs have.
        value: Of the run; None without calls, as the others.
        baseline: Of the baseline.
        change: How much more it is: of a latency the share of the baseline's, of a rate the difference.
        low: Lower end of the change's interval; None where so few calls do not show it.
        high: Its upper end; the same.
        limit: The least effect that counts.
        n: Calls of the run.
        n_baseline: Calls of the baseline.
        design_effect: So many calls are worth one independent one; at least 1.
        verdict: Violated: worse by the limit or more, and the interval says that it is no chance. Undecided: too few
            calls to say so of any change.
        reason: The same in a sentence.
    """

    measure: Measure
    tool: str
    value: float | None
    baseline: float | None
    change: float | None
    low: float | None
    high: float | None
    limit: float
    n: int
    n_baseline: int
    design_effect: float
    verdict: Verdict
    reason: str

    @property
    def name(self) -> str:
        """Measure and tool in words."""
        return f"{self.measure.replace('_', ' ')} ({self.tool or 'all tools'})"

    @property
    def as_expectation(self) -> ExpectationResult:
        """The same in the form of an expectation."""
        return ExpectationResult(
            name=self.name,
            value=self.change,
            limit=f"less than {percent(self.limit, self.measure)} more",
            verdict=self.verdict,
            reason=self.reason,
            low=self.low,
            high=self.high,
            n=self.n,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A run against a baseline.

    Attributes:
        verdict: Violated if anything got worse; undecided if nothing could be compared.
        scenario: Of the baseline.
        started_at: When the baseline ran.
        differs: What else differs between the runs, in words: a change may come from that.
        blocks: Into how many stretches of time both runs were cut, to see how far calls depend on each other.
        confidence: Of each interval; so high that all together err with a chance of 5 % at most.
        results: What was compared; what got worse comes first.
    """

    verdict: Verdict
    scenario: str
    started_at: str
    differs: tuple[str, ...]
    blocks: int
    confidence: float
    results: tuple[Compared, ...]


def percent(change: float, measure: Measure) -> str:
    """Write a change: of a latency in percent of the baseline's, of a rate in points of a hundred calls."""
    if _much(change, measure):
        return f"over {100 * MUCH:g} %"
    return f"{_hundredths(change)} {'%' if measure in QUANTILES else 'points'}"


def change(compared: Compared) -> str:
    """Write a change with its interval; an end that so few calls do not show is open."""
    if compared.change is None:
        return "–"
    low, high = (_end(end, compared.measure) for end in (compared.low, compared.high))
    sign = "+" if compared.change >= 0 and not _much(compared.change, compared.measure) else ""
    return f"{sign}{percent(compared.change, compared.measure)} ({low} to {high})"


def _end(end: float | None, measure: Measure) -> str:
    if end is None:
        return "?"
    return f"over {100 * MUCH:g}" if _much(end, measure) else f"{'+' if end >= 0 else ''}{_hundredths(end)}"


def _hundredths(share: float) -> str:
    """Write a share as a number of hundredths, never with an exponent for a big one."""
    return f"{100 * share:.0f}" if abs(share) >= 1 else f"{100 * share:.3g}"


def _much(change: float, measure: Measure) -> bool:
    return measure in QUANTILES and change > MUCH


def told(comparison: Comparison) -> list[str]:
    """Tell how a comparison is to be read, in sentences."""
    asked = sum(each.verdict is not Verdict.UNDECIDED for each in comparison.results)
    return [
        (
            f"Baseline: {comparison.scenario}, started {comparison.started_at}. Something is called worse if the "
            f"interval of its change lies above 0 and the change is at least the limit."
        ),
        (
            f"Each interval holds with {100 * comparison.confidence:.4g} %, so that all {asked} together err with 5 % "
            f"at most. Calls of one run depend on each other: the runs were cut into {comparison.blocks} equal "
            f"stretches of time; where these differ more than independent calls would, by the design effect, the "
            f"intervals are wider."
        ),
    ]
