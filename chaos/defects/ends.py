"""Defects of the ends: of a connection, which must end no call, and of the daemon, which must end them all in time."""

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon import answers, wire
from reference_daemon.calls import Calls
from reference_daemon.live import LiveCall
from reference_daemon.policy.events import CallId, DrainGraceOver, DrainStarted
from reference_daemon.sessions import Session, Sessions


def disconnect_cancels() -> tuple[Change, ...]:
    """The calls of a connection that is lost are cancelled."""
    session_closed = Calls.session_closed

    def cancelling(self: Calls, session: Session) -> None:
        session_closed(self, session)
        for call in self.in_flight():
            if call.session is session and call.task is not None:
                call.task.cancel()

    return (Change(Calls, "session_closed", cancelling),)


def drain_drops_calls() -> tuple[Change, ...]:
    """At its end the daemon stops the calls in flight at once, and answers none of them."""

    async def drain(self: Calls) -> None:
        self._policy.drain(DrainStarted(), now=self._clock.now())
        self.interrupt()

    def interrupt(self: Calls) -> None:
        for decision in self._policy.interrupt(DrainGraceOver(), now=self._clock.now()):
            call = self._live[decision.call_id]
            call.stop_timer()
            if call.task is not None:
                call.task.cancel()
            else:
                del self._live[decision.call_id]
        if not self._live:
            self._idle.set()

    return Change(Calls, "drain", drain), Change(Calls, "interrupt", interrupt)


def drain_waits_for_ever() -> tuple[Change, ...]:
    """A daemon that is told to end refuses new calls, and waits without a limit for what never comes."""

    async def drain(self: Calls) -> None:
        self._policy.drain(DrainStarted(), now=self._clock.now())
        await asyncio.Event().wait()

    return (Change(Calls, "drain", drain),)


def cancel_leaves_work() -> tuple[Change, ...]:
    """A cancelled call is answered, and its work goes on."""
    cut = Calls._cut

    def answer_only(self: Calls, call_id: CallId, outcome: str, why: wire.Error, *, started: bool) -> None:
        if outcome != "cancelled" or not started:
            cut(self, call_id, outcome, why, started=started)
            return
        call = self._live[call_id]
        call.answer = answers.failure(outcome, why, self._clock.now() - call.context.started_at)
        self._send_answer(call)

    return (Change(Calls, "_cut", answer_only),)


def leaves_files_open() -> tuple[Change, ...]:
    """Each session leaves a file open when it ends."""
    session_closed = Calls.session_closed

    def leaking(self: Calls, session: Session) -> None:
        vars(self).setdefault("left_open", []).append(os.open(os.devnull, os.O_RDONLY))
        session_closed(self, session)

    return (Change(Calls, "session_closed", leaking),)


def failure_ends_connection() -> tuple[Change, ...]:
    """When a tool raises, the connection of its client ends."""
    work_stopped = Calls._work_stopped

    def rude(self: Calls, call: LiveCall, task: asyncio.Task[Sequence[str]]) -> None:
        work_stopped(self, call, task)
        if not task.cancelled() and task.exception() is not None:
            call.session.link.flush()
            call.session.link.transport.abort()

    return (Change(Calls, "_work_stopped", rude),)


def sessions_unbounded() -> tuple[Change, ...]:
    """As many sessions as like may be open."""

    def unbounded(self: Sessions, most: int) -> None:  # noqa: ARG001 - that is the defect
        build(self, 1_000_000)

    build = Sessions.__init__
    return (Change(Sessions, "__init__", unbounded),)


DEFECTS: Final = (
    Defect(
        name="disconnect-cancels",
        title="a lost connection cancels its calls",
        rule="INV-25",
        also=("INV-26", "expectation:success_rate"),
        stage="chaos",
        where="daemon",
        changes=disconnect_cancels,
    ),
    Defect(
        name="drain-drops-calls",
        title="a daemon that is told to end drops its calls without an answer",
        rule="INV-28",
        also=("INV-01",),
        stage="protocol",
        where="daemon",
        changes=drain_drops_calls,
    ),
    Defect(
        name="drain-waits-for-ever",
        title="a daemon that is told to end waits for ever",
        rule="INV-28",
        stage="protocol",
        where="daemon",
        changes=drain_waits_for_ever,
    ),
    Defect(
        name="cancel-leaves-work",
        title="a cancelled call is answered, and its work goes on",
        rule="INV-27",
        also=("INV-07", "INV-24"),
        stage="protocol",
        where="daemon",
        changes=cancel_leaves_work,
    ),
    Defect(
        name="files-left-open",
        title="each session leaves a file open",
        rule="INV-45",
        stage="protocol",
        where="daemon",
        changes=leaves_files_open,
    ),
    Defect(
        name="failure-ends-connection",
        title="a tool's exception ends its client's connection",
        rule="INV-30",
        also=("INV-01", "INV-15", "INV-35"),
        stage="protocol",
        where="daemon",
        changes=failure_ends_connection,
    ),
    Defect(
        name="sessions-unbounded",
        title="as many sessions as like may be open",
        rule="INV-37",
        stage="protocol",
        where="daemon",
        changes=sessions_unbounded,
    ),
)
