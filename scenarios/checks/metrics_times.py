"""Metrics of how long calls took, how often they were sent, and when they came back after a fault."""

import math
from collections.abc import Callable, Sequence

from scenarios.checks.intervals import of_quantile, quantile
from scenarios.checks.selection import Measured, Selection, never_ended, succeeded
from scenarios.history import Call
from scenarios.verdict import Verdict


def latency_quantile(q: float) -> Callable[[Selection], Measured]:
    """Return the measure of a quantile of the latency, of the calls that ended."""

    def measure(selection: Selection) -> Measured:
        return _quantile(_latencies(selection.narrowed), q, never_ended(selection.narrowed))

    return measure


def service_p95(selection: Selection) -> Measured:
    """Measure the P95 of the durations that the daemon gave."""
    return _quantile([call.service_s for call in selection.narrowed if call.service_s is not None], 0.95, 0)


def latency_max(selection: Selection) -> Measured:
    """Measure the longest latency, of the calls that ended."""
    return _largest(_latencies(selection.narrowed), "calls that ended", never_ended(selection.narrowed))


def _latencies(calls: Sequence[Call]) -> list[float]:
    return [call.latency_s for call in calls if call.latency_s is not None]


def _quantile(values: Sequence[float], q: float, lost: int) -> Measured:
    if not values:
        return Measured(value=None, n=0, reason=f"no call ended{_lost(lost)}")
    low, high = of_quantile(values, q)
    value = quantile(values, q)
    reason = f"P{q * 100:.0f} of {len(values)} calls that ended: {value:.4g} s{_lost(lost)}"
    worst = quantile([*values, *[math.inf] * lost], q)
    return Measured(value=value, n=len(values), reason=reason, low=low, high=high, worst=worst)


def _largest(values: Sequence[float], what: str, lost: int) -> Measured:
    if not values:
        return Measured(value=None, n=0, reason=f"no {what}{_lost(lost)}")
    reason = f"longest of {len(values)} {what}: {max(values):.4g} s{_lost(lost)}"
    return Measured(value=max(values), n=len(values), reason=reason, worst=math.inf if lost else max(values))


def _lost(lost: int) -> str:
    return f"; {lost} never ended" if lost else ""


def attempts_mean(selection: Selection) -> Measured:
    """Measure how often a call was sent on average."""
    attempts = _attempts(selection)
    if not attempts:
        return Measured(value=None, n=0, reason="no call was sent")
    mean = sum(attempts) / len(attempts)
    return Measured(value=mean, n=len(attempts), reason=f"{len(attempts)} calls were sent {sum(attempts)} times")


def attempts_max(selection: Selection) -> Measured:
    """Measure how often a call was sent at most."""
    attempts = _attempts(selection)
    if not attempts:
        return Measured(value=None, n=0, reason="no call was sent")
    most = max(attempts)
    reason = f"{attempts.count(most)} of {len(attempts)} calls were sent {most} times, the others less often"
    return Measured(value=float(most), n=len(attempts), reason=reason)


def _attempts(selection: Selection) -> list[int]:
    return [call.attempts for call in selection.narrowed if call.attempts > 0]


def heartbeat_gap_max(selection: Selection) -> Measured:
    """Measure the longest silence of an admitted call."""
    gaps = [call.max_heartbeat_gap_s for call in selection.narrowed if call.max_heartbeat_gap_s is not None]
    return _largest(gaps, "admitted calls' silences", 0)


def first_heartbeat_max(selection: Selection) -> Measured:
    """Measure the longest wait from an admission to the first heartbeat."""
    firsts = [call.first_heartbeat_s for call in selection.narrowed if call.first_heartbeat_s is not None]
    return _largest(firsts, "first heartbeats", 0)


def calls_without_heartbeat(selection: Selection) -> Measured:
    """Count the admitted calls of more than two intervals that never saw a heartbeat."""
    history = selection.history
    long_s = 2 * history.heartbeat_interval_s
    long_calls = [
        call
        for call in selection.narrowed
        if call.acked_at is not None
        and (history.end_at if call.finished_at is None else call.finished_at) - call.acked_at > long_s
    ]
    silent = [call for call in long_calls if call.first_heartbeat_s is None]
    reason = f"{len(silent)} of {len(long_calls)} admitted calls of more than {long_s:.4g} s saw no heartbeat"
    return Measured(value=float(len(silent)), n=len(long_calls), reason=reason)


def goodput(selection: Selection) -> Measured:
    """Measure the answered calls per second of the phase, or of the whole load."""
    phase = selection.expectation.phase
    lengths = {placed.phase: placed.duration for _, placed in selection.scenario.phases()}
    length_s = selection.scenario.load_s if phase is None else lengths.get(phase)
    if length_s is None:
        return Measured(value=None, n=0, reason=f"the scenario has no phase {phase!r}")
    answered = sum(1 for call in selection.calls if succeeded(call))
    reason = f"{answered} of {len(selection.calls)} calls answered in {length_s:.4g} s of load"
    return Measured(value=answered / length_s, n=len(selection.calls), reason=reason)


def recovery(selection: Selection) -> Measured:
    """Measure from the end of the last fault to the first answered call after the last failed one.

    With `during`, the fault of that name counts. Without a failure after the fault, the first answered call counts.
    """
    name = selection.expectation.during
    # Not all windows: the daemon's own end after the load is no fault.
    ends = [window.end for window in selection.history.fault_windows if name is None or window.name == name]
    if not ends:
        return Measured(value=None, n=0, reason="there was no fault to recover from")
    over_at = max(ends)
    if math.isinf(over_at):
        return Measured(value=None, n=0, reason="the fault was never removed")
    return _recovery(_calls_after(selection, over_at), over_at)


def _calls_after(selection: Selection, over_at: float) -> list[tuple[float, bool]]:
    """Return the ends of the calls after the fault, in order, with their success; one without end failed at last.

    The filter by fault is left out: calls that show the recovery are not those during which the fault was active.
    """
    wanted = selection.expectation.model_copy(update={"during": None})
    calls = Selection(selection.scenario, selection.history, wanted).calls
    ended = [(call.finished_at if call.finished_at is not None else math.inf, succeeded(call)) for call in calls]
    return sorted(end for end in ended if end[0] >= over_at)


def _recovery(ends: Sequence[tuple[float, bool]], over_at: float) -> Measured:
    last_failure = max((at for at, success in ends if not success), default=over_at)
    first = min((at for at, success in ends if success and at >= last_failure), default=None)
    failures = sum(1 for _, success in ends if not success)
    reason = f"after the fault's end {len(ends)} calls ended, {failures} of them failed"
    if first is None:
        verdict = Verdict.VIOLATED if failures else None
        return Measured(value=None, n=len(ends), reason=f"{reason}, and none succeeded after that", verdict=verdict)
    return Measured(value=first - over_at, n=len(ends), reason=f"{reason}; recovered {first - over_at:.4g} s after it")
