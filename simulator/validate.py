"""Holds the model against the real daemon: two histories of the same calls, figure by figure.

Both bodies make the same calls: their moments, tools, keys and the draws of their latencies come from one workload and
seed. So what differs is the model, and the machine that the drill ran on, and not the luck. Pure functions: two lists
of calls in, a comparison out.

Latencies are those of the calls that got their answer, from the intended start, as everywhere in the model's figures:
a refusal in milliseconds is no fast answer, and how fast a machine says no is not what the model is about.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from scenarios.history import Call
from scenarios.verdict import Verdict, worst
from simulator.figures import refused_attempts

LEAST_CALLS: Final = 20
"""Calls that it takes to judge: with fewer, one call is more than the tail that P95 looks at."""

SHOWN_PAIRS: Final = 10

Unit = Literal["points", "percent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far the model may be from the daemon.

    Attributes:
        rate_points: For rates, in percentage points.
        latency_percent: For latencies, in percent of the real one.
    """

    rate_points: float = 2.0
    latency_percent: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePair:
    """One figure in both bodies.

    Attributes:
        name: What is compared.
        tool: Of which tool's calls; empty for all.
        n: Calls that the real figure was made from.
        real: In the drill; None if no call gave a value. Rates are shares from 0 to 1.
        simulated: In the model; the same.
        unit: Of the error.
        limit: How large the error may be; None for a figure that is shown and not judged.
        unclear: Whether the drill was too uneven to tell an error so large as the limit.
    """

    name: str
    tool: str
    n: int
    real: float | None
    simulated: float | None
    unit: Unit
    limit: float | None = None
    unclear: bool = False

    @property
    def error(self) -> float | None:
        """How far the model is above (or below, negative) the drill; None if there is nothing to compare.

        Infinite where one body has a value and the other has none, or where the real one is zero and the other is not.
        """
        if self.real is None and self.simulated is None:
            return None
        if self.real is None or self.simulated is None:
            return math.inf
        difference = self.simulated - self.real
        if self.unit == "points":
            return 100.0 * difference
        if self.real == 0.0:
            return 0.0 if difference == 0.0 else math.copysign(math.inf, difference)
        return 100.0 * difference / self.real

    @property
    def verdict(self) -> Verdict | None:
        """Whether the error is within its limit; None for a figure that is not judged.

        Undecided where there is nothing to compare, and over its limit where the drill was too uneven: that is no proof
        against the model, and none for it.
        """
        if self.limit is None:
            return None
        if self.error is None:
            return Verdict.UNDECIDED
        if abs(self.error) <= self.limit:
            return Verdict.HELD
        return Verdict.UNDECIDED if self.unclear else Verdict.VIOLATED


