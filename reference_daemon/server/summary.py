"""The CALL SUMMARY: what a call was and how it ended, as the last text of its answer and as one log line.

Both are made from one frozen value, so they cannot differ. A call that is cut or fails has no answer to end;
it still gets its log line.
"""

import asyncio
import enum
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, fields

import structlog

from reference_daemon.providers.completion import Completion
from reference_daemon.providers.errors import ProviderLateError
from reference_daemon.server.context import CallContext

log = structlog.get_logger()


class Status(enum.StrEnum):
    """How a call ended."""

    COMPLETE = "COMPLETE"
    WORKFLOW_PAUSED = "WORKFLOW_PAUSED"  # an intermediate step: the client's turn
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    ERROR = "ERROR"


class Expert(enum.StrEnum):
    """What became of the expert."""

    COMPLETED = "Completed"
    PENDING = "Pending"  # wanted, has not answered yet
    DISABLED = "Disabled"  # not wanted, or a chat, which has none
    TIMED_OUT = "TimedOut"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSummary:
    """The facts of one call.

    Attributes:
        tool: Name of the tool.
        status: How the call ended.
        step: Number of the step; None for a chat.
        total_steps: Steps expected; None for a chat.
        duration_s: Seconds from admission to end.
        model: Model that was asked; None if none was.
        provider: Its provider.
        tokens_in: Tokens of the prompt, as the provider counts them; None if it did not say.
        tokens_out: Tokens of its answer, likewise.
        continuation_id: Id under which the call is remembered.
        next_action: What the client should do next.
        expert: What became of the expert.
        attempts: Requests made to a provider.
        heartbeats: Heartbeats sent.
        trace_id: 32 hex digits.
        call_key_hash: First 12 hex digits of the SHA-256 of the call key.
        request_id: The client's id of the request.
    """

    tool: str
    status: Status
    step: int | None
    total_steps: int | None
    duration_s: float
    model: str | None
    provider: str | None
    tokens_in: int | None
    tokens_out: int | None
    continuation_id: str | None
    next_action: str
    expert: Expert
    attempts: int
    heartbeats: int
    trace_id: str
    call_key_hash: str
    request_id: str


@dataclass(slots=True, kw_only=True)
class Facts:
    """What a tool learns of its call while it runs; the attributes are those of `CallSummary`."""

    tool: str
    status: Status = Status.COMPLETE
    step: int | None = None
    total_steps: int | None = None
    model: str | None = None
    provider: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    continuation_id: str | None = None
    next_action: str = "none"
    expert: Expert = Expert.DISABLED

    def answered(self, completion: Completion) -> None:
        """Take over who answered and at what cost."""
        self.model, self.provider = completion.model, completion.provider
        self.tokens_in, self.tokens_out = completion.tokens_in, completion.tokens_out

    def summary(self, status: Status, context: CallContext) -> CallSummary:
        """Return the summary of a call that ends now with `status`."""
        known = {fact.name: getattr(self, fact.name) for fact in fields(self) if fact.name != "status"}
        return CallSummary(
            **known,
            status=status,
            duration_s=round(context.clock.now() - context.started_at, 4),
            attempts=context.provider_requests,
            heartbeats=context.heartbeats,
            trace_id=context.trace_id,
            call_key_hash=context.call_key_hash,
            request_id=context.request_id,
        )


async def summarised(work: Awaitable[str], facts: Facts, context: CallContext) -> list[str]:
    """Return the text that `work` returns, and the summary after it; log the summary however it ends."""
    status = Status.ERROR  # unless one of the lines below learns better
    try:
        text = await work
        status = facts.status
    except ProviderLateError:
        status = Status.TIMEOUT
        raise
    except asyncio.CancelledError:
        late = context.clock.now() >= context.deadline_at
        status = Status.TIMEOUT if late else Status.CANCELLED
        raise
    finally:
        summary = facts.summary(status, context)
        log.info("MCP_CALL_SUMMARY", **asdict(summary))
    return [text, render(summary)]


def render(summary: CallSummary) -> str:
    """Return the block that ends an answer, one fact a line."""
    step = "-" if summary.step is None else f"{summary.step}/{summary.total_steps}"
    facts = {
        "Tool": summary.tool,
        "Status": summary.status,
        "Step": step,
        "Duration": f"{summary.duration_s:.1f} s",
        "Model": summary.model,
        "Provider": summary.provider,
        "Tokens in": summary.tokens_in,
        "Tokens out": summary.tokens_out,
        "Continuation ID": summary.continuation_id,
        "Next action": summary.next_action,
        "Expert": summary.expert,
        "Attempts": summary.attempts,
        "Heartbeats": summary.heartbeats,
        "Trace ID": summary.trace_id,
        "Call key hash": summary.call_key_hash,
        "Request ID": summary.request_id,
    }
    lines = [f"{name}: {_one_line(value)}" for name, value in facts.items()]
    return "\n".join(["=== MCP CALL SUMMARY ===", *lines, "=== END SUMMARY ==="])


def _one_line(value: object) -> str:
    """Return `value` on one line: nobody may forge a fact with a line break in a request_id."""
    return "-" if value is None else " ".join(str(value).split())
