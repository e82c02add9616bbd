"""What a running call knows of itself: the one object that daemon and tools share.

The daemon makes a context per admitted call, reads `phase` when it sends a heartbeat, and counts the heartbeats; the
tool reads its budget and says in which phase it is. Times are readings of `clock`, in unscaled seconds.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reference_daemon.clock import Clock
from reference_daemon.policy.events import CallKind


class Phase(enum.StrEnum):
    """What a call is doing, as its heartbeats name it."""

    WAITING = "waiting"
    STEP = "step"
    EXPERT = "expert"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What the daemon must know of a call before it is admitted.

    Attributes:
        kind: Which budget and which window of durations the call belongs to.
        provider: Name of the provider that the tool may call, for example "GLM"; None if it calls none.
        model: Model that will answer, after "auto" was resolved; None if none is called.
    """

    kind: CallKind
    provider: str | None = None
    model: str | None = None


@dataclass(slots=True)
class CallContext:
    """One admitted call, as its tool sees it.

    Attributes:
        clock: Source of time.
        request_id: The client's id of the request.
        trace_id: 32 hex digits; goes to the provider as `traceparent`.
        call_key_hash: First 12 hex digits of the SHA-256 of the call key.
        started_at: Moment of admission.
        deadline_at: Moment at which the daemon answers 504 whatever the tool does.
        expert_budget_s: Longest time the expert's provider request may take, from its start.
        web_budget_s: Longest time that all web fetching of the call may take together.
        phase: What the call is doing now.
        heartbeats: Heartbeats sent so far.
        provider_requests: Requests made to a provider so far.
    """

    clock: Clock
    request_id: str
    trace_id: str
    call_key_hash: str
    started_at: float
    deadline_at: float
    expert_budget_s: float
    web_budget_s: float
    phase: Phase = Phase.STEP
    heartbeats: int = 0
    provider_requests: int = 0

    def remaining_s(self) -> float:
        """Return the seconds left until the deadline; at least 0."""
        return max(0.0, self.deadline_at - self.clock.now())


class ArgumentError(Exception):
    """Arguments do not fit a tool's schema.

    Attributes:
        field: Path of the argument, for example "step_number" or "urls[2]".
        reason: What is wrong with it, in words that quote no value.
    """

    def __init__(self, field: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(field, reason)
        self.field, self.reason = field, reason

    def __str__(self) -> str:
        """Name the argument and what is wrong with it."""
        return f"{self.field}: {self.reason}"


class Tool(Protocol):
    """A tool of the server. `parse` and `plan` are synchronous and cheap: they run before admission."""

    @property
    def name(self) -> str:
        """Name, as in `call_tool`."""

    @property
    def description(self) -> str:
        """One or two sentences for the person or model that picks a tool."""

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """JSON Schema of the arguments."""

    def parse(self, arguments: Mapping[str, Any]) -> Any:
        """Return the typed arguments.

        Raises:
            ArgumentError: They do not fit the schema.
        """

    def plan(self, arguments: Any) -> CallPlan:
        """Say what the call will need; `arguments` come from `parse`.

        Raises:
            ArgumentError: The model is not known, or belongs to no provider.
        """

    async def run(self, arguments: Any, context: CallContext) -> Sequence[str]:
        """Do the work and return the texts of the answer. It is cancelled at the call's deadline.

        Raises:
            ProviderFailedError: The provider failed or answered nonsense.
        """