@dataclass(frozen=True, slots=True)
class Pair:
    """The same call in both bodies."""

    real: Call
    simulated: Call

    @property
    def same_outcome(self) -> bool:
        """Whether it ended alike."""
        return self.real.outcome is self.simulated.outcome

    @property
    def difference_s(self) -> float | None:
        """How much longer the model's took; None if one of them never ended."""
        if self.real.latency_s is None or self.simulated.latency_s is None:
            return None
        return self.simulated.latency_s - self.real.latency_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two histories, compared.

    Attributes:
        figures: Over all calls first, then by tool.
        pairs: Calls that both bodies made, in the order of the drill.
        only_real: Calls that the model did not make: a closed user's further turns, for example.
        only_simulated: Calls that the drill did not make.
        why_undecided: What keeps the comparison from being judged; None if nothing does.
        notes: What the bodies did not share, and what the model left out, in words.
    """

    figures: tuple[FigurePair, ...]
    pairs: tuple[Pair, ...]
    only_real: int
    only_simulated: int
    why_undecided: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> tuple[FigurePair, ...]:
        """The figures that have a limit."""
        return tuple(figure for figure in self.figures if figure.limit is not None)

    @property
    def verdict(self) -> Verdict:
        """Held if every judged figure is within its limit."""
        if self.why_undecided is not None:
            return Verdict.UNDECIDED
        return worst(figure.verdict for figure in self.judged if figure.verdict is not None)

    @property
    def worst_pairs(self) -> list[Pair]:
        """The calls that differ most."""
        return sorted(self.pairs, key=lambda pair: -abs(pair.difference_s or 0.0))[:SHOWN_PAIRS]


def compare(
    real: Sequence[Call],
    simulated: Sequence[Call],
    limits: Limits,
    *,
    least_calls: int = LEAST_CALLS,
    resolution_s: float = 0.0,
) -> Comparison:
    """Compare the history of a drill with that of the model.

    Args:
        real: The drill's calls.
        simulated: The model's.
        limits: For success rate, 429 rate, P50 and P95 over all calls; all else is shown and not judged.
        least_calls: Calls that it takes in both to judge.
        resolution_s: How uneven the drill was: by how much more of its own time its machine took for some calls than
            for others. Above the limit of P50, no error over a limit says anything.
    """
    unclear = resolution_s > limits.latency_percent / 100.0 * (_quantile(real, 0.50) or 0.0)
    figures = [replace(each, unclear=unclear) for each in _figures("", real, simulated, limits)]
    for tool in sorted({call.tool for call in (*real, *simulated)}):
        figures += _figures(tool, _of(tool, real), _of(tool, simulated), None)
    by_trace = {call.trace_id: call for call in simulated}
    pairs = tuple(Pair(call, by_trace[call.trace_id]) for call in real if call.trace_id in by_trace)
    return Comparison(
        figures=tuple(figures),
        pairs=pairs,
        only_real=len(real) - len(pairs),
        only_simulated=len(simulated) - len(pairs),
        why_undecided=_too_few(min(len(real), len(simulated)), least_calls),
    )


def cdf(calls: Iterable[Call], most: int = 400) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the latencies of the answered calls and the share that each is not exceeded by, at most `most` of them."""
    latencies = answered_s(calls)
    n = len(latencies)
    places = range(n) if n <= most else sorted({round(step * (n - 1) / (most - 1)) for step in range(most)})
    return tuple(latencies[place] for place in places), tuple((place + 1) / n for place in places)


def answered_s(calls: Iterable[Call]) -> list[float]:
    """Return the latencies of the calls that got their answer, in order."""
    return sorted(call.latency_s for call in calls if call.outcome.succeeded and call.latency_s is not None)


def _too_few(calls: int, least: int) -> str | None:
    return None if calls >= least else f"{calls} calls in one of the bodies, at least {least} are needed"


def _of(tool: str, calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if call.tool == tool]


def _figures(tool: str, real: Sequence[Call], simulated: Sequence[Call], limits: Limits | None) -> list[FigurePair]:
    """Compare the calls of one tool, or all; without limits nothing is judged."""
    points = None if limits is None else limits.rate_points
    percent = None if limits is None else limits.latency_percent
    n = len(real)

    def pair(name: str, of: Callable[[Sequence[Call]], float | None], unit: Unit, limit: float | None) -> FigurePair:
        count = n if unit == "points" or name == _ATTEMPTS else len(answered_s(real))
        return FigurePair(name=name, tool=tool, n=count, real=of(real), simulated=of(simulated), unit=unit, limit=limit)

    return [
        pair("success rate", _success_rate, "points", points),
        pair("429 rate", _refusal_rate, "points", points),
        pair(_ATTEMPTS, _attempts, "percent", None),
        pair("P50", lambda calls: _quantile(calls, 0.50), "percent", percent),
        pair("P95", lambda calls: _quantile(calls, 0.95), "percent", percent),
        pair("P99", lambda calls: _quantile(calls, 0.99), "percent", None),
    ]


_ATTEMPTS: Final = "attempts per call"


def _success_rate(calls: Sequence[Call]) -> float | None:
    return sum(call.outcome.succeeded for call in calls) / len(calls) if calls else None


def _refusal_rate(calls: Sequence[Call]) -> float | None:
    """Return the share of the attempts that were answered 429."""
    attempts = sum(call.attempts for call in calls)
    return sum(map(refused_attempts, calls)) / attempts if attempts else None


def _attempts(calls: Sequence[Call]) -> float | None:
    return sum(call.attempts for call in calls) / len(calls) if calls else None


def _quantile(calls: Sequence[Call], q: float) -> float | None:
    """Return the smallest latency that the share `q` does not exceed; nothing is interpolated."""
    latencies = answered_s(calls)
    return latencies[max(0, math.ceil(q * len(latencies)) - 1)] if latencies else None
