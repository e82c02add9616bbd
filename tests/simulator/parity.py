"""One script of events, performed by the daemon's asyncio shell and by the model; what clients saw of each.

Both start at moment 0. The shell's event loop has a virtual clock that jumps from timer to timer, and every moment and
duration of a script is a multiple of 2 ** -24 s, so that sums are exact and both bodies must agree to the last bit.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final, cast

import msgspec
from structlog.testing import capture_logs

from reference_daemon import wire
from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.link import Link
from reference_daemon.observability.metrics import Metrics
from reference_daemon.policy.deadlines import expert_request_s
from reference_daemon.policy.events import CallArrived, CallId, CallKey, CallKind, RequestId, SessionId
from reference_daemon.providers.errors import Failure, ProviderFailedError
from reference_daemon.server.context import CallContext, CallPlan
from reference_daemon.sessions import Session
from reference_daemon.settings import Settings
from scenarios.model import Errors, Provider
from simulator.model.daemon import Answer, DaemonModel
from simulator.model.provider import ProviderModel
from simulator.model.virtual_time import VirtualTime

TICK_S: Final = 2.0**-24
LONGEST_S: Final = 256.0
"""Longest execution: a power of two, so that draw times this is exact."""
FAILING: Final = 0.2
"""Share of executions that fail."""

SETTINGS: Final[Mapping[str, object]] = {
    "EXAI_WS_GLOBAL_MAX_INFLIGHT": 5,
    "EXAI_WS_SESSION_MAX_INFLIGHT": 3,
    "EXAI_WS_TOOL_MAX_INFLIGHT": "analyze=2,chat=3",
    "EXAI_WS_<PROVIDER>_MAX_INFLIGHT": {"GLM": 3, "KIMI": 2},
    "EXAI_WS_INFLIGHT_TTL_SECS": 20,
    "EXAI_WS_RESULT_TTL": 150,
    "EXAI_WS_DRAIN_GRACE_SECS": 30,
    "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS": "analyze",
}
PLANS: Final = {
    "analyze": CallPlan(CallKind.EXPERT, "GLM", "a-model"),
    "chat": CallPlan(CallKind.CHAT, "GLM", "a-model"),
    "kimi": CallPlan(CallKind.CHAT, "KIMI", "a-model"),
    "review": CallPlan(CallKind.STEP),
    "version": CallPlan(CallKind.LOCAL),
}


@dataclass(frozen=True)
class Event:
    """Something that a client does.

    Attributes:
        at: When.
        what: "call", "cancel", "attach", "close" or "drain".
        session: Whose session.
        request: request_id.
        tool: Of a call.
        key: Of a call or an attach; None: a call without one.
        draw: The work of a call: equal draws are equal work.
        timeout_s: What the client of a call will still wait; None: it does not say.
    """

    at: float
    what: str
    session: str = ""
    request: str = ""
    tool: str = ""
    key: str | None = None
    draw: float = 0.0
    timeout_s: float | None = None


Seen = dict[tuple[str, str], list[tuple[object, ...]]]
"""What came for each request: moment, code, status, retry_after, scope, replayed, duration; or moment and "ack"."""


def a_script(seed: int, length: int = 80) -> list[Event]:
    """Return events in which everything happens: full pools, duplicates, takeovers, replays, cancels, late calls."""
    chance = Random(f"parity/{seed}")

    def ticks(longest_s: float) -> float:
        return (1 + chance.randrange(int(longest_s / TICK_S))) * TICK_S

    works = [chance.randrange(1, int(LONGEST_S / TICK_S)) * TICK_S / LONGEST_S for _ in range(4)]
    events, at, gone = [], 0.0, set[str]()
    for number in range(length):
        at += ticks(chance.choice([2, 10, 40]))
        what = chance.choices(["call", "cancel", "attach", "close"], [80, 7, 8, 3])[0]
        session = chance.choice([name for name in "abcdefgh" if name not in gone][:4])
        if what == "close":
            gone.add(session)
            if len(gone) == 5:
                break
        events.append(
            Event(
                at,
                what,
                session,
                f"r{chance.randrange(max(number - 8, 0), number + 1)}"
                if what == "cancel"
                else f"r{number - (chance.random() < 0.03)}",
                chance.choices(list(PLANS), [4, 4, 3, 1, 1])[0],
                chance.choice([None, *"pqrs", f"key-{number}", f"key-{number}"]),
                chance.choice([*works, ticks(LONGEST_S / 2) / LONGEST_S, ticks(LONGEST_S / 8) / LONGEST_S]),
                chance.choice([None, None, ticks(8), ticks(60)]),
            )
        )
    if chance.random() < 0.5:
        events.append(Event(at + ticks(10), "drain"))
        events.append(Event(events[-1].at + ticks(20), "call", "h", "last", "chat", "new", 0.25))
    return events


# --- the daemon's shell ----------------------------------------------------------------------------------------------


class _Jump(selectors.DefaultSelector):
    """A selector that waits for nothing: the clock jumps to the next timer instead."""

    jump: Callable[[], None]

    def select(self, timeout: float | None = None) -> Any:
        """Jump if there is nothing else to do."""
        if timeout is None or timeout > 0.0:
            self.jump()
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0 and moves to the very moment of each timer."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._at = 0.0
        selector = _Jump()
        selector.jump = self._jump
        super().__init__(selector)

    def time(self) -> float:
        """Return the moment."""
        return self._at

    def _jump(self) -> None:
        timers: list[asyncio.TimerHandle] = getattr(self, "_scheduled")  # noqa: B009 - typeshed does not know it
        assert timers, "nothing is left to come, and somebody waits"
        self._at = max(self._at, timers[0].when())


class _Tool:
    """A tool that asks a provider which takes as long as the draw says."""

    description, input_schema = "A tool.", {"type": "object"}

    def __init__(self, name: str) -> None:
        self.name, self._plan = name, PLANS[name]

    def parse(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return arguments

    def plan(self, arguments: Any) -> CallPlan:
        return self._plan

    async def run(self, arguments: Any, context: CallContext) -> Sequence[str]:
        provider, draw = self._plan.provider, arguments["draw"]
        if provider is None:
            return ["done"]
        work_s = draw * LONGEST_S
        if self._plan.kind is CallKind.EXPERT:
            budget_s = expert_request_s(context.expert_budget_s, context.remaining_s())
            if work_s >= budget_s:
                await context.clock.sleep(budget_s)
                return ["the findings so far"]
        await context.clock.sleep(work_s)
        if Random(draw).random() < FAILING:
            raise ProviderFailedError(provider, 500, None, next(iter(Failure)))
        return ["done"]


@dataclass
class _Socket:
    """A connection that keeps what is posted while it is open."""

    clock: Clock
    session: str
    seen: Seen
    beats: dict[tuple[str, str], list[float]]
    open: bool = True
    congested: bool = False

    def post(self, frame: bytes) -> None:
        if not self.open:
            return
        reply = msgspec.json.decode(frame, type=wire.Reply)
        key = self.session, getattr(reply, "request_id", None) or ""
        if isinstance(reply, wire.Progress):
            self.beats.setdefault(key, []).append(self.clock.now())
        else:
            self.seen.setdefault(key, []).append(_described(self.clock.now(), reply))


def _described(at: float, reply: object) -> tuple[object, ...]:
    if isinstance(reply, wire.CallToolAck):
        return at, "ack"
    if isinstance(reply, wire.ErrorFrame):
        return at, reply.code, reply.status, reply.retry_after, reply.scope, False, 0.0
    assert isinstance(reply, wire.CallToolReply)
    why = reply.error
    if why is None:
        return at, None, 200, None, None, reply.replayed, reply.duration
    retry_after = why.retry_after if why.code in {"OVER_CAPACITY", "DRAINING"} else None
    return at, why.code, why.status, retry_after, why.scope, reply.replayed, reply.duration


@dataclass
class Performed:
    """What became of a script.

    Attributes:
        seen: What came for each request.
        beats: When heartbeats came for each request.
        left: Slots, keys and sessions that are still held at the end.
    """

    seen: Seen = field(default_factory=dict)
    beats: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    left: tuple[object, ...] = ()


def by_the_shell(script: Sequence[Event], settings: Settings) -> Performed:
    """Perform a script with the daemon's own classes on a virtual clock."""
    loop = VirtualLoop()
    try:
        with capture_logs():
            return loop.run_until_complete(_in_shell(script, settings, loop))
    finally:
        loop.close()


