"""Quantiles of latencies, never without their count and without those that never ended."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scenarios.history import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Latencies of one tool in one phase, in unscaled seconds.

    Attributes:
        phase: Name of the phase.
        tool: Name of the tool.
        n: Calls that ended, in whatever way: a call that timed out took its time, too.
        succeeded: Those of them that got their answer.
        never_ended: Calls without an end, which no quantile contains: with many of them the quantiles
        flatter. p50_s: Median; None without a call that ended, as the others. p95_s: 95 % of the calls took
        at most this. p99_s: 99 % of the calls took at most this. max_s: The slowest call.
    """

    phase: str
    tool: str
    n: int
    succeeded: int
    never_ended: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None


def quantile(values: Sequence[float], q: float) -> float | None:
    """Return the smallest of `values` that at least the share `q` of them does not exceed; None without any.

    Always a value that was seen: nothing is interpolated, so that a P95 of few calls is the slowest of them.
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def by_phase_and_tool(calls: Iterable[Call]) -> tuple[Quantiles, ...]:
    """Return the quantiles of every phase and tool, in the order in which they first occur."""
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in calls:
        groups.setdefault((call.phase, call.tool), []).append(call)
    return tuple(_quantiles(phase, tool, group) for (phase, tool), group in groups.items())


def _quantiles(phase: str, tool: str, calls: Sequence[Call]) -> Quantiles:
    latencies = sorted(call.latency_s for call in calls if call.latency_s is not None)
    return Quantiles(
        phase=phase,
        tool=tool,
        n=len(latencies),
        succeeded=sum(call.outcome.succeeded for call in calls),
        never_ended=len(calls) - len(latencies),
        p50_s=quantile(latencies, 0.50),
        p95_s=quantile(latencies, 0.95),
        p99_s=quantile(latencies, 0.99),
        max_s=quantile(latencies, 1.0),
    )
