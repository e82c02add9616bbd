"""What one model run says in figures: a dozen numbers that settings are compared by."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Annotated, Final, Literal, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from scenarios.checks.selection import succeeded, timed_out
from scenarios.history import Outcome
from simulator.model.census import Census
from simulator.model.engine import ModelRun

Better = Literal["more", "less", ""]
"""Which way a figure is better; empty where that is nobody's to say."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is; its value stands in `Figures`.

    Attributes:
        unit: "s", "1/s", "1" for a count or a mean of counts, "share" from 0 to 1; empty for what has none.
        better: Which way it is better.
        meaning: What it says.
    """

    unit: str
    better: Better
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one replication; None where no call gave a value. Durations are unscaled seconds.

    Latencies count from the intended start, so retries and waits between them are included; they are those of the
    calls that succeeded, since a refusal in milliseconds is no fast answer.
    """

    seed: Annotated[int, Figure("", "", "seed of the replication")]
    calls: Annotated[int, Figure("1", "", "logical calls that were meant to start after the warm-up")]
    success_rate: Annotated[float | None, Figure("share", "more", "calls that got their answer, of all calls")]
    refusal_rate: Annotated[float | None, Figure("share", "less", "attempts refused with 429, of all attempts")]
    over_capacity_rate: Annotated[
        float | None, Figure("share", "less", "calls that ended refused, their attempts used up, of all calls")
    ]
    attempts_per_call: Annotated[float | None, Figure("1", "less", "times that a call was sent, on average")]
    p50_s: Annotated[float | None, Figure("s", "less", "median latency, retries included")]
    p95_s: Annotated[float | None, Figure("s", "less", "P95 of the latency, retries included")]
    p99_s: Annotated[float | None, Figure("s", "less", "P99 of the latency, retries included")]
    goodput_per_s: Annotated[float | None, Figure("1/s", "more", "answered calls per second of load")]
    thrown_away_s: Annotated[float, Figure("s", "less", "work that was cut and did nobody any good, warm-up included")]
    thrown_away_share: Annotated[float | None, Figure("share", "less", "of all seconds of work, the ones thrown away")]
    timeouts: Annotated[int, Figure("1", "less", "calls that ended because somebody's patience did")]
    never_ended: Annotated[int, Figure("1", "less", "calls without an end; no latency counts them")]
    max_in_flight: Annotated[int, Figure("1", "", "most calls in the daemon at once")]
    mean_in_flight: Annotated[float | None, Figure("1", "", "calls in the daemon, averaged over the time of load")]

    def as_dict(self) -> dict[str, int | float | None]:
        """Return the figures by name, as JSON has them."""
        return dataclasses.asdict(self)


def _described() -> Mapping[str, Figure]:
    hints = get_type_hints(Figures, include_extras=True)
    return MappingProxyType({name: get_args(hint)[1] for name, hint in hints.items() if name != "seed"})


FIGURES: Final = _described()
"""What each figure is, by name; without the seed, which is no result."""


def figures_of(run: ModelRun, warm_up_s: float = 0.0, *, seed: int = 0, load_s: float | None = None) -> Figures:
    """Return the figures of a run; the same run gives the same figures.

    Args:
        run: The run.
        warm_up_s: Calls that were meant to start before this moment are left out.
        seed: Seed of the run, to be kept with its figures.
        load_s: Seconds of load; None: until the last call's intended start.
    """
    pairs = zip(run.calls, run.ended, strict=True)
    counted = [(call, ended.refused) for call, ended in pairs if call.intended_at >= warm_up_s]
    calls = [call for call, _ in counted]
    number, attempts = len(calls), sum(call.attempts for call in calls)
    good = [call for call in calls if succeeded(call)]
    latencies = np.sort(np.array([call.latency_s for call in good if call.latency_s is not None], dtype=np.float64))
    end_at = load_s if load_s is not None else max((call.intended_at for call in calls), default=warm_up_s)
    spans = _spans(run.censuses.get("daemon"))
    most, mean = _in_flight(spans, warm_up_s, end_at)
    thrown_s = run.counts.thrown_away_s
    return Figures(
        seed=seed,
        calls=number,
        success_rate=_share(len(good), number),
        refusal_rate=_share(sum(refused for _, refused in counted), attempts),
        over_capacity_rate=_share(sum(call.outcome is Outcome.OVER_CAPACITY for call in calls), number),
        attempts_per_call=_share(attempts, number),
        p50_s=_quantile(latencies, 0.50),
        p95_s=_quantile(latencies, 0.95),
        p99_s=_quantile(latencies, 0.99),
        goodput_per_s=_share(len(good), end_at - warm_up_s),
        thrown_away_s=thrown_s,
        thrown_away_share=_share(thrown_s, max(float(np.sum(spans[1] - spans[0])), thrown_s)),
        timeouts=sum(map(timed_out, calls)),
        never_ended=sum(call.finished_at is None for call in calls),
        max_in_flight=most,
        mean_in_flight=mean,
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _quantile(ordered: Floats, q: float) -> float | None:
    """Return the smallest value that the share `q` does not exceed: one that was seen, as in a drill's verdict."""
    if not ordered.size:
        return None
    return float(ordered[max(0, math.ceil(q * ordered.size) - 1)])


def _spans(census: Census | None) -> tuple[Floats, Floats]:
    """Return from when and until when each admitted call was in the daemon, by the daemon's own count."""
    spans = [] if census is None else census.spans
    both = np.fromiter(chain.from_iterable(spans), dtype=np.float64, count=2 * len(spans))
    return both[0::2], both[1::2]


def _in_flight(spans: tuple[Floats, Floats], from_at: float, until_at: float) -> tuple[int, float | None]:
    """Return the most and the mean number of calls at once between two moments."""
    starts, ends = np.clip(spans[0], from_at, until_at), np.clip(spans[1], from_at, until_at)
    there = starts < ends
    starts, ends = np.sort(starts[there]), np.sort(ends[there])
    if not starts.size:
        return 0, 0.0 if until_at > from_at else None
    # A slot that is given back at a moment can be taken at the same one.
    most = np.arange(1, starts.size + 1) - np.searchsorted(ends, starts, side="right")
    return int(most.max()), float(np.sum(ends - starts)) / (until_at - from_at)
