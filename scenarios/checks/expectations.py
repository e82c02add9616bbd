"""An expectation against what was measured: held, violated, or undecided where the run says too little."""

from scenarios.checks.context import History
from scenarios.checks.metrics import METRICS, Definition
from scenarios.checks.selection import Measured, Selection
from scenarios.model import Expectation, Scenario
from scenarios.verdict import ExpectationResult, Verdict

_FILTERS = ("phase", "tool", "provider", "outcome", "layer", "scope", "during")
_COMMON = frozenset({"phase", "tool", "provider", "during"})


def judge_metric(scenario: Scenario, history: History, expectation: Expectation) -> ExpectationResult:
    """Judge an expectation that names a metric, by its point value; the interval is there to be seen.

    Raises:
        ValueError: The expectation names invariants.
    """
    if expectation.metric is None:
        raise ValueError("this expectation is about invariants")
    definition = METRICS[expectation.metric]
    wrong = _unknown_filters(definition, expectation)
    if wrong:
        reason = f"{expectation.metric} cannot be filtered by {', '.join(wrong)}"
        measured, verdict = Measured(value=None, n=0, reason=reason), Verdict.UNDECIDED
    else:
        measured = definition.measure(Selection(scenario, history, expectation))
        verdict, measured = _compare(expectation, definition, measured)
    reason = measured.reason
    if verdict is Verdict.VIOLATED and expectation.why:
        reason += f". {expectation.why}"
    return ExpectationResult(
        name=_name(expectation),
        value=measured.value,
        limit=_limit(expectation),
        verdict=verdict,
        reason=reason,
        low=measured.low,
        high=measured.high,
        n=measured.n,
    )


def _unknown_filters(definition: Definition, expectation: Expectation) -> list[str]:
    known = frozenset[str]() if definition.plain else _COMMON | definition.filters
    return [name for name in _FILTERS if getattr(expectation, name) is not None and name not in known]


def _compare(expectation: Expectation, definition: Definition, measured: Measured) -> tuple[Verdict, Measured]:
    """Return the verdict, and what was measured with the reason completed."""
    least = expectation.least_calls if expectation.least_calls is not None else definition.least
    if measured.verdict is not None:
        return measured.verdict, measured
    if measured.n < least:
        too_few = f"too little to judge: {measured.n} of at least {least}; {measured.reason}"
        return Verdict.UNDECIDED, _because(measured, too_few)
    if measured.value is None:
        return Verdict.UNDECIDED, measured
    low = expectation.min is None or measured.value >= expectation.min
    high = expectation.max is None or measured.value <= expectation.max
    if not (low and high):
        return Verdict.VIOLATED, measured
    if measured.worst is not None and expectation.max is not None and measured.worst > expectation.max:
        return Verdict.UNDECIDED, _because(measured, f"{measured.reason}, and may be above the limit")
    return Verdict.HELD, measured


def _because(measured: Measured, reason: str) -> Measured:
    return Measured(value=measured.value, n=measured.n, reason=reason, low=measured.low, high=measured.high)


def _name(expectation: Expectation) -> str:
    """Name the metric with its filters: "p95_s (tool analyze)"."""
    given = [f"{name} {getattr(expectation, name)}" for name in _FILTERS if getattr(expectation, name) is not None]
    return f"{expectation.metric} ({', '.join(given)})" if given else str(expectation.metric)


def _limit(expectation: Expectation) -> str:
    """Say what is allowed: "at least 0.95", "at most 150", "exactly 0", "from 1 to 3"."""
    if expectation.min is None:
        return f"at most {expectation.max:g}"
    if expectation.max is None:
        return f"at least {expectation.min:g}"
    if expectation.min == expectation.max:
        return f"exactly {expectation.min:g}"
    return f"from {expectation.min:g} to {expectation.max:g}"
