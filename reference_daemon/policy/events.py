"""Events in, decisions out: the frozen values that the policy and its two shells exchange.

An event says what happened; the shell hands it to `Policy` with `now`, and performs the decision that comes back.
Nobody but the policy decides whether a call is admitted, is a duplicate, is late, or when it should come back.

The five values that calls need most are named tuples, which are made in a fraction of the time; the others are frozen
dataclasses, which are never equal to one of another class.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple, NewType

CallId = NewType("CallId", int)
"""The shell's own number of a call, new for every `call_tool`, never reused."""

SessionId = NewType("SessionId", str)
RequestId = NewType("RequestId", str)
CallKey = NewType("CallKey", str)


class CallKind(enum.StrEnum):
    """Which budget and which window of durations a call belongs to."""

    STEP = "step"  # an intermediate workflow step, or a final one without the expert
    EXPERT = "expert"  # a final workflow step with the expert's provider request
    CHAT = "chat"  # one provider request and nothing else
    LOCAL = "local"  # calls no provider: listmodels, version


class Outcome(enum.StrEnum):
    """How the work of a call ended, as far as the policy must know."""

    OK = "ok"
    FAILED = "failed"


# --- events ----------------------------------------------------------------------------------------------------------


class CallArrived(NamedTuple):
    """A client asks for a tool call.

    Attributes:
        call_id: The shell's number for it.
        session_id: The session it came on.
        request_id: The client's id, unique among those in flight in its session.
        key: The call's key: the client's, or derived from the work; None where every call is unique.
        explicit: Whether the client sent the key.
        fingerprint: Equal for equal work (name and arguments), whatever the key.
        tool: Name of the tool.
        provider: Provider whose slot the call needs; None if it needs none.
        kind: Which budget and durations apply.
        client_timeout_s: Seconds that the client will still wait; None if it did not say.
    """

    call_id: CallId
    session_id: SessionId
    request_id: RequestId
    key: CallKey | None
    explicit: bool
    fingerprint: bytes
    tool: str
    provider: str | None
    kind: CallKind
    client_timeout_s: float | None = None


class CallEnded(NamedTuple):
    """The work of a call has really stopped, by itself or because it was told to.

    Attributes:
        call_id: The call.
        outcome: How it ended; for a call that was already answered it says nothing more.
        result_bytes: Size of the answer that a replay would need.
    """

    call_id: CallId
    outcome: Outcome
    result_bytes: int


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The clock reached a call's `deadline_at`."""

    call_id: CallId


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A client asks to stop the call that `request_id` sent or attached to, in its session."""

    session_id: SessionId
    request_id: RequestId


@dataclass(frozen=True, slots=True)
class AttachAsked:
    """A client wants the answer of the execution that holds `key`, under a new request_id."""

    session_id: SessionId
    request_id: RequestId
    key: CallKey


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A connection is gone. Its calls go on; their answers are kept."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """The daemon was asked to stop: no new calls from here on."""


@dataclass(frozen=True, slots=True)
class DrainGraceOver:
    """The time that calls in flight had to end by themselves is over."""


# --- decisions -------------------------------------------------------------------------------------------------------


class Limit(enum.StrEnum):
    """Whose budget a call's deadline is; it names the error of a call that is late."""

    CALL = "call"
    STEP = "step"
    EXPERT = "expert"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Fence:
    """Stop the work of `call_id` and answer it 409 SUPERSEDED, unless `answered` says that it has its answer.

    Attributes:
        call_id: The owner whose key had lapsed.
        superseded_by: request_id of the call that takes the key over.
        started: Whether work of it runs; if not, it has ended with this decision and no `CallEnded` follows.
        answered: Whether it was answered before (late or cancelled, its work not stopped yet).
    """

    call_id: CallId
    superseded_by: RequestId
    started: bool
    answered: bool


class Admit(NamedTuple):
    """All slots are held: acknowledge the call.

    Attributes:
        call_id: The call.
        deadline_at: Moment at which it is late, on the caller's clock.
        timeout_s: The same as seconds from now.
        limit: Whose budget that is.
        waits: Whether its work must not start before `Ended.starts` names it (an owner was fenced first).
        fence: The owner to fence first, if there is one.
    """

    call_id: CallId
    deadline_at: float
    timeout_s: float
    limit: Limit
    waits: bool = False
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """The work was done under this key: answer with the stored result of `of`."""

    call_id: CallId
    of: CallId


class Reason(enum.StrEnum):
    """Why a call was refused."""

    DRAINING = "draining"
    KEY_REUSED = "key_reused"
    DUPLICATE_REQUEST = "duplicate_request"  # the request_id is in flight in this session
    DUPLICATE = "duplicate"  # the key is in flight and fresh
    OVER_CAPACITY = "over_capacity"


class Refuse(NamedTuple):
    """Do not run the call; it left nothing behind.

    Attributes:
        call_id: The call.
        reason: Why.
        retry_after_s: When to come back, from now; None where coming back does not help.
        scope: The first full pool: "session", "tool:NAME", "provider:NAME" or "global".
        limit: That pool's cap.
        in_use: Slots of that pool that are held.
        original: The call that is in the way.
        original_request_id: Its request_id.
        elapsed_s: Seconds since it was admitted.
        remaining_s: Seconds until its deadline; at least 0.
    """

    call_id: CallId
    reason: Reason
    retry_after_s: float | None = None
    scope: str | None = None
    limit: int | None = None
    in_use: int | None = None
    original: CallId | None = None
    original_request_id: RequestId | None = None
    elapsed_s: float | None = None
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """The call is late: answer 504 now and stop its work; its slots stay held until `CallEnded`.

    Attributes:
        call_id: The call.
        limit: Whose budget is over.
        timeout_s: That budget, in seconds.
        elapsed_s: Seconds since it was admitted.
        started: Whether work of it runs; if not, it has ended with this decision.
    """

    call_id: CallId
    limit: Limit
    timeout_s: float
    elapsed_s: float
    started: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Answer the call 499 now and stop its work; its slots stay held until `CallEnded`."""

    call_id: CallId
    started: bool


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The daemon ends: answer the call 500 INTERRUPTED and stop its work."""

    call_id: CallId
    started: bool


class Ended(NamedTuple):
    """Everything the call held was given back.

    Attributes:
        call_id: The call.
        answered: Whether it was answered before its work stopped; if not, answer it now.
        stored: Whether its answer is to be kept for replays.
        dropped: Calls whose kept answers are to be dropped (too old, too many, too large).
        starts: The call that waited for this one's end and may start its work now.
    """

    call_id: CallId
    answered: bool
    stored: bool
    dropped: tuple[CallId, ...] = ()
    starts: CallId | None = None


@dataclass(frozen=True, slots=True)
class Follow:
    """The execution is running: send its heartbeats and its answer to the asker, too."""

    call_id: CallId


@dataclass(frozen=True, slots=True)
class Deliver:
    """The execution has ended: answer with the stored result of `call_id` now."""

    call_id: CallId


class NoAttach(enum.StrEnum):
    """Why there is nothing to attach to."""

    UNKNOWN = "unknown"  # 404: this daemon never executed the key
    GONE = "gone"  # 410: it ran, its answer is no longer held


Arrival = Admit | Replay | Refuse
"""What `Policy.arrive` may decide."""

Attachment = Follow | Deliver | Refuse | NoAttach
"""What `Policy.attach` may decide; `Refuse` is always `DUPLICATE_REQUEST`."""
