"""Defects of what refusals and errors say."""

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import structlog
from msgspec.structs import replace

from chaos.defects.defect import Change, Defect
from reference_daemon import calls, wire
from reference_daemon.answers import Answer
from reference_daemon.calls import Calls
from reference_daemon.daemon import Daemon
from reference_daemon.failures import failure_of
from reference_daemon.live import LiveCall
from reference_daemon.policy.advice import Advisor
from reference_daemon.providers.completion import CompletionRequest
from reference_daemon.providers.openai_client import OpenAIClient
from reference_daemon.sessions import Session

FIXED_S: Final = 1.0
"""Seconds that every refused caller is told to wait."""


def exception_text() -> tuple[Change, ...]:
    """A client is shown the text of the exception, and of the one that caused it."""
    worded = cast("Callable[[BaseException, LiveCall], tuple[str, wire.Error]]", failure_of)

    def telling(raised: BaseException, call: LiveCall) -> tuple[str, wire.Error]:
        outcome, why = worded(raised, call)
        cause = raised.__cause__ or raised.__context__
        return outcome, replace(why, message=f"{why.message}: {raised!r}; {_told(cause)}")

    return (Change(calls, "failure_of", telling),)


def _told(cause: BaseException | None) -> str:
    """Return all that an exception knows: its text and, of a provider's, its body."""
    return "" if cause is None else f"{cause!r} {getattr(cause, 'body', '')}"


def fixed_retry_after() -> tuple[Change, ...]:
    """Whoever is refused is told to come back in a second, however full it is."""

    def refused(self: Advisor, *_: Any, **__: Any) -> float:
        return self.clamp(FIXED_S)

    return (Change(Advisor, "refused", refused),)


def retry_after_zero() -> tuple[Change, ...]:
    """Whoever is refused is told to come back at once."""

    def refused(self: Advisor, *_: Any, **__: Any) -> float:  # noqa: ARG001 - the signature that it replaces
        return 0.0

    return (Change(Advisor, "refused", refused),)


def health_off_by_one() -> tuple[Change, ...]:
    """Health counts one call more than are in flight."""
    health = Daemon.health

    def counting_one_more(self: Daemon) -> dict[str, Any]:
        figures = health(self)
        figures["global_inflight"] += 1 if figures["global_inflight"] else 0
        return figures

    return (Change(Daemon, "health", counting_one_more),)


def arguments_logged() -> tuple[Change, ...]:
    """The arguments of each call stand in the log."""
    call_tool = Calls.call_tool

    def telling(self: Calls, session: Session, frame: wire.CallTool, frame_characters: int) -> None:
        structlog.get_logger().info("call_came", tool=frame.name[:64], arguments=repr(frame.arguments)[:200])
        call_tool(self, session, frame, frame_characters)

    return (Change(Calls, "call_tool", telling),)


def trace_dropped() -> tuple[Change, ...]:
    """A request to a provider has a trace of its own."""
    headers = OpenAIClient._headers

    def anonymous(self: OpenAIClient, request: CompletionRequest, span_id: str) -> Any:
        return headers(self, dataclasses.replace(request, trace_id=secrets.token_hex(16)), span_id)

    return (Change(OpenAIClient, "_headers", anonymous),)


def answers_mixed() -> tuple[Change, ...]:
    """A call gets the result of the call of its tool that ended before it."""
    outcome_of = Calls._outcome

    def former(self: Calls, call: LiveCall, task: asyncio.Task[Sequence[str]], now: float) -> Answer:
        mine = outcome_of(self, call, task, now)
        results: dict[str, Answer] = vars(self).setdefault("former", {})
        other = results.get(call.name, mine)
        results[call.name] = mine
        return other

    return (Change(Calls, "_outcome", former),)


def answered_twice() -> tuple[Change, ...]:
    """Each terminal answer is sent twice."""
    send_answer = Calls._send_answer

    def twice(self: Calls, call: LiveCall) -> None:
        requests = call.requests()
        send_answer(self, call)
        for session, request_id in requests:
            if call.answer is not None:
                session.link.post(call.answer.frame(request_id, call.prepared.trace_id))

    return (Change(Calls, "_send_answer", twice),)


DEFECTS: Final = (
    Defect(
        name="exception-text-leaks",
        title="the text of an exception reaches the client",
        rule="INV-35",
        stage="protocol",
        where="daemon",
        changes=exception_text,
    ),
    Defect(
        name="fixed-retry-after",
        title="every refused caller is told to wait one second",
        rule="expectation:success_rate",
        also=("expectation:retried_success_rate",),
        stage="backpressure",
        where="daemon",
        changes=fixed_retry_after,
    ),
    Defect(
        name="retry-after-zero",
        title="every refused caller is told to come back at once",
        rule="INV-10",
        stage="protocol",
        where="daemon",
        changes=retry_after_zero,
    ),
    Defect(
        name="health-off-by-one",
        title="health counts a call too many",
        rule="INV-24",
        stage="protocol",
        where="daemon",
        changes=health_off_by_one,
    ),
    Defect(
        name="arguments-logged",
        title="the arguments of calls stand in the log",
        rule="INV-35",
        stage="protocol",
        where="daemon",
        changes=arguments_logged,
    ),
    Defect(
        name="trace-dropped",
        title="a request to a provider has a trace of its own",
        rule="INV-44",
        stage="protocol",
        where="daemon",
        changes=trace_dropped,
    ),
    Defect(
        name="answers-mixed",
        title="a call gets the result of the one before it",
        rule="INV-05",
        also=("INV-04", "expectation:call_summaries"),
        stage="parallel",
        where="daemon",
        changes=answers_mixed,
    ),
    Defect(
        name="answered-twice",
        title="each terminal answer is sent twice",
        rule="INV-01",
        also=("INV-03", "INV-21"),
        stage="smoke",
        where="daemon",
        changes=answered_twice,
    ),
)
