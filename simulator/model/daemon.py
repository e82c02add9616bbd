"""The daemon in the model: the daemon's own `Policy`, performed on a virtual clock.

It performs what the policy decides and decides nothing itself, as the asyncio shell does; a test feeds both the same
events and compares. What the shell's own work costs (about a millisecond a call) is not modelled.

A call that works has one timer, for whatever comes first: its provider's answer, the expert's budget, its deadline.
That is known as soon as the work begins, unless the line to the provider is disturbed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.core import Policy
from reference_daemon.policy.deadlines import expert_request_s
from reference_daemon.policy.events import (
    Admit,
    AttachAsked,
    CallArrived,
    CallEnded,
    CallId,
    CallKey,
    CallKind,
    CancelAsked,
    DeadlinePassed,
    Deliver,
    DrainGraceOver,
    DrainStarted,
    Expire,
    Fence,
    Follow,
    Limit,
    NoAttach,
    Outcome,
    Reason,
    Refuse,
    Replay,
    RequestId,
    SessionClosed,
    SessionId,
)
from simulator.model.census import Census
from simulator.model.provider import OK, Asked, Request
from simulator.model.virtual_time import Timer, VirtualTime

_LATE: Final = {
    Limit.CALL: "TIMEOUT",
    Limit.CLIENT: "TIMEOUT",
    Limit.STEP: "STEP_TIMEOUT",
    Limit.EXPERT: "EXPERT_TIMEOUT",
}
_REFUSED: Final = {
    Reason.DRAINING: ("DRAINING", 503),
    Reason.KEY_REUSED: ("KEY_REUSED", 422),
    Reason.DUPLICATE_REQUEST: ("DUPLICATE", 409),
    Reason.DUPLICATE: ("DUPLICATE", 409),
    Reason.OVER_CAPACITY: ("OVER_CAPACITY", 429),
}
_RESULT_BYTES: Final = 1000

# Members of enumerations that every call needs: to look one up costs as much as to call a function.
_WORKED, _FAILED, _EXPERT = Outcome.OK, Outcome.FAILED, CallKind.EXPERT

_new = tuple.__new__
"""Makes a named tuple from all of its fields, in half of the time that its own constructor takes."""


class Answer(NamedTuple):
    """What a client gets at the end of an attempt.

    Attributes:
        code: Code of the error; None with a result.
        status: Its status; 200 with a result.
        retry_after_s: Advice of a 429.
        scope: Of a 429.
        replayed: Whether it is a kept result.
        duration_s: How long the call took in the daemon; 0 if it was refused.
    """

    code: str | None
    status: int
    retry_after_s: float | None = None
    scope: str | None = None
    replayed: bool = False
    duration_s: float = 0.0


class Waiter(Protocol):
    """Who waits for the answer of a request. It may ask the daemon for something else only in a later turn."""

    def acked(self, now: float) -> None:
        """The call was admitted at `now`."""

    def answered(self, answer: Answer) -> None:
        """Take the one terminal answer."""


@dataclass(slots=True)
class Counts:
    """What the daemon did.

    Attributes:
        admitted: Calls that it let in.
        refused: Calls that it refused, by the full pool's scope, else by the reason.
        thrown_away_s: Seconds of work that was cut.
    """

    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    thrown_away_s: float = 0.0


class _Live:
    """An admitted call until its work has stopped."""

    # Most calls keep these to their end.
    answer: Answer | None = None
    timer: Timer | None = None
    request: Request | None = None
    followers: tuple[tuple[SessionId, Waiter], ...] = ()

    def __init__(
        self, daemon: "DaemonModel", arrived: CallArrived, admit: Admit, draw: float, waiter: Waiter | None, now: float
    ) -> None:
        self.daemon, self.arrived, self.admit, self.draw, self.waiter = daemon, arrived, admit, draw, waiter
        self.admitted_at = self.began_at = now

    def late(self, _: object) -> None:
        """Its deadline has come."""
        self.daemon.late(self)

    def expert_late(self, _: object) -> None:
        """Its expert's budget is over."""
        self.daemon.expert_late(self)

    def provider_answered(self, status: int) -> None:
        """Its provider answered, with a result or an error."""
        self.request = None
        if status == OK:
            self.daemon.end(self, None, OK)
        else:
            self.daemon.end(self, "PROVIDER_ERROR", 502)

    def work_done(self, _: object) -> None:
        """It had nothing to do."""
        if self.answer is None:
            self.daemon.end(self, None, OK)

    def work_stopped(self, _: object) -> None:
        """Its work, which was cut, has stopped."""
        answer = self.answer
        assert answer is not None  # noqa: S101 - a call that is cut is answered
        self.daemon.end(self, answer.code, answer.status)


