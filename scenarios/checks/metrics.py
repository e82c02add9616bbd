"""Every metric that a scenario may set a limit on, each a function of the selected calls and events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scenarios.checks import metrics_events as events
from scenarios.checks import metrics_times as times
from scenarios.checks.explain import explain
from scenarios.checks.intervals import wilson
from scenarios.checks.selection import Measured, Selection, outcomes, succeeded, timed_out
from scenarios.history import Call, Outcome
from scenarios.model import Metric

Measure = Callable[[Selection], Measured]


@dataclass(frozen=True, slots=True)
class Definition:
    """How a metric is measured.

    Attributes:
        measure: Its function.
        least: Calls that it takes, unless the expectation says otherwise.
        filters: Filters that it knows besides phase, tool, provider and during.
        plain: Whether it knows no filter at all.
    """

    measure: Measure
    least: int = 1
    filters: frozenset[str] = frozenset()
    plain: bool = False


def _calls(selection: Selection) -> Measured:
    number = len(selection.narrowed)
    return Measured(value=float(number), n=len(selection.calls), reason=_counted(number))


def _success_rate(selection: Selection) -> Measured:
    answered = [call for call in selection.calls if succeeded(call)]
    failed = [call for call in selection.calls if not succeeded(call)]
    reason = f"{len(answered)} of {_counted(len(selection.calls))} answered"
    if failed:
        reason += f"; {explain(selection, failed)}"
    return _share(answered, selection.calls, reason)


def _outcomes(selection: Selection) -> Measured:
    wrong = _no_outcome(selection)
    if wrong is not None:
        return wrong
    return Measured(value=float(len(selection.narrowed)), n=len(selection.calls), reason=_seen(selection))


def _outcome_rate(selection: Selection) -> Measured:
    wrong = _no_outcome(selection)
    return wrong if wrong is not None else _share(selection.narrowed, selection.calls, _seen(selection))


def _no_outcome(selection: Selection) -> Measured | None:
    """Return why the outcome cannot be counted: without a known one, zero calls would always be found."""
    wanted = selection.expectation.outcome
    if wanted in {outcome.value for outcome in Outcome}:
        return None
    known = ", ".join(outcome.value for outcome in Outcome)
    why = "names no outcome" if wanted is None else f"names {wanted!r}, which is no outcome"
    return Measured(value=None, n=len(selection.calls), reason=f"the expectation {why}; there are {known}")


def _seen(selection: Selection) -> str:
    wanted = selection.expectation.outcome
    reason = f"{len(selection.narrowed)} of {_counted(len(selection.calls))} ended as {wanted}"
    return f"{reason}; all: {outcomes(selection.calls)}" if selection.calls else reason


def _timeouts(selection: Selection) -> Measured:
    late = _late(selection)
    return Measured(value=float(len(late)), n=len(selection.calls), reason=_timed_out(selection, late))


def _timeout_rate(selection: Selection) -> Measured:
    late = _late(selection)
    return _share(late, selection.calls, _timed_out(selection, late))


def _late(selection: Selection) -> list[Call]:
    return [call for call in selection.narrowed if timed_out(call)]


def _timed_out(selection: Selection, late: list[Call]) -> str:
    layer = selection.expectation.layer
    where = f" at the {layer}" if layer else ""
    reason = f"{len(late)} of {_counted(len(selection.calls))} timed out{where}"
    return f"{reason}: {outcomes(late)}" if late else reason


def _retried_success_rate(selection: Selection) -> Measured:
    refused = [*(selection.answers(429) or ()), *(selection.answers(503) or ())]
    if selection.answers(429) is None:
        return Measured(value=None, n=0, reason="no story of client or daemon says which calls were refused")
    traces = {answer.trace_id for answer in refused}
    calls = [call for call in selection.calls if call.trace_id in traces]
    answered = [call for call in calls if succeeded(call)]
    reason = f"{len(answered)} of {_counted(len(calls))} refused at first got their answer"
    if len(answered) < len(calls):
        reason += f"; {explain(selection, [call for call in calls if not succeeded(call)])}"
    return _share(answered, calls, reason)


def _share(hits: list[Call], calls: list[Call], reason: str) -> Measured:
    if not calls:
        return Measured(value=None, n=0, reason=reason)
    low, high = wilson(len(hits), len(calls))
    return Measured(value=len(hits) / len(calls), n=len(calls), reason=reason, low=low, high=high)


def _counted(number: int) -> str:
    return f"{number} call" if number == 1 else f"{number} calls"


_OUTCOME = frozenset({"outcome"})
_BOTH = frozenset({"outcome", "layer"})
_LAYER = frozenset({"layer"})
_LEAST_P50, _LEAST_P95, _LEAST_P99 = 2, 20, 100  # 1 / (1 - q): fewer calls have none beyond the quantile

METRICS: Final[dict[Metric, Definition]] = {
    "calls": Definition(_calls, filters=_BOTH),
    "success_rate": Definition(_success_rate),
    "outcomes": Definition(_outcomes, filters=_BOTH),
    "outcome_rate": Definition(_outcome_rate, filters=_BOTH),
    "timeouts": Definition(_timeouts, filters=_LAYER),
    "timeout_rate": Definition(_timeout_rate, filters=_LAYER),
    "p50_s": Definition(times.latency_quantile(0.50), _LEAST_P50, _BOTH),
    "p95_s": Definition(times.latency_quantile(0.95), _LEAST_P95, _BOTH),
    "p99_s": Definition(times.latency_quantile(0.99), _LEAST_P99, _BOTH),
    "max_s": Definition(times.latency_max, filters=_BOTH),
    "service_p95_s": Definition(times.service_p95, _LEAST_P95, _OUTCOME),
    "attempts_mean": Definition(times.attempts_mean, filters=_BOTH),
    "attempts_max": Definition(times.attempts_max, filters=_BOTH),
    "refusals": Definition(events.refusals, filters=frozenset({"scope"})),
    "duplicates": Definition(events.duplicates),
    "retried_success_rate": Definition(_retried_success_rate),
    "executions": Definition(events.executions),
    "max_heartbeat_gap_s": Definition(times.heartbeat_gap_max, filters=_BOTH),
    "first_heartbeat_max_s": Definition(times.first_heartbeat_max, filters=_BOTH),
    "calls_without_heartbeat": Definition(times.calls_without_heartbeat, filters=_BOTH),
    "call_summaries": Definition(events.call_summaries),
    "daemon_errors": Definition(events.daemon_errors, plain=True),
    "goodput_per_s": Definition(times.goodput),
    "recovery_s": Definition(times.recovery),
    "refused_as_duplicate_max_s": Definition(events.slowest_duplicate),
}
"""All metrics, in the order of the scenario model."""
