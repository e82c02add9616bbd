"""One model run: the drill's load, the daemon's decisions, modelled providers; the drill's history comes out."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.events import CallArrived, CallId, CallKey, RequestId, SessionId
from reference_daemon.policy.keys import derived_key, key_hash
from reference_daemon.policy.retry import RetryAt, RetryConfig, RetryPolicy
from scenarios.history import Body, Call, Outcome, TimeoutLayer
from scenarios.model import Scenario
from scenarios.model_faults import Fault, Toxic
from scenarios.workload import PlannedCall, Workload
from simulator.daemon_model import Answer, Counts, DaemonModel
from simulator.provider_model import ProviderModel
from simulator.routing import kind_of, provider_of
from simulator.virtual_time import Timer, VirtualTime

CLIENT_GRACE_S: Final = 1.0
"""Seconds that a client waits beyond what it tells the daemon, as the reference client does."""

_OUTCOMES: Final = {
    None: Outcome.OK,
    "OVER_CAPACITY": Outcome.OVER_CAPACITY,
    "DUPLICATE": Outcome.DUPLICATE,
    "KEY_REUSED": Outcome.KEY_REUSED,
    "SUPERSEDED": Outcome.SUPERSEDED,
    "DRAINING": Outcome.DRAINING,
    "PROVIDER_ERROR": Outcome.PROVIDER_ERROR,
    "TIMEOUT": Outcome.TIMEOUT,
    "STEP_TIMEOUT": Outcome.TIMEOUT,
    "EXPERT_TIMEOUT": Outcome.TIMEOUT,
}
_LAYERS: Final = {
    "TIMEOUT": TimeoutLayer.DAEMON,
    "STEP_TIMEOUT": TimeoutLayer.STEP,
    "EXPERT_TIMEOUT": TimeoutLayer.EXPERT,
}


@dataclass(slots=True)
class ModelRun:
    """What came out.

    Attributes:
        calls: The history, in the order in which the calls ended.
        counts: What the daemon did.
        not_carried: Parts of the scenario that the model leaves out, in words.
        ended_at: Moment at which nothing was left to come.
    """

    calls: list[Call] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    not_carried: tuple[str, ...] = ()
    ended_at: float = 0.0


def simulate(scenario: Scenario, config: PolicyConfig, *, seed: int, client_timeout_s: float = 180.0) -> ModelRun:
    """Run a scenario in the model. The same arguments give the same history, byte for byte.

    Args:
        scenario: What is run; its time scale has no meaning here.
        config: The daemon's settings.
        seed: Start of every source of chance; a drill with this seed makes the same calls.
        client_timeout_s: Seconds that a client waits for a call, where its phase says nothing else.
    """
    return _Engine(scenario, config, seed, client_timeout_s).run()


@dataclass(slots=True)
class _Logical:
    """One logical call at its client."""

    planned: PlannedCall
    deadline_at: float
    row: Call | None = None
    attempts: int = 0
    sent_at: float | None = None
    acked_at: float | None = None
    retry_wait_s: float = 0.0
    request_id: str = ""
    over: bool = False
    timer: Timer | None = None
    ended: Callable[[float], None] | None = None


class _Engine:
    def __init__(self, scenario: Scenario, config: PolicyConfig, seed: int, client_timeout_s: float) -> None:
        self._scenario, self._seed, self._client_timeout_s = scenario, seed, client_timeout_s
        self._time = VirtualTime()
        numbers = count(1)
        self._providers = {
            name: ProviderModel(name, provider, self._time, lambda: next(numbers))
            for name, provider in scenario.providers.items()
        }
        self._daemon = DaemonModel(config, self._providers, self._time)
        retry = scenario.retry
        self._retry = RetryPolicy(
            RetryConfig(max_attempts=retry.max_attempts, jitter=retry.jitter, first_s=retry.first, max_s=retry.max)
        )
        self._workload = Workload(scenario, seed)
        self._jitter = random.Random(f"{seed}/jitter")
        self._ids = count(1)
        self._active: list[str] = []
        self._run = ModelRun(counts=self._daemon.counts)

    def run(self) -> ModelRun:
        """Run to the end."""
        self._run.not_carried = tuple(self._place_faults())
        self._next_open(self._workload.open_calls())
        for _, user in self._workload.closed_users():
            self._next_closed(user, 0.0)
        self._time.run()
        self._run.ended_at = self._time.now
        return self._run

    # --- load --------------------------------------------------------------------------------------------------------

    def _next_open(self, calls: Iterator[PlannedCall]) -> None:
        """Wait for the next call of the open phases; only one is held at a time, however many there are."""
        planned = next(calls, None)
        if planned is None:
            return

        def arrive() -> None:
            self._next_open(calls)
            self._begin(planned, None)

        self._time.call_at(planned.at, arrive)

    def _next_closed(self, user: int, now: float) -> None:
        planned = self._workload.next_call(user, now)
        if planned is not None:
            self._time.call_at(planned.at, lambda: self._begin(planned, lambda at: self._next_closed(user, at)))

    def _begin(self, planned: PlannedCall, ended: Callable[[float], None] | None) -> None:
        timeout_s = planned.phase.client_timeout or self._client_timeout_s
        call = _Logical(planned, deadline_at=planned.at + timeout_s, ended=ended)
        call.timer = self._time.call_at(call.deadline_at, lambda: self._gave_up(call))
        self._attempt(call)

    # --- the client --------------------------------------------------------------------------------------------------

    def _attempt(self, call: _Logical) -> None:
        if call.over:
            return
        now, planned = self._time.now, call.planned
        number = next(self._ids)
        call.attempts += 1
        call.request_id = f"r{number}"
        call.sent_at = now if call.sent_at is None else call.sent_at
        kind = kind_of(planned.tool, expert=planned.phase.expert)
        work = planned.nonce.encode()
        key = CallKey(planned.call_key) if planned.call_key is not None else derived_key(work)
        arrived = CallArrived(
            CallId(number),
            SessionId(str(planned.client)),
            RequestId(call.request_id),
            key,
            planned.call_key is not None,
            work,
            planned.tool,
            provider_of(planned.tool, kind, planned.phase.model),
            kind,
            max(call.deadline_at - now - CLIENT_GRACE_S, 0.1),
        )
        self._daemon.call(arrived, planned.draw, lambda: self._acked(call), lambda answer: self._answered(call, answer))

    def _acked(self, call: _Logical) -> None:
        call.acked_at = self._time.now

    def _answered(self, call: _Logical, answer: Answer) -> None:
        if call.over:
            return
        now = self._time.now
        if answer.code is not None:
            decision = self._retry.after_refusal(
                answer.code,
                answer.retry_after_s,
                attempt=call.attempts,
                now=now,
                deadline_at=call.deadline_at,
                draw=self._jitter.random(),
            )
            if isinstance(decision, RetryAt):
                call.retry_wait_s += decision.at - now
                self._time.call_at(decision.at, lambda: self._attempt(call))
                return
        outcome = Outcome.REPLAYED if answer.replayed else _OUTCOMES.get(answer.code, Outcome.ERROR)
        layer = None if answer.code is None else _LAYERS.get(answer.code)
        self._end(call, outcome, None if answer.code is None else answer.status, layer, answer.duration_s)

    def _gave_up(self, call: _Logical) -> None:
        if not call.over:
            self._end(call, Outcome.TIMEOUT, None, TimeoutLayer.CLIENT, None)

    def _end(
        self, call: _Logical, outcome: Outcome, status: int | None, layer: TimeoutLayer | None, service_s: float | None
    ) -> None:
        call.over = True
        if call.timer is not None:
            call.timer.cancel()
        now, planned = self._time.now, call.planned
        kind = kind_of(planned.tool, expert=planned.phase.expert)
        self._run.calls.append(
            Call(
                body=Body.SIMULATED,
                scenario=self._scenario.name,
                phase=planned.phase.phase,
                session=f"client-{planned.client}",
                tool=planned.tool,
                provider=provider_of(planned.tool, kind, planned.phase.model),
                model=planned.phase.model,
                expert=planned.phase.expert,
                call_key_hash=None if planned.call_key is None else key_hash(planned.call_key),
                trace_id=planned.trace_id,
                request_id=call.request_id,
                attempts=call.attempts,
                intended_at=planned.at,
                sent_at=call.sent_at,
                acked_at=call.acked_at,
                finished_at=now,
                outcome=outcome,
                status=status,
                timeout_layer=layer,
                latency_s=now - planned.at,
                service_s=service_s,
                retry_wait_s=call.retry_wait_s,
                first_heartbeat_s=None,
                max_heartbeat_gap_s=None,
                faults=tuple(self._active),
            )
        )
        if call.ended is not None:
            call.ended(now)

    # --- faults ------------------------------------------------------------------------------------------------------

    def _place_faults(self) -> Iterator[str]:
        """Set the faults on their moments; yield those that the model leaves out."""
        for fault in self._scenario.faults:
            act = self._carried(fault)
            if act is None:
                yield f"fault {fault.title}: the model does not carry it"
                continue
            begin, end = act
            self._time.call_at(fault.at, lambda begin=begin, name=fault.title: self._fault(begin, name, on=True))  # type: ignore[misc]
            at = fault.at + (fault.duration or 0.0)
            self._time.call_at(at, lambda end=end, name=fault.title: self._fault(end, name, on=False))  # type: ignore[misc]
        for phase in self._scenario.load:
            if phase.behaviour is not None:
                yield f"behaviour of phase {phase.phase}: the model's clients only wait"

    def _fault(self, act: Callable[[], None], name: str, *, on: bool) -> None:
        act()
        if on:
            self._active.append(name)
        else:
            self._active.remove(name)

    def _carried(self, fault: Fault) -> tuple[Callable[[], None], Callable[[], None]] | None:
        """Return how a fault begins and ends; None if the model does not carry it."""
        if fault.provider is not None:
            if fault.provider.latency is not None or fault.provider.mode == "drip":
                return None
            model = self._providers[fault.provider.name]
            change = fault.provider
            return lambda: model.change(change), lambda: model.change(None)
        if fault.link is None or not fault.link.startswith("daemon-provider:") or fault.toxicity < 1:
            return None
        model = self._providers[fault.link.partition(":")[2]]
        if fault.toxic == "down":
            return lambda: setattr(model, "down", True), lambda: setattr(model, "down", False)
        if isinstance(fault.toxic, Toxic) and fault.toxic.latency is not None:
            added_s = fault.toxic.latency.latency * (2 if fault.stream == "both" else 1)
            return lambda: setattr(model, "added_s", added_s), lambda: setattr(model, "added_s", 0.0)
        return None
