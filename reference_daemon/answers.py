"""Decisions of the policy as answers on the wire."""

from collections.abc import Sequence

import msgspec

from reference_daemon import wire
from reference_daemon.intake import error
from reference_daemon.policy.events import Expire, Limit, NoAttach, Reason, Refuse

_encode = msgspec.json.Encoder().encode
_LATE_CODES = {Limit.STEP: "STEP_TIMEOUT", Limit.EXPERT: "EXPERT_TIMEOUT"}


class Answer(msgspec.Struct, frozen=True):
    """The one terminal answer of a call, encoded once: replays send the same bytes.

    Attributes:
        outcome: How the call ended, for logs and metrics: "ok", "timeout", "provider_error" and so on.
        status: 200, or the error's.
        outputs: Encoded outputs.
        error: Encoded error.
        duration_s: Seconds from admission to the answer.
        size_bytes: Size of what a replay needs.
    """

    outcome: str
    status: int
    outputs: bytes | None
    error: bytes | None
    duration_s: float
    size_bytes: int

    def frame(self, request_id: str, trace_id: str, *, replayed: bool = False) -> bytes:
        """Return the frame that answers `request_id`."""
        return _encode(
            wire.CallToolResult(
                request_id,
                trace_id,
                outputs=None if self.outputs is None else msgspec.Raw(self.outputs),
                error=None if self.error is None else msgspec.Raw(self.error),
                duration=round(self.duration_s, 4),
                replayed=replayed,
            )
        )


def result(texts: Sequence[str], duration_s: float) -> Answer:
    """Answer with outputs."""
    outputs = _encode([wire.Output(text) for text in texts])
    return Answer("ok", 200, outputs, None, duration_s, len(outputs))


def failure(outcome: str, why: wire.Error, duration_s: float) -> Answer:
    """Answer with an error."""
    encoded = _encode(why)
    return Answer(outcome, why.status, None, encoded, duration_s, len(encoded))


def late(decision: Expire, phase: str) -> wire.Error:
    """Word the end of a budget: whose it was, how long, and in which phase the call was."""
    code = _LATE_CODES.get(decision.limit, "TIMEOUT")
    whose = {Limit.CLIENT: "the client's", Limit.CALL: "the call's"}.get(decision.limit, f"the {decision.limit} step's")
    message = f"{whose} {decision.timeout_s:g} s are over (phase {phase})"
    return error(code, message, limit=decision.timeout_s, elapsed=round(decision.elapsed_s, 3), phase=phase)


def refusal(decision: Refuse, original_trace_id: str | None) -> wire.Error:
    """Word a refusal."""
    if decision.reason is Reason.OVER_CAPACITY:
        assert decision.retry_after_s is not None  # noqa: S101 - the policy gives one with every full pool
        return error(
            "OVER_CAPACITY",
            f"{decision.scope} has {decision.in_use} of {decision.limit} calls in flight",
            scope=decision.scope,
            limit=decision.limit,
            in_use=decision.in_use,
            retry_after=round(decision.retry_after_s, 3),
        )
    if decision.reason is Reason.DRAINING:
        assert decision.retry_after_s is not None  # noqa: S101 - see above
        return error("DRAINING", "the daemon is shutting down", retry_after=round(decision.retry_after_s, 3))
    if decision.reason is Reason.KEY_REUSED:
        message = "this call_key belongs to a call with another name or other arguments"
        return error("KEY_REUSED", message, original_request_id=decision.original_request_id)
    what = "request_id" if decision.reason is Reason.DUPLICATE_REQUEST else "call_key"
    return error(
        "DUPLICATE",
        f"a call with this {what} is in flight",
        original_request_id=decision.original_request_id,
        original_trace_id=original_trace_id,
        elapsed=_rounded(decision.elapsed_s),
        remaining=_rounded(decision.remaining_s),
    )


def nothing_to_attach(decision: NoAttach) -> wire.Error:
    """Word why there is nothing to attach to."""
    if decision is NoAttach.GONE:
        return error("GONE", "the call with this call_key ran, but its result is no longer held: outcome unknown")
    return error("UNKNOWN_CALL", "this daemon has not executed a call with this call_key")


def error_frame(why: wire.Error, request_id: str | None) -> bytes:
    """Return the `error` frame: for what is no request, or names a request_id that is in flight."""
    fields = {name: getattr(why, name) for name in _ERROR_FRAME_FIELDS}
    return _encode(wire.ErrorFrame(request_id=request_id, **fields))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


_ERROR_FRAME_FIELDS = [name for name in wire.ErrorFrame.__struct_fields__ if name != "request_id"]
