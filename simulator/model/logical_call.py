"""A logical call at its client: its attempts, and what became of it. The rules of retry are the client's own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final, cast

from reference_daemon.policy.events import CallArrived, CallId, CallKey, CallKind, RequestId, SessionId
from reference_daemon.policy.retry import RetryAt, RetryPolicy
from scenarios.history import Outcome, TimeoutLayer
from scenarios.model_load import Phase
from scenarios.workload import PlannedCall
from simulator.model.census import Census
from simulator.model.daemon import Answer, DaemonModel
from simulator.model.virtual_time import Timer, VirtualTime

GRACE_S: Final = 1.0
"""Seconds that a client waits beyond what it tells the daemon, as the reference client does."""

LEAST_TIMEOUT_S: Final = 0.1
"""Seconds that the daemon is given at least, as the reference client does."""

# Members of an enumeration that every call needs: to look one up costs as much as to call a function.
_OK, _REPLAYED = Outcome.OK, Outcome.REPLAYED

_key_of: Final = cast("Callable[[int], CallKey]", str)
"""Makes the key of a call that means something of its own: its number."""

_new = tuple.__new__
"""Makes a named tuple from all of its fields, in half of the time that its own constructor takes."""

_OUTCOMES: Final = {
    "OVER_CAPACITY": Outcome.OVER_CAPACITY,
    "DUPLICATE": Outcome.DUPLICATE,
    "CANCELLED": Outcome.CANCELLED,
    "KEY_REUSED": Outcome.KEY_REUSED,
    "SUPERSEDED": Outcome.SUPERSEDED,
    "DRAINING": Outcome.DRAINING,
    "INTERRUPTED": Outcome.INTERRUPTED,
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


@dataclass(slots=True, eq=False)
class Kind:
    """What the calls of one phase with one tool have in common.

    Attributes:
        phase: The phase.
        tool: The tool.
        kind: The daemon's word for it.
        provider: Whose slot it needs.
        timeout_s: Seconds that its client waits.
        key: Key of all of them; None where each has its own, or none.
        keyed: Whether they have keys.
        explicit: Whether the clients send them.
        copies: Further copies of each call that are sent with it.
    """

    phase: Phase
    tool: str
    kind: CallKind
    provider: str | None
    timeout_s: float
    key: CallKey | None
    keyed: bool
    explicit: bool
    copies: int


@dataclass(slots=True, eq=False)
class Client:
    """A client of the load.

    Attributes:
        session_id: The daemon's word for its connection.
        chance: Source of its jitter, the same as in a drill.
    """

    session_id: SessionId
    chance: Random


@dataclass(slots=True, eq=False)
class World:
    """What all logical calls of a run share.

    Attributes:
        time: The clock.
        daemon: The daemon that serves now.
        retry: When clients try again.
        call_ids: Gives each attempt its number.
        request_ids: Gives each request its id.
        ended: The calls that are over, in the order in which they ended.
        census: The calls that are not over.
    """

    time: VirtualTime
    daemon: DaemonModel
    retry: RetryPolicy
    call_ids: Iterator[CallId] = field(default_factory=lambda: cast("Iterator[CallId]", count(1)))
    request_ids: Iterator[RequestId] = field(default_factory=lambda: (cast("RequestId", f"r{n}") for n in count(1)))
    ended: "list[LogicalCall]" = field(default_factory=list)
    census: Census = field(default_factory=Census)


class LogicalCall:
    """One logical call over a line that nothing disturbs.

    Attributes:
        world: What it shares with the others.
        kind: What it has in common with others like it.
        client: Who makes it.
        number: Its number.
        key: Its key, if it has one.
        planned: The call as it was planned, if it is one of a closed phase.
        copy: 0, or the number of this copy of it.
        then: Called when it is over.
        at: When it was to begin.
        draw: Fixes how long its provider takes.
        deadline_at: When its client gives up.
        attempts: Times that it was sent.
        refused: Times that it was answered 429.
        request_id: Of the last attempt.
        sent_at: When it was first sent.
        acked_at: When it was last admitted.
        retry_wait_s: Time that it spent waiting for another attempt.
        finished_at: When it was over; None before.
        outcome: How it ended.
        status: Status of the error.
        layer: Whose patience ended.
        service_s: Duration as the daemon measured it.
        lost: Losses of its connection: when it was lost, and when the call was found again.
    """

    # Most calls keep these for long, or to their end.
    attempts = 0
    refused = 0
    retry_wait_s = 0.0
    outcome = Outcome.UNKNOWN
    request_id: RequestId | None = None
    sent_at: float | None = None
    acked_at: float | None = None
    finished_at: float | None = None
    service_s: float | None = None
    status: int | None = None
    layer: TimeoutLayer | None = None
    lost: tuple[tuple[float, float], ...] = ()
    planned: PlannedCall | None = None
    copy = 0
    then: Callable[[float], None] | None = None
    _timer: Timer | None = None

    def __init__(self, world: World, kind: Kind, client: Client, at: float, draw: float, number: int) -> None:
        """Be one of the calls of an open phase; what else it may be is set before it begins."""
        self.world, self.kind, self.client, self.at, self.draw, self.number = world, kind, client, at, draw, number
        self.key = kind.key if kind.key is not None or not kind.keyed else _key_of(number)
        self.deadline_at = at + kind.timeout_s

    def begin(self) -> None:
        """Send it."""
        self.world.census.enter(self.at)
        self.attempt(None)

    def attempt(self, _: object) -> None:
        """Send it once more."""
        world = self.world
        now, deadline_at = world.time.now, self.deadline_at
        if now + LEAST_TIMEOUT_S >= deadline_at:  # else the daemon is the first to give up
            self._timer = world.time.call_at(deadline_at, self.give_up)
        world.daemon.call(self._arrival(now, self.client.session_id), self.draw, self)

    def _arrival(self, now: float, session_id: SessionId) -> CallArrived:
        """Return the next attempt, as the daemon sees it."""
        world, kind = self.world, self.kind
        self.attempts += 1
        if self.sent_at is None:
            self.sent_at = now
        self.request_id = request_id = next(world.request_ids)
        told_s = self.deadline_at - now - GRACE_S
        return _new(
            CallArrived,
            (
                next(world.call_ids),
                session_id,
                request_id,
                self.key,
                kind.explicit,
                b"",  # calls with the same key do the same work
                kind.tool,
                kind.provider,
                kind.kind,
                told_s if told_s > LEAST_TIMEOUT_S else LEAST_TIMEOUT_S,  # noqa: FURB136 - `max` costs a call
            ),
        )

    def acked(self, now: float) -> None:
        """It was admitted."""
        self.acked_at = now

    def answered(self, answer: Answer) -> None:
        """It has its answer: the end, or a wait for another attempt."""
        if self.finished_at is not None:
            return
        code = answer.code
        if code is None:
            self.service_s = answer.duration_s
            self.end(_REPLAYED if answer.replayed else _OK)
        else:
            self._refused(code, answer)

    def _refused(self, code: str, answer: Answer) -> None:
        """Try again, if the rules say so."""
        world, now = self.world, self.world.time.now
        self.service_s, self.status = answer.duration_s, answer.status
        if code == "OVER_CAPACITY":
            self.refused += 1
        decision = world.retry.after_refusal(
            code,
            answer.retry_after_s,
            attempt=self.attempts,
            now=now,
            deadline_at=self.deadline_at,
            draw=self.client.chance.random(),
        )
        if isinstance(decision, RetryAt):
            self.retry_wait_s += decision.at - now
            world.time.call_at(decision.at, self.attempt)
        else:
            self.end(_OUTCOMES.get(code, Outcome.ERROR), answer.status, _LAYERS.get(code))

    def give_up(self, _: object) -> None:
        """Its client's patience has ended."""
        if self.finished_at is None:
            session_id, request_id = self.client.session_id, self.request_id
            self.end(Outcome.TIMEOUT, None, TimeoutLayer.CLIENT)
            if request_id is not None:
                self.world.daemon.cancel(session_id, request_id)

    def end(self, outcome: Outcome, status: int | None = None, layer: TimeoutLayer | None = None) -> None:
        """Be over."""
        now = self.world.time.now
        self.finished_at, self.outcome, self.status, self.layer = now, outcome, status, layer
        if self._timer is not None:
            self._timer.cancel()
        self.world.census.leave(now, self.at)
        self.world.ended.append(self)
        if self.then is not None:
            self.then(now)
