"""Judges one measure of two runs: an interval and a least effect must both be passed."""

import math
from dataclasses import dataclass

from reports.comparison import LEAST_S, MUCH, QUANTILES, Compared, Measure, percent
from reports.intervals import Interval
from scenarios.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of the run, of the baseline, and how much more it is."""

    now: Interval
    before: Interval
    change: Interval


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many calls a measure is of, how far they depend on each other, and why they are too few; or empty."""

    n: int
    n_baseline: int
    design_effect: float
    too_few: str


def judged(tool: str, measure: Measure, seen: Change | None, limit: float, numbers: Numbers) -> Compared:
    """Return the verdict on a measure; `seen` is None where there were too few calls."""
    if seen is None:
        verdict, reason = Verdict.UNDECIDED, numbers.too_few
    else:
        verdict, reason = _verdict(measure, seen, limit)
    return Compared(
        measure=measure,
        tool=tool,
        value=None if seen is None else seen.now.value,
        baseline=None if seen is None else seen.before.value,
        change=None if seen is None else _shown(seen.change.value),
        low=None if seen is None else _shown(seen.change.low),
        high=None if seen is None else _shown(seen.change.high),
        limit=limit,
        n=numbers.n,
        n_baseline=numbers.n_baseline,
        design_effect=numbers.design_effect,
        verdict=verdict,
        reason=reason,
    )


def _shown(end: float) -> float | None:
    """Return an end that these calls show: a latency cannot fall by more than all of it, nor rise without end."""
    return end if math.isfinite(end) and end > -1.0 else None


def _verdict(measure: Measure, seen: Change, limit: float) -> tuple[Verdict, str]:
    change = seen.change
    words = f"{_value(seen.before.value, measure)} before, {_value(seen.now.value, measure)} now"
    if _shown(change.low) is None:
        return Verdict.UNDECIDED, f"{words}; so few calls show no change, however big"
    if change.low <= 0.0:
        most = _shown(change.high)
        more = "more of any size" if most is None else f"up to {percent(most, measure)} more"
        return Verdict.HELD, f"{words}; may be chance, and {more} cannot be ruled out"
    if change.value < limit or (measure in QUANTILES and seen.now.value - seen.before.value < LEAST_S):
        return Verdict.HELD, f"{words}; worse, but by less than the limit"
    return (
        Verdict.VIOLATED,
        f"{words}; worse by {percent(change.value, measure)}, at least {percent(min(change.low, MUCH), measure)}",
    )


def _value(value: float, measure: Measure) -> str:
    return f"{value:.4g} s" if measure in QUANTILES else f"{100 * value:.3g} %"
