"""The life of a call in the daemon: ack, work, heartbeats, deadline, exactly one terminal answer.

The policy decides; this module performs. Everything between an event and the end of what its decision asks for is
synchronous, so no decision is older than the turn of the loop it was taken in. A call has one task, its work, and one
timer, for its next heartbeat or its deadline, whichever is first. The timer never touches the work but to cancel it
when the policy says so. Answers are posted to connections, which hold them until the client reads; nobody here waits
for a client.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final, cast

import msgspec
import structlog

from reference_daemon import answers, intake, wire
from reference_daemon.answers import Answer
from reference_daemon.call_log import CallLog
from reference_daemon.clock import Clock
from reference_daemon.failures import failure_of
from reference_daemon.intake import Intake, Prepared
from reference_daemon.live import LiveCall
from reference_daemon.observability.metrics import Metrics
from reference_daemon.policy.core import Policy
from reference_daemon.policy.events import (
    Admit,
    AttachAsked,
    CallEnded,
    CallId,
    CallKey,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    DrainGraceOver,
    DrainStarted,
    Expire,
    Fence,
    Follow,
    NoAttach,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionClosed,
)
from reference_daemon.policy.snapshot import Snapshot
from reference_daemon.results import Results
from reference_daemon.server.context import CallContext, Phase, Tool
from reference_daemon.sessions import Session
from reference_daemon.settings import Settings
from reference_daemon.trace_id import trace_id_of

_encode = msgspec.json.Encoder().encode

_SOON_S: Final = 0.001
"""Two heartbeats that are no further apart would name the same elapsed time, which has three decimals."""


class Calls:
    """Every call of one daemon."""

    def __init__(self, settings: Settings, tools: Mapping[str, Tool], clock: Clock, metrics: Metrics) -> None:
        """Start with nothing in flight."""
        self._settings = settings
        self._clock = clock
        self._policy = Policy(settings.policy())
        self._intake = Intake(
            tools,
            uncoalesced=settings.disable_coalesce_for,
            max_arguments_bytes=settings.max_arguments_bytes,
        )
        self._metrics = metrics
        self._log = CallLog(structlog.get_logger().bind(), metrics, clock)
        self._results = Results()
        self._live: dict[CallId, LiveCall] = {}
        self._new: list[LiveCall] = []
        self._next_id = cast("Iterator[CallId]", count(1)).__next__
        self._loop = asyncio.get_running_loop()  # asked once: on Python 3.11 each time is a call of the kernel
        self._idle = asyncio.Event()
        self._idle.set()

    # --- what clients ask for ----------------------------------------------------------------------------------------

    def call_tool(self, session: Session, frame: wire.CallTool, frame_characters: int) -> None:
        """Answer a `call_tool`: with an ack and, later, a terminal answer; or with a terminal answer now."""
        try:
            prepared = self._intake.prepare(frame, frame_characters, session.session_id, self._next_id)
        except Exception as bug:  # noqa: BLE001 - outermost frame of a tool's own checks: a bug there fails this call alone
            self._log.checks_raised(frame, bug)
            prepared = intake.error("EXEC_ERROR", f"the tool failed ({type(bug).__name__})")
        if isinstance(prepared, wire.Error):
            self._refuse_unfit(session, frame, prepared)
            return
        now = self._clock.now()
        decision = self._policy.arrive(prepared.arrived, now=now)
        if isinstance(decision, Admit):
            self._admit(session, prepared, decision, now)
        elif isinstance(decision, Replay):
            answer, _ = self._results.get(decision.of)
            self._log.replayed(session, prepared)
            session.link.post(answer.frame(frame.request_id, prepared.trace_id, replayed=True))
        else:
            self._refuse(session, prepared, decision)

    def cancel(self, session: Session, frame: wire.Cancel) -> None:
        """Stop the call that a request of this session waits for."""
        decision = self._policy.cancel(
            CancelAsked(session.session_id, RequestId(frame.request_id)), now=self._clock.now()
        )
        if decision is None:
            why = intake.error("UNKNOWN_CALL", "no call of this session waits under this request_id")
            session.link.post(answers.error_frame(why, frame.request_id))
            return
        why = intake.error("CANCELLED", "cancelled by the client")
        self._cut(decision.call_id, "cancelled", why, started=decision.started)

    def attach(self, session: Session, frame: wire.Attach) -> None:
        """Send the answer of the execution that holds a key, now or when it has one."""
        problem = intake.check_key(frame.call_key)
        if problem is not None:
            session.link.post(answers.error_frame(problem, frame.request_id))
            return
        asked = AttachAsked(session.session_id, RequestId(frame.request_id), CallKey(frame.call_key))
        decision = self._policy.attach(asked, now=self._clock.now())
        if isinstance(decision, Follow):
            call = self._live[decision.call_id]
            call.followers.append((session, frame.request_id))
            self._log.attached(session, call, frame.request_id)
            if call.beat_at - self._clock.now() > _SOON_S:  # else the next heartbeat is its first
                self._beat(call, [(session, frame.request_id)])
        elif isinstance(decision, Deliver):
            answer, trace_id = self._answer_of(decision.call_id)
            session.link.post(answer.frame(frame.request_id, trace_id, replayed=True))
        elif isinstance(decision, NoAttach):
            session.link.post(answers.error_frame(answers.nothing_to_attach(decision), frame.request_id))
        else:
            why = answers.refusal(decision, self._trace_id(decision.original))
            session.link.post(answers.error_frame(why, frame.request_id))

    def session_closed(self, session: Session) -> None:
        """Forget who waited on a connection that is gone; the calls go on."""
        waited_for = self._policy.session_closed(SessionClosed(session.session_id), now=self._clock.now())
        for call_id in waited_for:
            call = self._live[call_id]
            call.followers = [follower for follower in call.followers if follower[0] is not session]

    # --- refusals ----------------------------------------------------------------------------------------------------

    def _refuse_unfit(self, session: Session, frame: wire.CallTool, why: wire.Error) -> None:
        """Refuse what could not be put to the policy; the answer of a live call of the same name stays the only one."""
        trace_id = trace_id_of(frame.trace_id)
        self._log.unfit(session, frame, trace_id, why)
        request_id = RequestId(frame.request_id)
        if self._policy.awaits_answer(session.session_id, request_id):
            session.link.post(answers.error_frame(why, request_id))
        else:
            answer = answers.failure("refused", why, 0.0)
            session.link.post(answer.frame(request_id, trace_id))

    def _refuse(self, session: Session, prepared: Prepared, decision: Refuse) -> None:
        """Answer a refusal of the policy."""
        why = answers.refusal(decision, self._trace_id(decision.original))
        self._log.refused(session, prepared, why)
        request_id = prepared.arrived.request_id
        if decision.reason is Reason.DUPLICATE_REQUEST:
            session.link.post(answers.error_frame(why, request_id))
        else:
            session.link.post(answers.failure("refused", why, 0.0).frame(request_id, prepared.trace_id))

    # --- from admission to the end -----------------------------------------------------------------------------------

    def _admit(self, session: Session, prepared: Prepared, admit: Admit, now: float) -> None:
        """Acknowledge a call and start it, or let it wait for the owner that is fenced for it."""
        if admit.fence is not None:
            self._fence(admit.fence)
        interval_s = self._settings.progress_interval_s
        if prepared.plan.provider is not None:
            interval_s = min(interval_s, self._settings.expert_heartbeat_s)
        arrived = prepared.arrived
        context = CallContext(
            clock=self._clock,
            request_id=arrived.request_id,
            trace_id=prepared.trace_id,
            call_key_hash=prepared.key_hash,
            started_at=now,
            deadline_at=admit.deadline_at,
            expert_budget_s=self._settings.expert_timeout_s,
            web_budget_s=self._settings.web_budget_s,
            phase=Phase.WAITING if admit.waits else Phase.STEP,
        )
        call = LiveCall(prepared, admit, context, session, interval_s, beat_at=now + interval_s)
        self._live[arrived.call_id] = call
        self._idle.clear()
        ack = wire.CallToolAck(arrived.request_id, arrived.tool, admit.timeout_s, prepared.trace_id, prepared.key_hash)
        session.link.post(_encode(ack))
        self._log.started(call)
        if not admit.waits:
            self._start(call)
        self._set_timer_soon(call)

    def _start(self, call: LiveCall) -> None:
        """Start the work of a call. Its end is noticed whatever becomes of the task."""
        call.task = self._loop.create_task(call.prepared.tool.run(call.prepared.arguments, call.context))
        call.task.add_done_callback(partial(self._work_stopped, call))

    def _work_stopped(self, call: LiveCall, task: asyncio.Task[Sequence[str]]) -> None:
        """Give everything back, keep the answer, and only then send it."""
        now = self._clock.now()
        outcome = self._outcome(call, task, now)
        call.task = None
        answered_before = call.answer
        if answered_before is None:
            call.answer = outcome
        assert call.answer is not None  # noqa: S101 - set above
        call.stop_timer()
        ended = self._policy.ended(CallEnded(call.call_id, call.ended_as(), call.answer.size_bytes), now=now)
        del self._live[call.call_id]
        if ended.stored:
            self._results.keep(call.call_id, call.answer, call.prepared.trace_id)
        self._results.drop(ended.dropped)
        if ended.answered:
            self._log.stopped(call, now)
        else:
            self._send_answer(call)
        if ended.starts is not None:
            heir = self._live[ended.starts]
            heir.context.phase = Phase.STEP
            self._start(heir)
        if not self._live:
            self._idle.set()

    def _outcome(self, call: LiveCall, task: asyncio.Task[Sequence[str]], now: float) -> Answer:
        """Return what the work came to, as an answer. It always looks: an exception must not go unseen."""
        duration_s = now - call.context.started_at
        if task.cancelled():
            why = intake.error("EXEC_ERROR", "the tool gave up")
            return answers.failure("error", why, duration_s)
        try:
            answer = answers.result(task.result(), duration_s)
        except Exception as raised:  # noqa: BLE001 - the outermost frame of a tool's work; or it is no text (lone surrogates)
            outcome, why = failure_of(raised, call)
            self._log.raised(call, raised, why)
            return answers.failure(outcome, why, duration_s)
        if answer.size_bytes > self._settings.max_result_bytes:
            limit = self._settings.max_result_bytes
            why = intake.error("TOO_LARGE", f"the result has {answer.size_bytes} bytes", limit=limit)
            return answers.failure("too_large", why, duration_s)
        return answer

    def _send_answer(self, call: LiveCall) -> None:
        """Send the terminal answer to everybody who waits for it."""
        assert call.answer is not None  # noqa: S101 - the caller set it
        call.stop_timer()
        self._log.ended(call, client_there=call.session.link.open)
        for session, request_id in call.requests():
            session.link.post(call.answer.frame(request_id, call.prepared.trace_id))
        call.followers.clear()

    def _cut(self, call_id: CallId, outcome: str, why: wire.Error, *, started: bool) -> None:
        """Answer a call now, and stop its work if there is any; a call without work has ended."""
        call = self._live[call_id]
        call.answer = answers.failure(outcome, why, self._clock.now() - call.context.started_at)
        self._send_answer(call)
        if not started:
            del self._live[call_id]
        elif call.task is not None:
            call.task.cancel()
        if not self._live:
            self._idle.set()

    def _fence(self, fence: Fence) -> None:
        """Stop the owner of a lapsed key."""
        if fence.answered:
            return
        why = intake.error(
            "SUPERSEDED",
            "the call's key had lapsed, and a newer call took it over",
            superseded_by=fence.superseded_by,
        )
        self._cut(fence.call_id, "superseded", why, started=fence.started)

    # --- the timer of a call -----------------------------------------------------------------------------------------

    def _set_timer_soon(self, call: LiveCall) -> None:
        """Set the timer of a new call three turns later: work that takes no time has ended by then, and needs none."""
        if not self._new:
            self._loop.call_soon(self._turn_ended)
        self._new.append(call)

    def _turn_ended(self) -> None:
        """Let the calls of one turn wait for two more; those of the next turn do so by themselves."""
        new, self._new = self._new, []
        self._loop.call_soon(self._loop.call_soon, self._set_timers, new)

    def _set_timers(self, new: list[LiveCall]) -> None:
        """Set the timers of the calls that still need one."""
        for call in new:
            if call.answer is None:
                self._set_timer(call)

    def _set_timer(self, call: LiveCall) -> None:
        """Wake for the next heartbeat or the deadline, whichever is first."""
        at = min(call.beat_at, call.admit.deadline_at)
        call.timer = self._clock.call_at(at, self._wake, call)

    def _wake(self, call: LiveCall) -> None:
        """Pass the deadline if it is due, else send the heartbeat if that is."""
        now = self._clock.now()
        expired = self._policy.deadline_passed(DeadlinePassed(call.call_id), now=now)
        if isinstance(expired, Expire):
            why = answers.late(expired, call.context.phase)
            self._cut(call.call_id, "timeout", why, started=expired.started)
            return
        if now >= call.beat_at:
            self._beat(call, call.requests())
            call.context.heartbeats += 1
            call.beat_at += call.interval_s  # from when it was due, so that heartbeats do not drift
            if call.beat_at <= now:  # the loop stood still for a whole interval
                call.beat_at = now + call.interval_s
        self._set_timer(call)

    def _beat(self, call: LiveCall, requests: list[tuple[Session, str]]) -> None:
        """Send a heartbeat to those who wait, except over connections that are full already."""
        now = self._clock.now()
        for session, request_id in requests:
            if session.link.congested:
                continue
            frame = wire.Progress(
                request_id,
                call.name,
                self._clock.unix(),
                call.prepared.trace_id,
                call.context.phase,
                elapsed=round(now - call.context.started_at, 3),
                remaining=round(max(0.0, call.admit.deadline_at - now), 3),
            )
            session.link.post(_encode(frame))
            self._metrics.heartbeat()

    # --- the daemon's end --------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Refuse new calls, let those in flight end within the grace, then interrupt the rest."""
        until = self._policy.drain(DrainStarted(), now=self._clock.now())
        try:
            async with self._clock.timeout_at(until):
                await self._idle.wait()
        except TimeoutError:
            self.interrupt()

    def interrupt(self) -> None:
        """Answer every call in flight 500 INTERRUPTED, and stop its work."""
        why = intake.error("INTERRUPTED", "the daemon ended before the call did; it may have run")
        for decision in self._policy.interrupt(DrainGraceOver(), now=self._clock.now()):
            self._cut(decision.call_id, "interrupted", why, started=decision.started)

    async def wait_until_idle(self) -> None:
        """Wait until no work runs any more."""
        await self._idle.wait()

    # --- figures -----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the policy's figures."""
        return self._policy.snapshot()

    def in_flight(self) -> list[LiveCall]:
        """Return the calls whose work has not stopped."""
        return list(self._live.values())

    def sweep(self) -> None:
        """Drop kept answers that are too old."""
        self._results.drop(self._policy.sweep(now=self._clock.now()))

    def _answer_of(self, call_id: CallId) -> tuple[Answer, str]:
        """Return the answer of a call that is answered, and its trace_id."""
        call = self._live.get(call_id)
        if call is None:
            return self._results.get(call_id)
        assert call.answer is not None  # noqa: S101 - the policy delivers answered calls only
        return call.answer, call.prepared.trace_id

    def _trace_id(self, call_id: CallId | None) -> str | None:
        """Return the trace_id of a call that is in the way of another."""
        call = None if call_id is None else self._live.get(call_id)
        return None if call is None else call.prepared.trace_id
