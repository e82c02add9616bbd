"""The daemon in the model: the daemon's own `Policy`, performed on a virtual clock.

It performs what the policy decides and decides nothing itself, as the asyncio shell does. What the shell's own work
costs (about a millisecond a call) is not modelled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.core import Policy
from reference_daemon.policy.deadlines import expert_request_s
from reference_daemon.policy.events import (
    Admit,
    CallArrived,
    CallEnded,
    CallId,
    CallKind,
    DeadlinePassed,
    Expire,
    Fence,
    Limit,
    Outcome,
    Refuse,
    Replay,
)
from simulator.provider_model import OK, Execution, ProviderModel
from simulator.virtual_time import Timer, VirtualTime

_ERROR_CODES = {
    Limit.CALL: "TIMEOUT",
    Limit.CLIENT: "TIMEOUT",
    Limit.STEP: "STEP_TIMEOUT",
    Limit.EXPERT: "EXPERT_TIMEOUT",
}
_RESULT_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets at the end of an attempt.

    Attributes:
        code: Code of the error; None with a result.
        status: Its status; 200 with a result.
        retry_after_s: Advice of a 429.
        scope: Of a 429.
        replayed: Whether it is a kept result.
        duration_s: How long the call took in the daemon.
    """

    code: str | None
    status: int
    retry_after_s: float | None = None
    scope: str | None = None
    replayed: bool = False
    duration_s: float | None = None


@dataclass(slots=True)
class _Live:
    arrived: CallArrived
    admit: Admit
    draw: float
    acked: Callable[[], None]
    reply: Callable[[Answer], None]
    began_at: float
    answer: Answer | None = None
    deadline: Timer | None = None
    budget: Timer | None = None
    execution: Execution | None = None


@dataclass(slots=True)
class Counts:
    """What the daemon did."""

    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    thrown_away_s: float = 0.0


class DaemonModel:
    """One daemon.

    Attributes:
        counts: What it did so far.
    """

    def __init__(self, config: PolicyConfig, providers: dict[str, ProviderModel], time: VirtualTime) -> None:
        """Start with nothing in flight."""
        self._config, self._providers, self._time = config, providers, time
        self._policy = Policy(config)
        self._live: dict[CallId, _Live] = {}
        self._results: dict[CallId, Answer] = {}
        self.counts = Counts()

    def call(
        self, arrived: CallArrived, draw: float, acked: Callable[[], None], reply: Callable[[Answer], None]
    ) -> None:
        """Take a call; `reply` is called once, maybe at once; `acked` before it if the call is admitted."""
        now = self._time.now
        decision = self._policy.arrive(arrived, now=now)
        if isinstance(decision, Refuse):
            self._refuse(decision, reply)
        elif isinstance(decision, Replay):
            kept = self._results[decision.of]
            reply(Answer(kept.code, kept.status, replayed=True, duration_s=kept.duration_s))
        else:
            self._admit(_Live(arrived, decision, draw, acked, reply, now))

    def _refuse(self, decision: Refuse, reply: Callable[[Answer], None]) -> None:
        name = decision.scope or decision.reason.value
        self.counts.refused[name] = self.counts.refused.get(name, 0) + 1
        code = "DUPLICATE" if decision.reason.value == "duplicate_request" else decision.reason.value.upper()
        status = {"DUPLICATE": 409, "KEY_REUSED": 422, "OVER_CAPACITY": 429, "DRAINING": 503}[code]
        reply(Answer(code, status, retry_after_s=decision.retry_after_s, scope=decision.scope))

    def _admit(self, call: _Live) -> None:
        call_id = call.arrived.call_id
        self._live[call_id] = call
        self.counts.admitted += 1
        if call.admit.fence is not None:
            self._fence(call.admit.fence)
        call.acked()
        call.deadline = self._time.call_at(call.admit.deadline_at, lambda: self._late(call_id))
        if not call.admit.waits:
            self._start(call)

    def _fence(self, fence: Fence) -> None:
        if not fence.answered:
            self._cut(fence.call_id, Answer("SUPERSEDED", 409), started=fence.started)

    def _late(self, call_id: CallId) -> None:
        decision = self._policy.deadline_passed(DeadlinePassed(call_id), now=self._time.now)
        if isinstance(decision, Expire):
            self._cut(call_id, Answer(_ERROR_CODES[decision.limit], 504), started=decision.started)

    def _cut(self, call_id: CallId, answer: Answer, *, started: bool) -> None:
        """Answer a call before its work has stopped, and stop the work."""
        call = self._live[call_id]
        call.answer = answer
        call.reply(answer)
        if not started:
            self._forget(call)
            return
        self.counts.thrown_away_s += self._time.now - call.began_at
        if call.execution is not None:
            call.execution.cancel()
        # The work stops within the turn, after what the policy is being told at this moment.
        self._time.call_at(self._time.now, lambda: self._end(call, answer, Outcome.FAILED))

    def _start(self, call: _Live) -> None:
        """Do the call's work: nothing, or one request to its provider."""
        call.began_at = self._time.now
        arrived = call.arrived
        if arrived.provider is None:
            self._time.call_at(self._time.now, lambda: self._end(call, Answer(None, OK), Outcome.OK))
            return
        remaining_s = call.admit.deadline_at - self._time.now
        if arrived.kind is CallKind.EXPERT:
            budget_s = expert_request_s(self._config.timeouts.expert_s, remaining_s)
            call.budget = self._time.call_at(self._time.now + budget_s, lambda: self._expert_late(call))
        provider = self._providers[arrived.provider]
        call.execution = provider.request(arrived.tool, call.draw, lambda status: self._provider_done(call, status))

    def _expert_late(self, call: _Live) -> None:
        """Answer with the findings so far: an expert that is late costs its judgement, not the call."""
        if call.answer is None and call.execution is not None:
            call.execution.cancel()
            self.counts.thrown_away_s += self._time.now - call.began_at
            self._end(call, Answer(None, OK), Outcome.OK)

    def _provider_done(self, call: _Live, status: int) -> None:
        if status == OK:
            self._end(call, Answer(None, OK), Outcome.OK)
        else:
            self._end(call, Answer("PROVIDER_ERROR", 502), Outcome.FAILED)

    def _end(self, call: _Live, answer: Answer, outcome: Outcome) -> None:
        """The call's work has stopped."""
        now = self._time.now
        ended = self._policy.ended(CallEnded(call.arrived.call_id, outcome, _RESULT_BYTES), now=now)
        if call.answer is None:
            duration_s = now - (call.admit.deadline_at - call.admit.timeout_s)
            call.answer = Answer(answer.code, answer.status, duration_s=duration_s)
            if ended.stored:
                self._results[call.arrived.call_id] = call.answer
            call.reply(call.answer)
        elif ended.stored:
            self._results[call.arrived.call_id] = call.answer
        for dropped in ended.dropped:
            self._results.pop(dropped, None)
        self._forget(call)
        if ended.starts is not None:
            self._start(self._live[ended.starts])

    def _forget(self, call: _Live) -> None:
        for timer in (call.deadline, call.budget):
            if timer is not None:
                timer.cancel()
        self._live.pop(call.arrived.call_id, None)
