"""Defects of the deadlines: looked at too rarely, kept by the wrong clock, or not the end of a call."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon import answers, wire
from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.intake import Prepared
from reference_daemon.live import LiveCall
from reference_daemon.policy.events import Admit, CallId
from reference_daemon.sessions import Session

ACK_LATE_WALL_S: Final = 0.4
"""Wall seconds until a late ack: more than any first answer may take."""


def on_heartbeat() -> tuple[Change, ...]:
    """Whether a call is late is looked at only when a heartbeat is due."""

    def set_timer(self: Calls, call: LiveCall) -> None:
        call.timer = self._clock.call_at(call.beat_at, self._wake, call)

    return (Change(Calls, "_set_timer", set_timer),)


def late_result() -> tuple[Change, ...]:
    """The work of a late call goes on, and its result is sent after the TIMEOUT."""
    cut, work_stopped = Calls._cut, Calls._work_stopped

    def cut_without_stopping(self: Calls, call_id: CallId, outcome: str, why: wire.Error, *, started: bool) -> None:
        if outcome != "timeout" or not started:
            cut(self, call_id, outcome, why, started=started)
            return
        call = self._live[call_id]
        call.answer = answers.failure(outcome, why, self._clock.now() - call.context.started_at)
        self._send_answer(call)

    def send_all_the_same(self: Calls, call: LiveCall, task: asyncio.Task[Sequence[str]]) -> None:
        late = call.answer is not None and call.answer.outcome == "timeout"
        work_stopped(self, call, task)
        if late and not task.cancelled() and task.exception() is None:
            result = answers.result(task.result(), self._clock.now() - call.context.started_at)
            call.session.link.post(result.frame(call.prepared.arrived.request_id, call.prepared.trace_id))

    return Change(Calls, "_cut", cut_without_stopping), Change(Calls, "_work_stopped", send_all_the_same)


def wall_clock() -> tuple[Change, ...]:
    """Deadlines are moments of the wall clock, which can be set."""

    def now(self: Clock) -> float:
        return self.unix() / self.scale

    def timeout_at(self: Clock, at: float) -> asyncio.Timeout:
        return asyncio.timeout((at - self.now()) * self.scale)

    def call_at(self: Clock, at: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later((at - self.now()) * self.scale, callback, *args)

    return Change(Clock, "now", now), Change(Clock, "timeout_at", timeout_at), Change(Clock, "call_at", call_at)


def ack_comes_late() -> tuple[Change, ...]:
    """An admitted call is acknowledged, and started, only after a while."""
    admit_at_once = Calls._admit

    def admit_later(self: Calls, session: Session, prepared: Prepared, admit: Admit, now: float) -> None:
        self._loop.call_later(ACK_LATE_WALL_S, admit_at_once, self, session, prepared, admit, now)

    return (Change(Calls, "_admit", admit_later),)


def grants_more() -> tuple[Change, ...]:
    """The ack promises twice the time that the call has."""
    ack = wire.CallToolAck

    def generous(request_id: str, name: str, timeout: float, trace_id: str, call_key_hash: str) -> wire.CallToolAck:
        return ack(request_id, name, 2.0 * timeout, trace_id, call_key_hash)

    return (Change(wire, "CallToolAck", generous),)


DEFECTS: Final = (
    Defect(
        name="deadline-on-heartbeat",
        title="a deadline is looked at only when a heartbeat is due",
        rule="INV-20",
        stage="protocol",
        where="daemon",
        also=("INV-22",),
        changes=on_heartbeat,
    ),
    Defect(
        name="late-result-after-timeout",
        title="a result is sent after the TIMEOUT",
        rule="INV-21",
        also=("INV-01", "INV-03"),
        stage="protocol",
        where="daemon",
        changes=late_result,
    ),
    Defect(
        name="wall-clock-deadlines",
        title="deadlines are kept by the wall clock",
        rule="INV-23",
        stage="protocol",
        where="daemon",
        judged_by="virtual time",
        changes=wall_clock,
    ),
    Defect(
        name="ack-comes-late",
        title="a call is acknowledged 0.4 s after it was admitted",
        rule="INV-02",
        also=("INV-10", "INV-20"),
        stage="protocol",
        where="daemon",
        changes=ack_comes_late,
    ),
    Defect(
        name="ack-grants-more",
        title="the ack promises twice the time that the call has",
        rule="INV-22",
        also=("INV-20",),
        stage="protocol",
        where="daemon",
        changes=grants_more,
    ),
)
