"""Quantiles of latencies: never without their count, their interval, and those that never ended."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from reports.table import CallTable, Floats, Labels, Mask
from scenarios.checks.intervals import ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A quantile that was seen, and where the true one lies.

    Attributes:
        value_s: The quantile, always a latency that was seen.
        low_s: Lower end of its 95 % interval by order statistics; None where so few calls do not show one.
        high_s: Its upper end; the same.
    """

    value_s: float
    low_s: float | None
    high_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Latencies of a group of calls, in unscaled seconds.

    Attributes:
        phase: Name of the phase; empty: all of them.
        tool: Name of the tool; empty: all of them.
        provider: Name of the provider; empty: all of them.
        n: Calls that ended, in whatever way: a call that timed out took its time, too.
        succeeded: Those of them that got their answer.
        never_ended: Calls without an end, which no quantile contains: with many of them the quantiles flatter.
        p50: Median; None without a call that ended, as the others.
        p95: 95 % of the calls took at most this.
        p99: 99 % of the calls took at most this.
        max_s: The slowest call.
    """

    phase: str = ""
    tool: str = ""
    provider: str = ""
    n: int
    succeeded: int
    never_ended: int
    p50: Estimate | None
    p95: Estimate | None
    p99: Estimate | None
    max_s: float | None


def estimate(ordered: Floats, q: float) -> Estimate | None:
    """Return the smallest of `ordered` that at least the share `q` of them does not exceed, with its interval.

    Nothing is interpolated: the P95 of few calls is the slowest of them.
    """
    n = len(ordered)
    if n == 0:
        return None
    low, high = ranks(n, q)
    return Estimate(
        value_s=float(ordered[max(0, math.ceil(q * n) - 1)]),
        low_s=float(ordered[low]) if low >= 0 else None,
        high_s=float(ordered[high]) if high < n else None,
    )


def by_phase_and_tool(table: CallTable) -> tuple[Quantiles, ...]:
    """Return the quantiles of every phase and tool, in the order in which they first occur."""
    return tuple(
        quantiles(table, chosen, phase=phase, tool=tool) for phase, tool, chosen in _pairs(table.phase, table.tool)
    )


def by_tool_and_provider(table: CallTable) -> tuple[Quantiles, ...]:
    """Return the quantiles of every tool, and of every provider that is known, each over all phases."""
    tools = [quantiles(table, table.tool.mask(name), tool=name) for name in sorted(table.tool.names)]
    providers = [quantiles(table, table.provider.mask(name), provider=name) for name in sorted(table.provider.names)]
    return (*tools, *providers)


def quantiles(table: CallTable, chosen: Mask, *, phase: str = "", tool: str = "", provider: str = "") -> Quantiles:
    """Return the quantiles of the chosen calls."""
    latencies = table.latency_s[chosen]
    ordered = np.sort(latencies[~np.isnan(latencies)])
    return Quantiles(
        phase=phase,
        tool=tool,
        provider=provider,
        n=len(ordered),
        succeeded=int(np.count_nonzero(table.succeeded & chosen)),
        never_ended=len(latencies) - len(ordered),
        p50=estimate(ordered, 0.50),
        p95=estimate(ordered, 0.95),
        p99=estimate(ordered, 0.99),
        max_s=float(ordered[-1]) if len(ordered) else None,
    )


def _pairs(first: Labels, second: Labels) -> Iterator[tuple[str, str, Mask]]:
    """Give every pair of names that occurs, with its calls."""
    together = first.codes.astype(np.int64) * (len(second.names) + 1) + second.codes
    seen, places = np.unique(together, return_index=True)
    for code in _in_order(seen, places):
        one, other = divmod(code, len(second.names) + 1)
        yield first.names[one], second.names[other], together == code


def _in_order(values: Iterable[int], places: Iterable[int]) -> list[int]:
    """Sort values by where they first occur."""
    return [int(value) for _, value in sorted(zip(places, values, strict=True))]
