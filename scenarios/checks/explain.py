"""Why calls failed, as far as the history shows it: a sentence for whoever reads a red report."""

from collections.abc import Sequence
from statistics import median

from scenarios.checks.selection import Selection, outcomes, succeeded
from scenarios.history import Call, Outcome

REFUSED = (Outcome.OVER_CAPACITY, Outcome.DRAINING)
"""Outcomes of calls whose last attempt was refused with advice to come later."""


def explain(selection: Selection, failed: Sequence[Call]) -> str:
    """Return the commonest outcomes of the failed calls, and why they probably happened."""
    ended = [call for call in failed if call.finished_at is not None]
    lost = len(failed) - len(ended)
    counted = [part for part in (outcomes(ended), f"{lost} never ended" if lost else "") if part]
    parts = [", ".join(counted)] if counted else []
    refused = [call for call in failed if call.outcome in REFUSED]
    if refused:
        parts.append(_why_refused(selection, refused))
    return "; ".join(parts)


def _why_refused(selection: Selection, refused: Sequence[Call]) -> str:
    """Say how often the refused calls were sent, how long they were told to wait, and how long calls take."""
    attempts = median(call.attempts for call in refused)
    most = selection.history.retry.max_attempts
    end = "all that a client makes" if attempts >= most else f"of at most {most}"
    times = "once" if attempts == 1 else f"{attempts:g} times"
    said = f"the refused calls were sent {times} ({end})"
    traces = {call.trace_id for call in refused}
    answers = selection.history.frames or selection.history.daemon_calls
    advice = [
        answer.retry_after_s for answer in answers if answer.trace_id in traces and answer.retry_after_s is not None
    ]
    took = [_took_s(call) for call in selection.history.calls if succeeded(call)]
    if advice:
        said += f", each time told to wait {median(advice):.3g} s"
    if took:
        said += f", while a call that is answered takes {median(took):.3g} s"
    return f"{said} (medians)" if advice or took else said


def _took_s(call: Call) -> float:
    """Return how long a call's work took: by the daemon if it says."""
    if call.service_s is not None:
        return call.service_s
    return call.latency_s or 0.0
