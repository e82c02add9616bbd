"""What recorded calls say of providers and load: distributions, error rates, arrivals over time, and the mix of tools.

Pure: recordings in, a calibration out; chance comes with its own seed.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import chi2

from reference_daemon.policy.events import CallKind
from simulator.calibrate.fits import BOOTSTRAPS, SIGNIFICANCE, Choice, Times, choose
from simulator.calibrate.recordings import CalibrationError, Recording, Seen

LEAST_ENDED: Final = 30
"""Calls that must have ended before a distribution is fitted: below, two parameters tell no family from another."""

MOST_WINDOWS: Final = 12
_LEAST_IN_WINDOW: Final = 50
_UNITS_APART: Final = 200.0
"""Factor between two files' medians of the same tool above which one of them is in other units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The calls of one tool to one provider.

    Attributes:
        provider: Name of the provider.
        tool: Name of the tool; None: all those that have too few calls of their own.
        times: How long they took, and after how long others were cut.
        choice: What the times are taken for.
    """

    provider: str
    tool: str | None
    times: Times
    choice: Choice

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.provider} {self.tool or 'other tools'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the recorded time.

    Attributes:
        start_s: Seconds from the first call.
        duration_s: Its length.
        calls: The calls that arrived in it.
    """

    start_s: float
    duration_s: float
    calls: tuple[Seen, ...]

    @property
    def rate(self) -> float:
        """Arrivals per second."""
        return len(self.calls) / self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRate:
    """How often a provider failed.

    Attributes:
        failed: Executions that failed.
        of: Executions in all.
    """

    failed: int
    of: int

    @property
    def rate(self) -> float:
        """The share."""
        return self.failed / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All that was learned.

    Attributes:
        groups: The distributions.
        errors: By provider.
        windows: Parts of the time with a rate of their own; one where the rate does not change.
        dispersion: Variance over mean of the counts in equal windows; 1 for independent arrivals at one rate.
        steady: Chance of such a dispersion at one rate.
        span_s: From the first call to the last.
        sessions: How many there were.
        calls: How many calls.
        unused: Calls that say nothing of durations, by their outcome.
        pooled: Tools with too few calls of their own, with their number.
        settings: The recorded daemon's, where they are known.
    """

    groups: tuple[Group, ...]
    errors: dict[str, ErrorRate]
    windows: tuple[Window, ...]
    dispersion: float
    steady: float
    span_s: float
    sessions: int
    calls: int
    unused: dict[str, int]
    pooled: dict[str, int]
    settings: dict[str, str]


def calibrate(recordings: Sequence[Recording], *, seed: int = 0, bootstraps: int = BOOTSTRAPS) -> Calibration:
    """Learn from recordings; they are put one behind the other.

    Raises:
        CalibrationError: There are too few calls, or the files do not fit together.
    """
    _check_units(recordings)
    calls = _in_a_row(recordings)
    chance = np.random.default_rng(seed)
    groups, pooled = _groups(calls, chance, bootstraps)
    windows, dispersion, steady = _windows(calls)
    asked = [call for call in calls if call.provider is not None]
    return Calibration(
        groups=groups,
        errors={provider: _errors(provider, asked) for provider in sorted({group.provider for group in groups})},
        windows=windows,
        dispersion=dispersion,
        steady=steady,
        span_s=calls[-1].at_s - calls[0].at_s,
        sessions=len({call.session for call in calls}),
        calls=len(calls),
        unused=dict(Counter(call.why for call in asked if call.end is None)),
        pooled=pooled,
        settings=next((recording.settings for recording in recordings if recording.settings), {}),
    )


def _in_a_row(recordings: Sequence[Recording]) -> list[Seen]:
    """Put recordings one behind the other: each begins at its own first call."""
    calls: list[Seen] = []
    offset_s = 0.0
    for recording in recordings:
        for call in recording.calls:
            values = {name: getattr(call, name) for name in Seen.__slots__}
            calls.append(Seen(**(values | {"at_s": call.at_s + offset_s})))
        offset_s = calls[-1].at_s
    return calls


def _groups(
    calls: Iterable[Seen], chance: np.random.Generator, bootstraps: int
) -> tuple[tuple[Group, ...], dict[str, int]]:
    """Fit each tool of each provider that has calls enough; those that have not, together."""
    by_provider: dict[str, dict[str, list[Seen]]] = {}
    for call in calls:
        if call.provider is not None:  # of those that were refused, too: the load will ask for their provider
            by_provider.setdefault(call.provider, {}).setdefault(call.tool, []).append(call)
    if not by_provider:
        raise CalibrationError("the recorded calls", "none of them asked a provider")
    groups: list[Group] = []
    pooled: dict[str, int] = {}
    for provider, tools in sorted(by_provider.items()):
        found, small = _groups_of(provider, tools, chance, bootstraps)
        groups += found
        pooled |= small
    return tuple(groups), pooled


def _groups_of(
    provider: str, tools: dict[str, list[Seen]], chance: np.random.Generator, bootstraps: int
) -> tuple[list[Group], dict[str, int]]:
    everything = [call for calls in tools.values() for call in calls]
    if _ended(everything) < LEAST_ENDED:
        raise CalibrationError(
            f"provider {provider}", f"{_ended(everything)} calls ended, at least {LEAST_ENDED} are needed"
        )
    large = {tool: calls for tool, calls in sorted(tools.items()) if _ended(calls) >= LEAST_ENDED}
    small = {tool: len(calls) for tool, calls in tools.items() if tool not in large}
    groups = [_group(provider, tool, calls, chance, bootstraps) for tool, calls in large.items()]
    if small:  # with all others, for they alone are too few
        groups.append(_group(provider, None, everything, chance, bootstraps))
    return groups, {f"{provider} {tool}": number for tool, number in small.items()}


def _group(
    provider: str, tool: str | None, calls: Sequence[Seen], chance: np.random.Generator, bootstraps: int
) -> Group:
    times = Times.of(
        [call.took_s for call in calls if call.end == "ended" and call.took_s],
        [call.took_s for call in calls if call.end == "cut" and call.took_s],
    )
    try:
        choice = choose(times, chance, bootstraps)
    except ValueError as error:
        raise CalibrationError(f"{tool or 'all tools'} of provider {provider}", str(error)) from error
    return Group(provider=provider, tool=tool, times=times, choice=choice)


def _ended(calls: Iterable[Seen]) -> int:
    return sum(call.end == "ended" and bool(call.took_s) for call in calls)


def _errors(provider: str, asked: Iterable[Seen]) -> ErrorRate:
    ends = [call.end for call in asked if call.provider == provider and call.end is not None]
    return ErrorRate(failed=ends.count("failed"), of=len(ends))


def _windows(calls: Sequence[Seen]) -> tuple[tuple[Window, ...], float, float]:
    """Cut the time into equal windows, unless one rate explains what is seen in them."""
    # Seconds to the last call, and one mean gap more: the time in which it arrived.
    span_s = max(calls[-1].at_s * (1.0 + 1.0 / max(len(calls) - 1, 1)), 1.0)
    number = max(1, min(MOST_WINDOWS, len(calls) // _LEAST_IN_WINDOW))
    counts, _ = np.histogram([call.at_s for call in calls], bins=number, range=(0.0, span_s))
    dispersion = float(counts.var(ddof=1) / counts.mean()) if number > 1 else math.nan
    steady = float(chi2.sf(dispersion * (number - 1), number - 1)) if number > 1 else 1.0
    if steady >= SIGNIFICANCE:
        number = 1
    return tuple(_cut(calls, span_s, number)), dispersion, steady


def _cut(calls: Sequence[Seen], span_s: float, number: int) -> Iterator[Window]:
    length_s = span_s / number
    for index in range(number):
        inside = [call for call in calls if min(int(call.at_s / length_s), number - 1) == index]
        yield Window(start_s=index * length_s, duration_s=length_s, calls=tuple(inside))


def _check_units(recordings: Sequence[Recording]) -> None:
    """Refuse files whose durations of the same tool differ by so much that they cannot be in one unit."""
    medians: dict[tuple[str, CallKind], tuple[float, str]] = {}
    for recording in recordings:
        for key, median_s in _medians(recording).items():
            other_s, source = medians.setdefault(key, (median_s, recording.source))
            if max(median_s, other_s) > _UNITS_APART * min(median_s, other_s):
                raise CalibrationError(
                    recording.source,
                    f"mixed units: {key[0]} takes {median_s:g} s here and {other_s:g} s in {source}",
                )


def _medians(recording: Recording) -> dict[tuple[str, CallKind], float]:
    took: dict[tuple[str, CallKind], list[float]] = {}
    for call in recording.calls:
        if call.end == "ended" and call.provider is not None and call.took_s:
            took.setdefault((call.tool, call.kind), []).append(call.took_s)
    return {key: float(np.median(values)) for key, values in took.items()}
