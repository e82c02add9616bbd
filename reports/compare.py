"""Compares a run with a baseline: what got worse, by how much, and whether chance could have done it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from reports.comparison import DEFAULT_LIMITS, QUANTILES, Compared, Comparison, Measure
from reports.dependence import FEWEST_BLOCKS, Blocks, blocks_of
from reports.differences import differences_of
from reports.intervals import difference, quantile_interval, ratio, share_interval
from reports.judging import Change, Numbers, judged
from reports.table import CallTable, Mask
from scenarios.history import Outcome
from scenarios.run import Run
from scenarios.verdict import Verdict, worst

CHANCE: Final = 0.05
"""Chance that any of all comparisons of two runs of the same thing is called worse."""

_OF_ALL: Final[tuple[Measure, ...]] = ("p50", "p95", "p99", "failed", "timed_out", "retried")
_OF_TOOL: Final[tuple[Measure, ...]] = ("p50", "p95", "failed")

FEWEST: Final = 5
"""Calls that must lie on the rarer side of a quantile: 10 for P50, 100 for P95, 500 for P99."""

FEWEST_OF_RATE: Final = 20
"""Calls that a rate must be of."""


class NoComparisonError(Exception):
    """Two runs cannot be compared; its text says why.

    Attributes:
        exit_code: Exit status of a command that ends with it: wrong usage.
    """

    exit_code = 2


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both runs, the tools that both have, and the least effects."""

    run: CallTable
    baseline: CallTable
    tools: tuple[str, ...]
    blocks: Blocks
    limits: Mapping[Measure, float] = field(default_factory=lambda: DEFAULT_LIMITS)

    def counted(self, tool: str, measure: Measure) -> tuple[Mask, Mask]:
        """Return which calls of both runs count: of the tool, or of any that both have; for a latency, with an end."""
        names = [tool] if tool else self.tools
        first, second = (
            np.logical_or.reduce([table.tool.mask(name) for name in names])
            & (table.ended if measure in QUANTILES else np.True_)
            for table in (self.run, self.baseline)
        )
        return first, second


def compare(
    run: tuple[Run, CallTable], baseline: tuple[Run, CallTable], limits: Mapping[Measure, float] = DEFAULT_LIMITS
) -> Comparison:
    """Compare all tools together, and each that both runs have.

    Raises:
        NoComparisonError: A run has no calls, the baseline did not come to its end, or no tool is in both.
    """
    tools = _common_tools(run, baseline)
    what: list[tuple[str, Measure]] = [("", measure) for measure in _OF_ALL]
    what += [(tool, measure) for tool in tools for measure in _OF_TOOL] if len(tools) > 1 else []
    pair = _Pair(run[1], baseline[1], tools, blocks_of(run[1], baseline[1]), limits)
    missing = {each: _missing(pair, *each) for each in what}
    # Bonferroni: who asks often is told something odd at times. What cannot be told at all is not asked.
    tail = CHANCE / 2 / max(1, sum(not reason for reason in missing.values()))
    results = [_compared(pair, tool, measure, tail, reason) for (tool, measure), reason in missing.items()]
    decided = [result.verdict for result in results if result.verdict is not Verdict.UNDECIDED]
    return Comparison(
        verdict=worst(decided),
        scenario=baseline[0].scenario,
        started_at=baseline[0].started_at,
        differs=tuple(differences_of(run, baseline)),
        blocks=pair.blocks.number,
        confidence=1 - 2 * tail,
        results=tuple(sorted(results, key=lambda result: result.verdict is not Verdict.VIOLATED)),
    )


def _common_tools(run: tuple[Run, CallTable], baseline: tuple[Run, CallTable]) -> tuple[str, ...]:
    for name, (_, table) in (("run", run), ("baseline", baseline)):
        if not len(table):
            raise NoComparisonError(f"the {name} has no calls")
    if baseline[0].stopped_by is not None:
        raise NoComparisonError(f"the baseline did not come to its end: {baseline[0].stopped_by}")
    tools = sorted(set(run[1].tool.names) & set(baseline[1].tool.names))
    if not tools:
        raise NoComparisonError(
            f"no tool is in both runs: {', '.join(sorted(run[1].tool.names))}; "
            f"baseline: {', '.join(sorted(baseline[1].tool.names))}"
        )
    return tuple(tools)


def _missing(pair: _Pair, tool: str, measure: Measure) -> str:
    """Return why a measure cannot be compared, whatever was seen; empty if it can."""
    n = min(int(np.count_nonzero(mask)) for mask in pair.counted(tool, measure))
    needed = math.ceil(FEWEST / min(q, 1 - q)) if (q := QUANTILES.get(measure)) else FEWEST_OF_RATE
    if n < needed:
        return f"too few calls: {n}, and {needed} are needed"
    if pair.blocks.number < FEWEST_BLOCKS:
        return f"too short: {pair.blocks.number} stretches of time, and {FEWEST_BLOCKS} are needed to see chance"
    return ""


def _compared(pair: _Pair, tool: str, measure: Measure, tail: float, missing: str) -> Compared:
    counted = pair.counted(tool, measure)
    n, n_baseline = (int(np.count_nonzero(mask)) for mask in counted)
    if missing:
        return judged(tool, measure, None, pair.limits[measure], Numbers(n, n_baseline, 1.0, missing))
    if measure in QUANTILES:
        seen, effect = _quantiles(pair, counted, QUANTILES[measure], tail)
    else:
        seen, effect = _shares(pair, counted, measure, tail)
    return judged(tool, measure, seen, pair.limits[measure], Numbers(n, n_baseline, effect, ""))


def _quantiles(pair: _Pair, counted: tuple[Mask, Mask], q: float, tail: float) -> tuple[Change, float]:
    tables = (pair.run, pair.baseline)
    latencies = [np.sort(table.latency_s[mask]) for table, mask in zip(tables, counted, strict=True)]
    limits = [ordered[max(0, math.ceil(q * len(ordered)) - 1)] for ordered in latencies]
    effect = pair.blocks.design_effect(
        (counted[0], pair.run.latency_s > limits[0]), (counted[1], pair.baseline.latency_s > limits[1])
    )
    divisor = effect * pair.blocks.penalty(tail)
    now, before = (quantile_interval(ordered, q, divisor, tail) for ordered in latencies)
    return Change(now, before, ratio(now, before)), effect


def _shares(pair: _Pair, counted: tuple[Mask, Mask], measure: Measure, tail: float) -> tuple[Change, float]:
    having = [_having(table, measure) for table in (pair.run, pair.baseline)]
    effect = pair.blocks.design_effect((counted[0], having[0]), (counted[1], having[1]))
    divisor = effect * pair.blocks.penalty(tail)
    now, before = (
        share_interval(int(np.count_nonzero(mask & has)), int(np.count_nonzero(mask)), divisor, tail)
        for mask, has in zip(counted, having, strict=True)
    )
    return Change(now, before, difference(now, before)), effect


def _having(table: CallTable, measure: Measure) -> Mask:
    if measure == "failed":
        return ~table.succeeded
    return table.outcome.mask(Outcome.TIMEOUT) if measure == "timed_out" else table.attempts > 1
