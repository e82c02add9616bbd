"""Defects of the deadlines: looked at too rarely, kept by the wrong clock, or not the end of a call."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon import answers, wire
from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.live import LiveCall
from reference_daemon.policy.events import CallId


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


DEFECTS: Final = (
    Defect(
        name="deadline-on-heartbeat",
        title="a deadline is looked at only when a heartbeat is due",
        rule="INV-20",
        stage="slow-provider",
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
)
