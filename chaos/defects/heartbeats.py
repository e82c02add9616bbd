"""Defects of the heartbeats: they end the call, they end too early, they do not end."""

from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon.calls import Calls
from reference_daemon.live import LiveCall
from reference_daemon.sessions import Session


def cancels_call() -> tuple[Change, ...]:
    """The work is waited for with a timeout of one interval, and that cancels it."""
    beat = Calls._beat

    def cancelling(self: Calls, call: LiveCall, requests: list[tuple[Session, str]]) -> None:
        beat(self, call, requests)
        if call.task is not None:
            call.task.cancel()

    return (Change(Calls, "_beat", cancelling),)


def stop() -> tuple[Change, ...]:
    """A call has one heartbeat and no more."""
    beat = Calls._beat

    def once(self: Calls, call: LiveCall, requests: list[tuple[Session, str]]) -> None:
        if not call.context.heartbeats:
            beat(self, call, requests)

    return (Change(Calls, "_beat", once),)


def after_terminal() -> tuple[Change, ...]:
    """One more heartbeat is sent after the answer."""
    send_answer = Calls._send_answer

    def going_on(self: Calls, call: LiveCall) -> None:
        requests = call.requests()
        send_answer(self, call)
        self._beat(call, requests)

    return (Change(Calls, "_send_answer", going_on),)


DEFECTS: Final = (
    Defect(
        name="heartbeat-cancels-call",
        title="the first heartbeat cancels the work",
        rule="INV-19",
        also=("expectation:success_rate", "expectation:max_s", "expectation:call_summaries"),
        stage="smoke",
        where="daemon",
        changes=cancels_call,
    ),
    Defect(
        name="heartbeats-stop",
        title="heartbeats stop after the first",
        rule="INV-19",
        stage="smoke",
        where="daemon",
        changes=stop,
    ),
    Defect(
        name="heartbeats-after-terminal",
        title="a heartbeat follows the answer",
        rule="INV-03",
        also=("INV-01", "INV-21"),
        stage="smoke",
        where="daemon",
        changes=after_terminal,
    ),
)
