"""What a call that failed means for the person who asked for it: what happened, whether it ran, what to do."""

import enum
from dataclasses import dataclass
from typing import Final

from reference_daemon import wire
from reference_daemon.outcomes import CallOutcome, CallResult


class Ran(enum.StrEnum):
    """Whether the work of a failed call was done."""

    NO = "No."
    PARTLY = "In part: it was stopped before its end."
    MAYBE = "Nobody can know: it may have run, and was not sent again."


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failure, for a person.

    Attributes:
        what: What happened.
        ran: Whether the work was done.
        advice: What to do.
    """

    what: str
    ran: Ran
    advice: str


_LOOK_FIRST: Final = "Look for the trace_id in the daemon's log before you call again: that would run it a second time."
_REPORT: Final = "Look for the trace_id in the daemon's log; the same call may well fail again."

_BY_CODE: Final[dict[str, tuple[Ran, str]]] = {
    "BAD_REQUEST": (Ran.NO, "Correct the arguments and call again."),
    "TOOL_NOT_FOUND": (Ran.NO, "Call one of the tools that tools/list names."),
    "DUPLICATE": (Ran.NO, "The same call is running already; wait for its answer."),
    "SUPERSEDED": (Ran.PARTLY, "A newer call with the same key took over; its answer counts."),
    "KEY_REUSED": (Ran.NO, "Call again."),
    "TOO_LARGE": (Ran.MAYBE, "Ask for less at once, or raise the daemon's limit."),
    "CANCELLED": (Ran.PARTLY, "Nothing; it was asked to stop."),
    "INTERRUPTED": (Ran.MAYBE, _LOOK_FIRST),
    "GONE": (Ran.MAYBE, _LOOK_FIRST),
    "EXEC_ERROR": (Ran.PARTLY, _REPORT),
    "TIMEOUT": (Ran.PARTLY, "Ask for less at once, or raise EXAI_WS_CALL_TIMEOUT and EXAI_SHIM_RPC_TIMEOUT."),
    "STEP_TIMEOUT": (Ran.PARTLY, "Make the step smaller, or raise WORKFLOW_STEP_TIMEOUT_SECS."),
    "EXPERT_TIMEOUT": (Ran.PARTLY, "Ask for less at once, or raise EXPERT_ANALYSIS_TIMEOUT_SECS."),
    "unauthorized": (Ran.NO, "Set EXAI_WS_TOKEN of the shim to the daemon's token, and start the shim anew."),
    "too_many_sessions": (Ran.NO, "End other clients of the daemon, or raise EXAI_WS_MAX_SESSIONS."),
}


def explain(result: CallResult) -> Explanation:
    """Return what became of a call that has no result."""
    why = result.error
    if result.outcome is CallOutcome.UNKNOWN:
        what = "The connection to the daemon was lost while the call was on its way, and its answer with it."
        return Explanation(what, Ran.MAYBE, _LOOK_FIRST)
    if why is None:
        return _without_error(result)
    if why.code in ("OVER_CAPACITY", "DRAINING"):
        return _refused(why, result.attempts)
    if why.code == "PROVIDER_ERROR":
        return Explanation(_sentence(why.message), Ran.PARTLY, _after(why, "Try again later, or with another model"))
    ran, advice = _BY_CODE.get(why.code, (Ran.MAYBE, _REPORT))
    if why.nearest:
        advice += f" The nearest are: {', '.join(why.nearest)}."
    return Explanation(_sentence(why.message), ran, advice)


def _without_error(result: CallResult) -> Explanation:
    """Explain an end that no daemon told us of."""
    if result.outcome is CallOutcome.CONNECTION_LOST:
        advice = "Start it with `exai daemon`, check EXAI_WS_HOST and EXAI_WS_PORT, then call again."
        return Explanation("No daemon could be reached.", Ran.NO, advice)
    waited_s = result.finished_at - result.intended_at
    if result.sent_at is None:
        return Explanation(f"No daemon was there within {waited_s:.0f} s.", Ran.NO, "Call again.")
    advice = "Ask for less at once, or raise EXAI_SHIM_RPC_TIMEOUT and EXAI_CLIENT_TIMEOUT."
    return Explanation(f"No answer came within {waited_s:.0f} s, and the call was cancelled.", Ran.PARTLY, advice)


def _refused(why: wire.Error | wire.ErrorFrame, attempts: int) -> Explanation:
    """Explain a refusal that passes by itself."""
    what = _sentence(why.message)
    if isinstance(why, wire.Error) and why.scope is not None and why.in_use is not None and why.limit is not None:
        what = f"The daemon is full: {why.in_use} of {why.limit:g} in use ({why.scope})."
    return Explanation(f"{what} Attempts made: {attempts}.", Ran.NO, _after(why, "Call again"))


def _after(why: wire.Error | wire.ErrorFrame, advice: str) -> str:
    """Add the moment from which trying again makes sense."""
    retry_after_s = why.retry_after if isinstance(why, wire.Error) else None
    return f"{advice}." if retry_after_s is None else f"{advice}, in {retry_after_s:.0f} s or later."


def _sentence(text: str) -> str:
    """Make a sentence of an error's message."""
    text = text.strip() or "The daemon gave no reason"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
