"""A daemon of the probes' own, with small caps, rare heartbeats and a provider that answers when it is told to.

What takes minutes of luck under a load is one step here: a cap is full since three calls are held, a call is late since
nobody answers it, a key has lapsed since its time is half a second. Questions are put one after another; after each,
everything is let go.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from websockets.exceptions import ConnectionClosed

from chaos.environment import clean_environment
from chaos.probes.case import BOUND_S, MARKER, PROMPT_S, Case, NotAskedError, Seen
from chaos.probes.held_provider import HeldProvider
from chaos.probes.keys import fresh_key
from chaos.probes.raw import Answer, RawClient, Stopwatch, a_call, error_of, session
from chaos.probes.target import Target
from chaos.processes import Child, ChildFailedError, Children, Command

GLM_CAP: Final = 2
SESSION_CAP: Final = 3
TOOL_CAP: Final = 4
GLOBAL_CAP: Final = 5
KIMI_TOOL: Final = "kimi_chat_with_tools"
MISBEHAVE: Final = "misbehave"
"""The tool that does what no tool should, see `workbench_daemon`."""

HEARTBEAT_S: Final = 16.0
"""Seconds between heartbeats: so rare that a deadline which waits for one is seen to be late."""

KEY_TTL_S: Final = 10.0
"""Seconds after which the key of a call in flight has lapsed."""

GRACE_S: Final = 10.0
"""Seconds that calls in flight have when the daemon is told to end."""

RESULTS: Final = 20
"""Results that are kept at most."""

STUBBORN_S: Final = 12.0
"""Seconds that a tool works which ignores everything; its heartbeats are further apart."""

MOST_REPLACED: Final = 3
"""Times that a daemon is replaced which gets stuck."""

HELLO_S: Final = 200.0
"""Seconds that a connection may say nothing: so long that a crowd of them is there at once."""

SESSIONS: Final = 12
"""Sessions that are open at once at most."""

ZERO_WALL_S: Final = 1.0
"""Wall seconds within which every pool is at zero when nothing is in flight."""

_LOOK_EVERY_WALL_S: Final = 0.02
_KEY: Final = "held"
"""The provider takes any key."""

SETTINGS: Final[Mapping[str, str]] = {
    "EXAI_WS_GLOBAL_MAX_INFLIGHT": str(GLOBAL_CAP),
    "EXAI_WS_SESSION_MAX_INFLIGHT": str(SESSION_CAP),
    "EXAI_WS_TOOL_MAX_INFLIGHT": f"{KIMI_TOOL}={TOOL_CAP}",
    "EXAI_WS_GLM_MAX_INFLIGHT": str(GLM_CAP),
    "EXAI_WS_KIMI_MAX_INFLIGHT": str(GLOBAL_CAP),
    "EXPERT_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_S),
    "EXAI_WS_PROGRESS_INTERVAL_SECS": str(HEARTBEAT_S),
    "EXAI_WS_INFLIGHT_TTL_SECS": str(KEY_TTL_S),
    "EXAI_WS_DRAIN_GRACE_SECS": str(GRACE_S),
    "EXAI_WS_RESULT_MAX_ENTRIES": str(RESULTS),
    "EXAI_WS_MAX_SESSIONS": str(SESSIONS),
    "EXAI_WS_HELLO_TIMEOUT": str(HELLO_S),
    "LOG_FORMAT": "json",
}


class _Ready(msgspec.Struct, frozen=True):
    """What the daemon says once it serves."""

    port: int
    pid: int
    boot_id: str


@dataclass
class Workbench:
    """The daemon and its provider; `async with` runs them.

    Attributes:
        base: The target of the other questions, whose token and time it shares.
        provider: What answers the daemon.
        why_not: Why it does not run; None: it does.
    """

    base: Target
    provider: HeldProvider = field(init=False)
    why_not: str | None = field(default="it was not started", init=False)
    _ready: _Ready | None = field(default=None, init=False)
    _child: Child | None = field(default=None, init=False)
    _boots: int = field(default=0, init=False)
    _replaced: int = field(default=0, init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        """Start both; where that fails, every question says why it cannot be put."""
        self.provider = await self._stack.enter_async_context(HeldProvider())
        self._children = await self._stack.enter_async_context(Children(say=lambda _: None))
        scratch = tempfile.TemporaryDirectory(prefix="exai-bench-", ignore_cleanup_errors=True)
        self._scratch = Path(self._stack.enter_context(scratch))
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both."""
        self.provider.let_go()
        await self._stack.aclose()

    @property
    def target(self) -> Target:
        """The daemon as raw clients find it.

        Raises:
            NotAskedError: It does not run.
        """
        if self.why_not is not None or self._ready is None:
            raise NotAskedError(f"the probes' own daemon does not run: {self.why_not}")
        return replace(self.base, port=self._ready.port, embedded=True)

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        assert self._ready is not None  # noqa: S101 - whoever asks has its target
        return self._ready.pid

    # --- the daemon's process ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the daemon, again on its port if it had one."""
        if self.base.own_logs is None:
            self.why_not = "a foreign daemon's settings are not ours to choose"
            return
        self._boots += 1
        ready_file = self._scratch / f"ready-{self._boots}.json"
        defect = ["--defect", self.base.defect] if self.base.defect else []
        command = [sys.executable, "-m", "chaos.probes.workbench_daemon", *defect, "--"]
        try:
            self._child = await self._children.start(
                Command(
                    name="the probes' own daemon",
                    arguments=[*command, "daemon", "--ready-file", str(ready_file)],
                    environment=self._environment(),
                    log=self.base.own_logs / f"bench-{self._boots}.log",
                )
            )
            self._ready = await self._child.ready(ready_file, _Ready)
        except ChildFailedError as error:
            self.why_not = str(error)
            return
        self.why_not = None

    def _environment(self) -> dict[str, str]:
        assert self.base.own_logs is not None  # noqa: S101 - the caller looked
        empty = self._scratch / "empty.env"
        empty.touch()
        own = {
            "ENV_FILE": str(empty),
            "EXAI_WS_HOST": "127.0.0.1",
            "EXAI_WS_PORT": str(self._ready.port if self._ready else 0),
            "EXAI_TIME_SCALE": str(self.base.clock.scale),
            "EXAI_LOG_DIR": str(self.base.own_logs / f"bench-{self._boots}"),
        }
        if self.base.token is not None:
            own["EXAI_WS_TOKEN"] = self.base.token
        for name in ("GLM", "KIMI"):
            own |= {f"{name}_API_URL": self.provider.url(name), f"{name}_API_KEY": _KEY}
        return clean_environment(os.environ) | dict(SETTINGS) | own

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        assert self._child is not None  # noqa: S101 - whoever asks has its target
        self._child.signal(number)

    async def ended(self, *, bound_s: float) -> int | None:
        """Return the daemon's exit status; None if it has none within the bound."""
        assert self._child is not None  # noqa: S101 - the same
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                return await self._child.ended()
        return None

    # --- what questions need -----------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[RawClient]]:
        """Open so many sessions."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(session(self.target)) for _ in range(count)]

    def wall_s(self, seconds: float) -> float:
        """Return what so many unscaled seconds are on the wall."""
        return self.base.clock.wall_s(seconds)

    async def tidy(self) -> None:
        """Let go of everything and wait until nothing is in flight; a daemon that never gets there is replaced.

        What one question broke must not be in the way of all the others; but a daemon that is replaced after each of
        them says nothing new.
        """
        self.provider.open_up()  # a call may be on its way to it only now
        with contextlib.suppress(NotAskedError, OSError, TimeoutError, ConnectionClosed):
            async with session(self.target) as client:
                zero = await at_zero(client, within_s=ZERO_WALL_S + self.wall_s(STUBBORN_S))
            if not zero.held:
                await self._replace(zero.text)
        self.provider.at_once = None
        self.provider.most = len(self.provider.running)

    async def _replace(self, stuck: str) -> None:
        """Start the daemon afresh, unless that was done often enough."""
        self._replaced += 1
        if self._replaced > MOST_REPLACED:
            self.why_not = f"it was replaced {MOST_REPLACED} times, and is stuck again: {stuck}"
            return
        await self.end()
        await self.start()

    async def end(self) -> None:
        """End the daemon at once."""
        self.signal(signal.SIGKILL)
        await self.ended(bound_s=BOUND_S)


def at(
    bench: Workbench,
    rule: str,
    name: str,
    expected: str,
    ask: Callable[[Workbench], Awaitable[Seen]],
    *,
    bound_s: float = BOUND_S,
) -> Case:
    """Return a question that is put at the workbench."""
    return Case(rule, f"{name} (own daemon)", expected, partial(_ask, bench=bench, ask=ask), bound_s=bound_s)


async def _ask(_target: Target, *, bench: Workbench, ask: Callable[[Workbench], Awaitable[Seen]]) -> Seen:
    try:
        return await ask(bench)
    finally:
        await bench.tidy()


def chat(request_id: str, tool: str = "chat", *, prompt: str = "", **more: Any) -> Answer:
    """Return a call that asks a provider; each has a key of its own, unless one is named."""
    words = {"prompt": f"{MARKER} {prompt or request_id}"}
    return a_call(tool, request_id, words, **({"call_key": fresh_key()} | more))


def misbehave(request_id: str, wish: Mapping[str, object], **more: Any) -> Answer:
    """Return a call of the tool that does what no tool should."""
    return a_call(MISBEHAVE, request_id, wish, **({"call_key": fresh_key()} | more))


async def admitted(client: RawClient, call: Answer) -> Answer:
    """Send a call and return its ack.

    Raises:
        NotAskedError: It was not admitted.
    """
    answer, _ = await first_answer(client, call)
    if answer.get("op") != "call_tool_ack":
        raise NotAskedError(f"the call that was to run was not admitted: {error_of(answer)}")
    return answer


async def first_answer(client: RawClient, call: Mapping[str, Any]) -> tuple[Answer, float]:
    """Send a request; return its first answer and the wall seconds until then. Frames of others are dropped."""
    watch = Stopwatch()
    await client.send(call)
    while (frame := await client.receive()).get("request_id") != call["request_id"]:
        pass
    return frame, watch.s()


async def figures(client: RawClient) -> dict[str, int]:
    """Return what health says is in flight: in all under "", by pool under its name."""
    answer, _ = await first_answer(client, {"op": "health", "request_id": f"health-{fresh_key()}"})
    health = answer.get("health")
    if not isinstance(health, dict):
        return {}
    shown = {"": int(health.get("global_inflight", -1))}
    for kind in ("tools", "providers"):
        pools = health.get(kind) or {}
        shown |= {f"{kind}:{name}": int(pool.get("inflight", -1)) for name, pool in pools.items()}
    return shown


async def at_zero(client: RawClient, *, within_s: float = ZERO_WALL_S) -> Seen:
    """Judge whether every pool gets to zero in time."""
    watch = Stopwatch()
    while True:
        held = {name or "all": number for name, number in (await figures(client)).items() if number}
        if not held:
            return Seen("every pool is at zero", held=True)
        if watch.s() > within_s:
            text = ", ".join(f"{name} {number}" for name, number in held.items())
            return Seen(f"after {within_s:g} s still in use: {text}", held=False)
        await asyncio.sleep(_LOOK_EVERY_WALL_S)


def soon(text: str, took_s: float, *, right: bool, bound_s: float = PROMPT_S) -> Seen:
    """Judge what had to be right and soon."""
    late = took_s > bound_s
    return Seen(f"{text}, {took_s * 1000:.0f} ms", right and not late, late=right and late)