class DaemonModel:
    """One daemon, from its start to its end.

    Attributes:
        counts: What it did so far.
        census: The calls that hold slots.
        on_idle: Called when it drains and nothing runs any more.
    """

    def __init__(
        self,
        config: PolicyConfig,
        providers: Mapping[str, Asked],
        time: VirtualTime,
        counts: Counts | None = None,
        census: Census | None = None,
    ) -> None:
        """Start with nothing in flight; a daemon that comes after another one goes on with its counts and census."""
        self._expert_s, self._providers, self._time = config.timeouts.expert_s, providers, time
        self._policy = Policy(config)
        self._live: dict[CallId, _Live] = {}
        self._results: dict[CallId, Answer] = {}
        self._draining = False
        self.counts = counts if counts is not None else Counts()
        self.census = census if census is not None else Census()
        self.on_idle: Callable[[], None] | None = None

    # --- what clients ask for ----------------------------------------------------------------------------------------

    def call(self, arrived: CallArrived, draw: float, waiter: Waiter) -> None:
        """Take a call; `waiter` is answered once, maybe at once, and acknowledged before it if the call is admitted."""
        now = self._time.now
        decision = self._policy.arrive(arrived, now=now)
        if type(decision) is Admit:
            self._admit(_Live(self, arrived, decision, draw, waiter, now), decision, waiter, now)
        elif type(decision) is Refuse:
            self._refuse(decision, waiter)
        elif isinstance(decision, Replay):
            waiter.answered(self._results[decision.of]._replace(replayed=True))

    def cancel(self, session_id: SessionId, request_id: RequestId) -> bool:
        """Stop the call that a request of this session waits for; return whether there was one."""
        decision = self._policy.cancel(CancelAsked(session_id, request_id), now=self._time.now)
        if decision is None:
            return False
        self._cut(self._live[decision.call_id], "CANCELLED", 499, started=decision.started)
        return True

    def attach(self, session_id: SessionId, request_id: RequestId, key: CallKey, waiter: Waiter) -> bool:
        """Let `waiter` have the answer of the execution that holds `key`; return whether it is to be waited for."""
        decision = self._policy.attach(AttachAsked(session_id, request_id, key), now=self._time.now)
        if isinstance(decision, Follow):
            live = self._live[decision.call_id]
            live.followers = (*live.followers, (session_id, waiter))
            return True
        if isinstance(decision, Deliver):
            answered = self._live.get(decision.call_id)
            answer = self._results[decision.call_id] if answered is None else answered.answer
            assert answer is not None  # noqa: S101 - the policy delivers answered calls only
            waiter.answered(answer._replace(replayed=True))
        elif isinstance(decision, NoAttach):
            gone = decision is NoAttach.GONE
            waiter.answered(Answer("GONE" if gone else "UNKNOWN_CALL", 410 if gone else 404))
        else:
            self._refuse(decision, waiter)
        return False

    def session_closed(self, session_id: SessionId) -> None:
        """Forget who waited on a connection that is gone; the calls go on."""
        for call_id in self._policy.session_closed(SessionClosed(session_id), now=self._time.now):
            live = self._live[call_id]
            if live.arrived.session_id == session_id:
                live.waiter = None
            live.followers = tuple(waiting for waiting in live.followers if waiting[0] != session_id)

    # --- its end -----------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Refuse new calls, let those in flight end within the grace, then interrupt the rest; `on_idle` is the end."""
        until = self._policy.drain(DrainStarted(), now=self._time.now)
        self._draining = True
        if self._live:
            self._time.call_at(until, self._grace_over)
        else:
            self._time.call_at(self._time.now, self._idle)

    def _grace_over(self, _: object) -> None:
        for decision in self._policy.interrupt(DrainGraceOver(), now=self._time.now) if self._live else ():
            self._cut(self._live[decision.call_id], "INTERRUPTED", 500, started=decision.started)

    def _idle(self, _: object) -> None:
        if self.on_idle is not None:
            self.on_idle()

    def kill(self) -> None:
        """End at once, as a process that is killed: nobody is answered, and what it asked of providers is cancelled."""
        now = self._time.now
        for live in self._live.values():
            if live.timer is not None:
                live.timer.cancel()
            if live.request is not None:
                live.request.cancel()
            self.counts.thrown_away_s += now - live.began_at
            self.census.leave(now, live.admitted_at)
        self._live.clear()

    # --- from admission to the end -----------------------------------------------------------------------------------

    def _refuse(self, decision: Refuse, waiter: Waiter) -> None:
        scope, reason = decision.scope, decision.reason
        name = scope or reason.value
        refused = self.counts.refused
        refused[name] = refused.get(name, 0) + 1
        code, status = _REFUSED[reason]
        waiter.answered(_new(Answer, (code, status, decision.retry_after_s, scope, False, 0.0)))

    def _admit(self, live: _Live, admit: Admit, waiter: Waiter, now: float) -> None:
        self._live[admit.call_id] = live
        self.counts.admitted += 1
        self.census.enter(now)
        if admit.fence is not None:
            self._fence(admit.fence)
        waiter.acked(now)
        if admit.waits:
            live.timer = self._time.call_at(admit.deadline_at, live.late)
        else:
            self._start(live, now)

    def _fence(self, fence: Fence) -> None:
        if not fence.answered:
            self._cut(self._live[fence.call_id], "SUPERSEDED", 409, started=fence.started)

    def late(self, live: _Live) -> None:
        """Pass a call's deadline."""
        decision = self._policy.deadline_passed(DeadlinePassed(live.admit.call_id), now=self._time.now)
        if isinstance(decision, Expire):
            self._cut(live, _LATE[decision.limit], 504, started=decision.started)

    def _cut(self, live: _Live, code: str, status: int, *, started: bool) -> None:
        """Answer a call before its work has stopped, and stop the work."""
        now = self._time.now
        if live.timer is not None:
            live.timer.cancel()
        self._answer(live, Answer(code, status, duration_s=now - live.admitted_at))
        if not started:
            self._forget(live, now)
            return
        self.counts.thrown_away_s += now - live.began_at
        if live.request is not None:
            live.request.cancel()
            live.request = None
        # The work stops within the turn, after what the policy is being told at this moment.
        live.timer = self._time.call_at(now, live.work_stopped)

    def _answer(self, live: _Live, answer: Answer) -> None:
        live.answer = answer
        if live.waiter is not None:
            live.waiter.answered(answer)
        if live.followers:
            for _, waiter in live.followers:
                waiter.answered(answer)
            live.followers = ()

    def _start(self, live: _Live, now: float) -> None:
        """Do the call's work: nothing, or one request to its provider."""
        arrived, deadline_at = live.arrived, live.admit.deadline_at
        if live.timer is not None:  # it has waited for another's end
            live.timer.cancel()
            live.timer = None
            live.began_at = now
        if arrived.provider is None:
            live.timer = self._time.call_at(now, live.work_done)
            return
        expert = arrived.kind is _EXPERT
        until = now + expert_request_s(self._expert_s, deadline_at - now) if expert else deadline_at
        provider = self._providers[arrived.provider]
        live.request = request = provider.request(arrived.tool, live.draw, live.provider_answered, until)
        if request.ends_at >= until:
            live.timer = self._time.call_at(until, live.expert_late if expert else live.late)

    def expert_late(self, live: _Live) -> None:
        """Answer with the findings so far: an expert that is late costs its judgement, not the call."""
        if live.request is not None:
            live.request.cancel()
            live.request = None
            self.counts.thrown_away_s += self._time.now - live.began_at
            self.end(live, None, OK)

    def end(self, live: _Live, code: str | None, status: int) -> None:
        """Give everything back, keep the answer, and only then send it: the call's work has stopped."""
        now = self._time.now
        if live.timer is not None:
            live.timer.cancel()
        outcome = _WORKED if status == OK else _FAILED
        ended = self._policy.ended(_new(CallEnded, (live.admit.call_id, outcome, _RESULT_BYTES)), now=now)
        call_id, _, stored, dropped, starts = ended
        answer = live.answer
        if answer is None:
            answer = _new(Answer, (code, status, None, None, False, now - live.admitted_at))
        if stored:
            self._results[call_id] = answer
        for each in dropped:
            self._results.pop(each, None)
        if live.answer is None:
            self._answer(live, answer)
        self._forget(live, now)
        if starts is not None:
            self._start(self._live[starts], now)

    def _forget(self, live: _Live, now: float) -> None:
        del self._live[live.admit.call_id]
        self.census.leave(now, live.admitted_at)
        if self._draining and not self._live:
            self._time.call_at(now, self._idle)


__all__ = ["Answer", "Counts", "DaemonModel", "Waiter"]
