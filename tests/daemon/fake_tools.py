"""Tools that do what a test says: wait to be released, swallow cancellation, raise, return much, sleep."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from reference_daemon.policy.events import CallKind
from reference_daemon.server.context import ArgumentError, CallContext, CallPlan

Arguments = Mapping[str, Any]
Work = Callable[[Arguments, CallContext], Awaitable[Sequence[str]]]


class FakeTool:
    """A tool whose work is a function.

    Attributes:
        starts: The contexts of the calls that started, in order.
        running: Calls whose work runs now.
        most_running: The most that ever ran at once.
        release: Lets go of work that waits for it.
    """

    description = "A tool of the tests."
    input_schema: Mapping[str, Any] = {"type": "object"}

    def __init__(
        self, name: str, work: Work | None = None, *, provider: str | None = None, kind: CallKind = CallKind.CHAT
    ) -> None:
        """Do `work`; without one, wait for `release` and return the argument `text`."""
        self.name = name
        self._work = work if work is not None else self._held
        self._plan = CallPlan(kind, provider=provider, model="a-model" if provider else None)
        self.starts: asyncio.Queue[CallContext] = asyncio.Queue()
        self.running = self.most_running = self.ran = 0
        self.release = asyncio.Event()

    def parse(self, arguments: Arguments) -> Arguments:
        """Refuse the argument `unfit`, take any other."""
        if "unfit" in arguments:
            raise ArgumentError("unfit", "must not be there")
        return arguments

    def plan(self, arguments: Arguments) -> CallPlan:
        """Return the plan that this tool was made with."""
        return self._plan

    async def run(self, arguments: Arguments, context: CallContext) -> Sequence[str]:
        """Do the work, and count it."""
        self.starts.put_nowait(context)
        self.ran += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._work(arguments, context)
        finally:
            self.running -= 1

    async def _held(self, arguments: Arguments, context: CallContext) -> Sequence[str]:
        await self.release.wait()
        return [arguments.get("text", "done")]


class StubbornTool(FakeTool):
    """A tool that swallows cancellation, and goes on until it is released."""

    def __init__(self, name: str, **plan: Any) -> None:
        """Be stubborn."""
        super().__init__(name, self._stubborn, **plan)

    async def _stubborn(self, arguments: Arguments, context: CallContext) -> Sequence[str]:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        return ["late"]


async def asleep(arguments: Arguments, context: CallContext) -> Sequence[str]:
    """Sleep for `s` seconds of the daemon's clock."""
    await context.clock.sleep(arguments["s"])
    return ["slept"]


async def echo(arguments: Arguments, context: CallContext) -> Sequence[str]:
    """Return the argument `text` at once."""
    return [arguments.get("text", "echo")]


async def many_bytes(arguments: Arguments, context: CallContext) -> Sequence[str]:
    """Return `n` bytes of text."""
    return ["x" * arguments["n"]]


def raising(raised: Callable[[], BaseException]) -> Work:
    """Return work that raises what `raised` makes."""

    async def work(arguments: Arguments, context: CallContext) -> Sequence[str]:
        raise raised()

    return work


def the_tools() -> dict[str, FakeTool]:
    """Return the tools that a daemon of these tests has unless it is given others."""
    tools = [
        FakeTool("hold"),
        FakeTool("held_chat", provider="GLM"),
        StubbornTool("stubborn"),
        FakeTool("sleep", asleep),
        FakeTool("echo", echo),
        FakeTool("many_bytes", many_bytes),
    ]
    return {tool.name: tool for tool in tools}
