"""Defects of the ends: of a connection, which must end no call, and of the daemon, which must end them all in time."""

import asyncio
from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon.calls import Calls
from reference_daemon.policy.events import DrainGraceOver, DrainStarted
from reference_daemon.sessions import Session


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
        also=("INV-01", "expectation:outcomes", "expectation:success_rate"),
        stage="daemon-restart",
        where="daemon",
        changes=drain_drops_calls,
    ),
    Defect(
        name="drain-waits-for-ever",
        title="a daemon that is told to end waits for ever",
        rule="INV-28",
        stage="daemon-restart",
        where="daemon",
        changes=drain_waits_for_ever,
    ),
)
