"""Defects of the heartbeats: they end the call, they end too early, they do not end."""

from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon import wire
from reference_daemon.calls import Calls
from reference_daemon.live import LiveCall
from reference_daemon.sessions import Session

SLOWER: Final = 0.5
"""Part of an interval that each other call in flight adds to it."""


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


def slow_under_load() -> tuple[Change, ...]:
    """The more calls are in flight, the rarer are their heartbeats."""
    wake = Calls._wake

    def slower(self: Calls, call: LiveCall) -> None:
        due_at = call.beat_at
        wake(self, call)
        if call.beat_at > due_at and call.answer is None:
            call.beat_at += SLOWER * call.interval_s * (len(self._live) - 1)
            call.stop_timer()
            self._set_timer(call)

    return (Change(Calls, "_wake", slower),)


def elapsed_stands_still() -> tuple[Change, ...]:
    """Heartbeats tell the elapsed time in tens of seconds."""
    progress = wire.Progress

    def coarse(
        request_id: str, name: str, t: float, trace_id: str, phase: str, *, elapsed: float, remaining: float
    ) -> wire.Progress:
        return progress(request_id, name, t, trace_id, phase, round(elapsed, -1), remaining)

    return (Change(wire, "Progress", coarse),)


def to_everybody() -> tuple[Change, ...]:
    """Heartbeats go to every session that has a call in flight."""
    beat = Calls._beat

    def wide(self: Calls, call: LiveCall, requests: list[tuple[Session, str]]) -> None:
        others = {id(each.session): each.session for each in self._live.values() if each.session is not call.session}
        request_id = call.prepared.arrived.request_id
        beat(self, call, [*requests, *((session, request_id) for session in others.values())])

    return (Change(Calls, "_beat", wide),)


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
    Defect(
        name="heartbeats-slow-under-load",
        title="heartbeats get rarer the more calls are in flight",
        rule="INV-19",
        stage="parallel",
        where="daemon",
        changes=slow_under_load,
    ),
    Defect(
        name="elapsed-stands-still",
        title="heartbeats tell the elapsed time in tens of seconds",
        rule="INV-19",
        also=("INV-22",),
        stage="smoke",
        where="daemon",
        changes=elapsed_stands_still,
    ),
    Defect(
        name="heartbeats-to-everybody",
        title="heartbeats go to every session that has a call in flight",
        rule="INV-04",
        stage="parallel",
        where="daemon",
        changes=to_everybody,
    ),
)
