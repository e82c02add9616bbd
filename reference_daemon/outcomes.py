"""How a logical call ended, in the words of the history, from what the daemon answered."""

import enum
from dataclasses import dataclass, field
from typing import Final

from reference_daemon import wire
from reference_daemon.policy.keys import key_hash


class CallOutcome(enum.StrEnum):
    """How a logical call ended, as its client knows it."""

    OK = "ok"
    REPLAYED = "replayed"
    OVER_CAPACITY = "over_capacity"
    DUPLICATE = "duplicate"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PROVIDER_ERROR = "provider_error"
    CONNECTION_LOST = "connection_lost"  # it never reached the daemon
    UNKNOWN = "unknown"  # it may have run
    SUPERSEDED = "superseded"
    KEY_REUSED = "key_reused"
    DRAINING = "draining"
    INTERRUPTED = "interrupted"
    ERROR = "error"


class TimeoutLayer(enum.StrEnum):
    """Who gave up on a call that was late."""

    CLIENT = "client"
    DAEMON = "daemon"
    STEP = "step"
    EXPERT = "expert"


@dataclass(slots=True, kw_only=True)
class CallResult:
    """What became of a logical call. Moments are readings of the client's clock.

    Attributes:
        tool: Name of the tool.
        call_key: Its key.
        trace_id: Its trace_id.
        request_id: request_id of the last attempt.
        intended_at: When it was asked for.
        sent_at: When it was first sent; None if it never was.
        acked_at: When the daemon admitted it.
        finished_at: When its outcome was known.
        outcome: How it ended.
        outputs: The texts of its result.
        error: The daemon's error.
        timeout_layer: Who gave up, if the outcome is a timeout.
        attempts: Times that it was sent.
        reconnects: Times that the connection was lost and found again.
        retry_wait_s: Seconds spent waiting between attempts.
        heartbeats: When its heartbeats came.
        timeout_s: The deadline that the daemon enforced, from the ack.
        duration_s: How long it took in the daemon.
    """

    tool: str
    call_key: str
    trace_id: str
    intended_at: float
    request_id: str = ""
    sent_at: float | None = None
    acked_at: float | None = None
    finished_at: float = 0.0
    outcome: CallOutcome = CallOutcome.UNKNOWN
    outputs: list[str] = field(default_factory=list)
    error: wire.Error | wire.ErrorFrame | None = None
    timeout_layer: TimeoutLayer | None = None
    attempts: int = 0
    reconnects: int = 0
    retry_wait_s: float = 0.0
    heartbeats: list[float] = field(default_factory=list)
    timeout_s: float | None = None
    duration_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.outcome in (CallOutcome.OK, CallOutcome.REPLAYED)

    @property
    def call_key_hash(self) -> str:
        """The key as logs name it."""
        return key_hash(self.call_key)


_OUTCOMES: Final = {
    "OVER_CAPACITY": CallOutcome.OVER_CAPACITY,
    "DUPLICATE": CallOutcome.DUPLICATE,
    "CANCELLED": CallOutcome.CANCELLED,
    "PROVIDER_ERROR": CallOutcome.PROVIDER_ERROR,
    "SUPERSEDED": CallOutcome.SUPERSEDED,
    "KEY_REUSED": CallOutcome.KEY_REUSED,
    "DRAINING": CallOutcome.DRAINING,
    "INTERRUPTED": CallOutcome.INTERRUPTED,
    "TIMEOUT": CallOutcome.TIMEOUT,
    "STEP_TIMEOUT": CallOutcome.TIMEOUT,
    "EXPERT_TIMEOUT": CallOutcome.TIMEOUT,
}
_LAYERS: Final = {
    "TIMEOUT": TimeoutLayer.DAEMON,
    "STEP_TIMEOUT": TimeoutLayer.STEP,
    "EXPERT_TIMEOUT": TimeoutLayer.EXPERT,
}


def outcome_of(answer: wire.CallToolReply | wire.ErrorFrame) -> tuple[CallOutcome, TimeoutLayer | None]:
    """Return how a call ended with a terminal answer, and who gave up if it was late."""
    why = answer if isinstance(answer, wire.ErrorFrame) else answer.error
    if why is None:
        replayed = isinstance(answer, wire.CallToolReply) and answer.replayed
        return (CallOutcome.REPLAYED if replayed else CallOutcome.OK), None
    return _OUTCOMES.get(why.code, CallOutcome.ERROR), _LAYERS.get(why.code)
