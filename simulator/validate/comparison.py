"""Holds the model against the real daemon: two histories of the same calls, figure by figure.

Both bodies make the same calls: their moments, tools, keys and the draws of their latencies come from one workload and
seed. So what differs is the model, and the machine that the drill ran on, and not the luck. Pure functions: two lists
of calls in, a comparison out.

Latencies are those of the calls that got their answer, from the intended start, as everywhere in the model's figures:
a refusal in milliseconds is no fast answer, and how fast a machine says no is not what the model is about.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from scenarios.history import Call
from scenarios.verdict import Verdict, worst

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


@dataclass(frozen=True, slots=True)
class History:
    """What one body says.

    Attributes:
        calls: Its history.
        refused: How many attempts of a call were answered 429, by trace_id; a call that is not there had none.
    """

    calls: Sequence[Call]
    refused: Mapping[str, int] = field(default_factory=dict)

    def of(self, tool: str) -> "History":
        """Return the calls of one tool alone; the refusals of others do no harm."""
        return History([call for call in self.calls if call.tool == tool], self.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clarity:
    """What the machine of a drill lets tell.

    Attributes:
        resolution_s: How uneven the drill was: by how much more of its own time its machine took for some calls than
            for others. Above the limit of P50, no error over a limit says anything.
        machine_known: Whether the drill's calls told the machine's own time. Where they did not, no error of a latency
            over its limit says anything.
        machine_slow: Whether the drill's calls took more than is put down to a machine. Then an error over a limit may
            be the machine's or the daemon's, and says nothing; one within it was reached without the rest.
    """

    resolution_s: float = 0.0
    machine_known: bool = True
    machine_slow: bool = False


CLEAR: Final = Clarity()


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
        plain: In a model whose providers do not take the machine's time; None if nobody asked.
    """

    name: str
    tool: str
    n: int
    real: float | None
    simulated: float | None
    unit: Unit
    limit: float | None = None
    unclear: bool = False
    plain: float | None = None

    @property
    def raw_error(self) -> float | None:
        """The error without the machine's time, which is taken from the drill itself; None if nobody asked."""
        return None if self.plain is None else replace(self, simulated=self.plain).error

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
    real: History,
    simulated: History,
    limits: Limits,
    *,
    plain: History | None = None,
    least_calls: int = LEAST_CALLS,
    clarity: Clarity = CLEAR,
) -> Comparison:
    """Compare the history of a drill with that of the model.

    Args:
        real: The drill's.
        simulated: The model's, with the machine's own time.
        limits: For success rate, 429 rate, P50 and P95 over all calls; all else is shown and not judged.
        plain: The model's without the machine's own time, to be told beside it.
        least_calls: Calls that it takes in both to judge.
        clarity: What the drill's machine lets tell.
    """
    unclear = clarity.machine_slow or clarity.resolution_s > limits.latency_percent / 100.0 * (
        _quantile(real, 0.50) or 0.0
    )
    figures = [
        replace(each, unclear=unclear or not (clarity.machine_known or each.unit == "points"))
        for each in _figures("", real, simulated, plain, limits)
    ]
    for tool in sorted({call.tool for call in (*real.calls, *simulated.calls)}):
        alone = None if plain is None else plain.of(tool)
        figures += _figures(tool, real.of(tool), simulated.of(tool), alone, None)
    by_trace = {call.trace_id: call for call in simulated.calls}
    pairs = tuple(Pair(call, by_trace[call.trace_id]) for call in real.calls if call.trace_id in by_trace)
    return Comparison(
        figures=tuple(figures),
        pairs=pairs,
        only_real=len(real.calls) - len(pairs),
        only_simulated=len(simulated.calls) - len(pairs),
        why_undecided=_too_few(min(len(real.calls), len(simulated.calls)), least_calls),
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


def _figures(
    tool: str, real: History, simulated: History, plain: History | None, limits: Limits | None
) -> list[FigurePair]:
    """Compare the calls of one tool, or all; without limits nothing is judged."""
    points = None if limits is None else limits.rate_points
    percent = None if limits is None else limits.latency_percent

    def pair(name: str, of: Callable[[History], float | None], unit: Unit, limit: float | None) -> FigurePair:
        every = unit == "points" or name == _ATTEMPTS
        return FigurePair(
            name=name,
            tool=tool,
            n=len(real.calls) if every else len(answered_s(real.calls)),
            real=of(real),
            simulated=of(simulated),
            unit=unit,
            limit=limit,
            plain=None if plain is None else of(plain),
        )

    return [
        pair("success rate", _success_rate, "points", points),
        pair("429 rate", _refusal_rate, "points", points),
        pair(_ATTEMPTS, _attempts, "percent", None),
        pair("P50", lambda body: _quantile(body, 0.50), "percent", percent),
        pair("P95", lambda body: _quantile(body, 0.95), "percent", percent),
        pair("P99", lambda body: _quantile(body, 0.99), "percent", None),
    ]


_ATTEMPTS: Final = "attempts per call"


def _success_rate(body: History) -> float | None:
    calls = body.calls
    return sum(call.outcome.succeeded for call in calls) / len(calls) if calls else None


def _refusal_rate(body: History) -> float | None:
    """Return the share of the attempts that were answered 429; other refusals are no matter of caps."""
    attempts = sum(call.attempts for call in body.calls)
    return sum(body.refused.get(call.trace_id, 0) for call in body.calls) / attempts if attempts else None


def _attempts(body: History) -> float | None:
    calls = body.calls
    return sum(call.attempts for call in calls) / len(calls) if calls else None


def _quantile(body: History, q: float) -> float | None:
    """Return the smallest latency that the share `q` does not exceed; nothing is interpolated."""
    latencies = answered_s(body.calls)
    return latencies[max(0, math.ceil(q * len(latencies)) - 1)] if latencies else None