async def _in_shell(script: Sequence[Event], settings: Settings, loop: VirtualLoop) -> Performed:
    clock, done = Clock(monotonic=loop.time), Performed()
    calls = Calls(settings, {name: _Tool(name) for name in PLANS}, clock, Metrics(None))
    sessions: dict[str, Session] = {}
    drains: list[Awaitable[None]] = []
    for event in script:
        await asyncio.sleep(event.at - clock.now())
        if event.session not in sessions:
            socket = _Socket(clock, event.session, done.seen, done.beats)
            sessions[event.session] = Session(SessionId(event.session), cast("Link", socket), "", 0.0)
        session = sessions[event.session]
        if event.what == "call":
            arguments = {"draw": event.draw}
            frame = wire.CallTool(event.request, event.tool, arguments, event.key, "0" * 32, event.timeout_s)
            calls.call_tool(session, frame, 100)
        elif event.what == "cancel":
            calls.cancel(session, wire.Cancel(event.request))
        elif event.what == "attach":
            calls.attach(session, wire.Attach(event.request, event.key or "no such key"))
        elif event.what == "close":
            cast("_Socket", session.link).open = False
            calls.session_closed(session)
        else:
            drains.append(asyncio.ensure_future(calls.drain()))
    await asyncio.gather(*drains)
    await calls.wait_until_idle()
    snapshot = calls.snapshot()
    done.left = snapshot.total, snapshot.sessions, snapshot.live_keys
    return done


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass
class _Ear:
    """Who waits for a request in the model."""

    time: VirtualTime
    seen: list[tuple[object, ...]]
    gone: set[str]
    session: str
    timeout_s: float | None = None

    def acked(self, now: float) -> None:
        assert now == self.time.now
        self.seen.append((self.time.now, "ack"))

    def answered(self, answer: Answer) -> None:
        if self.session in self.gone:
            return
        advice = None if answer.retry_after_s is None else round(answer.retry_after_s, 3)
        self.seen.append(
            (
                self.time.now,
                answer.code,
                answer.status,
                advice,
                answer.scope,
                answer.replayed,
                round(answer.duration_s, 4),
            )
        )


def by_the_model(
    script: Sequence[Event], settings: Settings, make: Callable[..., DaemonModel] = DaemonModel
) -> tuple[Performed, DaemonModel]:
    """Perform a script with the model; `make` makes its daemon."""
    time, done = VirtualTime(), Performed()
    spread: dict[str, object] = {"uniform": {"low": 0.0, "high": LONGEST_S}}
    provider = Provider(latency=spread, concurrency=1_000_000, errors=Errors(rate=FAILING))
    providers = {name: ProviderModel(name, provider, time) for name in ("GLM", "KIMI")}
    daemon = make(settings.policy(), providers, time)
    gone: set[str] = set()
    numbers = iter(range(1, len(script) + 1))

    def act(event: Event, _: object) -> None:
        seen = done.seen.setdefault((event.session, event.request), [])
        ear = _Ear(time, seen, gone, event.session)
        session, request = SessionId(event.session), RequestId(event.request)
        if event.what == "call":
            daemon.call(_arrived(event, next(numbers)), event.draw, ear)
        elif event.what == "cancel" and not daemon.cancel(session, request):
            seen.append((time.now, "UNKNOWN_CALL", 404, None, None, False, 0.0))
        elif event.what == "attach":
            daemon.attach(session, request, CallKey(event.key or "no such key"), ear)
        elif event.what == "close":
            gone.add(event.session)
            daemon.session_closed(session)
        elif event.what == "drain":
            daemon.drain()

    for event in script:
        time.call_at(event.at, partial(act, event))
    time.run()
    snapshot = daemon._policy.snapshot()
    done.left = snapshot.total, snapshot.sessions, snapshot.live_keys
    return done, daemon


def _arrived(event: Event, number: int) -> CallArrived:
    """Return the event for the policy, with keys of the model's own: only which of them are equal matters."""
    plan, work = PLANS[event.tool], f"{event.tool} {event.draw}"
    own = None if event.tool == "analyze" else f"derived from {work}"
    key = event.key if event.key is not None else own
    return CallArrived(
        CallId(number),
        SessionId(event.session),
        RequestId(event.request),
        None if key is None else CallKey(key),
        event.key is not None,
        b"" if key is None else work.encode(),
        event.tool,
        plan.provider,
        plan.kind,
        event.timeout_s,
    )
