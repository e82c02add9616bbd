"""An event loop on a virtual clock: no selector, no sockets, no waiting, and an order of callbacks that a seed decides.

When nothing is ready, time jumps to the next timer. Time moves in ticks of 1/1024 s, so that moments and their
differences are exact in binary: rules with no tolerance compare them. What is due at one moment runs in an order that
the seed draws, as on a real machine nobody can say which socket is ready first. In a *wild* run the order of all
callbacks of a turn is drawn: more than asyncio does, and what code that waits for what it needs must stand.

Whoever runs in a process of its own has a `BODY`, which its tasks, timers and callbacks inherit. `kill` is what SIGKILL
does: nothing of that body runs from then on, not even a `finally`.
"""

import asyncio
import heapq
import math
from asyncio import events
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final, cast

from tests.explore.network import Network

TICKS: Final = 1024
"""Ticks of a virtual second."""

MOST_TURNS: Final = 400_000
"""Turns of the loop after which a run is called endless; a long one has 20,000."""

BODY: Final[ContextVar[str]] = ContextVar("body", default="")
"""Whose code runs: a client's label, or a start of the daemon."""


class _Task(asyncio.Task[Any]):
    """A task that is hashed by its number, not by where it lies in memory: so that sets of tasks have one order."""

    def __init__(self, coro: Coroutine[Any, Any, Any], number: int, **more: Any) -> None:
        self.number = number  # first, for asyncio keeps the task in a set of its own as it is made
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Future(asyncio.Future[Any]):
    """The same for futures."""

    def __init__(self, number: int, **more: Any) -> None:
        self.number = number
        super().__init__(**more)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class StuckError(Exception):
    """A run cannot go on: nothing is ready and no timer is set, or it never ends."""


def context_of(body: str) -> Context:
    """Return a context in which code runs as `body`."""
    context = copy_context()
    context.run(BODY.set, body)
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop.

    Attributes:
        network: The sockets of everybody on it.
        turns: How often it went round.
        complaints: What was told to its exception handler: a task whose error nobody saw, for example.
    """

    def __init__(self, chance: Random, network: Network, *, wild: bool = False) -> None:
        """Draw orders from `chance`."""
        super().__init__()
        self.network = network
        self.turns = 0
        self.complaints: list[str] = []
        self._chance, self._wild = chance, wild
        self._ticks = 0
        self._dead: set[str] = set()
        self._parked: list[events.Handle] = []
        self._tasks_of: dict[str, list[asyncio.Task[Any]]] = {}
        self._made = 0
        network.bind(self, BODY.get)
        self.set_exception_handler(self._complain)
        self.set_task_factory(cast("Any", self._make_task))

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time, in seconds from 0."""
        return self._ticks / TICKS

    def _process_events(self, event_list: object) -> None:
        """Have no events: all comes as callbacks."""

    def _write_to_self(self) -> None:
        """Wake nobody: there is one thread."""

    async def create_connection(self, factory: Any, host: str = "", port: int = 0, **_: Any) -> Any:  # type: ignore[override]
        """Connect to a server of this network."""
        return await self.network.connect(factory, port)

    async def create_server(self, factory: Any, host: Any = None, port: int = 0, **_: Any) -> Any:  # type: ignore[override]
        """Listen."""
        return self.network.listen(factory, port)

    def _run_once(self) -> None:
        """Go round once: let what is due be ready, and run what is ready."""
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise StuckError(f"no end after {MOST_TURNS} turns")
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not scheduled:
                raise StuckError("nothing is ready, and no timer is set")
            self._ticks = max(self._ticks, math.ceil(scheduled[0]._when * TICKS))
        turn = [*ready, *self._due(scheduled)]
        ready.clear()
        if self._wild and len(turn) > 1:
            self._chance.shuffle(turn)
        for handle in turn:
            if not handle._cancelled:
                if self._dead and handle._context.get(BODY, "") in self._dead:
                    self._parked.append(handle)
                else:
                    handle._run()

    def _due(self, scheduled: list[events.TimerHandle]) -> list[events.TimerHandle]:
        """Take out the timers whose moment has come, in an order that is drawn."""
        due: list[events.TimerHandle] = []
        while scheduled and scheduled[0]._when * TICKS <= self._ticks:  # type: ignore[attr-defined]
            handle = heapq.heappop(scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]
            if not handle._cancelled:
                due.append(handle)
        if len(due) > 1:
            self._chance.shuffle(due)
        return due

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any) -> Any:
        context = more.get("context")
        self._made += 1
        task = _Task(coro, self._made, loop=loop, **more)
        body = BODY.get() if context is None else context.get(BODY, "")
        self._tasks_of.setdefault(body, []).append(task)
        return task

    def _complain(self, _loop: asyncio.AbstractEventLoop, facts: dict[str, Any]) -> None:
        error = facts.get("exception")
        self.complaints.append(f"{facts.get('message')}: {error!r}" if error else str(facts.get("message")))

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future with a number of its own."""
        self._made += 1
        return _Future(self._made, loop=self)

    # --- bodies ------------------------------------------------------------------------------------------------------

    def kill(self, body: str) -> None:
        """End a body at once, as SIGKILL does; its connections break."""
        self._dead.add(body)
        self.network.break_all(body)

    def tasks_of(self, body: str) -> list[asyncio.Task[Any]]:
        """Return the tasks of a body that are not done."""
        return [task for task in self._tasks_of.get(body, ()) if not task.done()]

    def timers_of(self, body: str) -> list[events.TimerHandle]:
        """Return the timers of a body that are set."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        return [timer for timer in scheduled if not timer._cancelled and timer._context.get(BODY, "") == body]

    def end_everything(self) -> None:
        """Let everybody, the dead too, run until all tasks have ended: nothing of this run may be left in Python."""
        self._dead.clear()
        self._ready.extend(self._parked)  # type: ignore[attr-defined]
        self._parked.clear()
        for body in list(self._tasks_of):
            self.network.break_all(body)
        self.turns = 0
        for _ in range(8):
            left = [task for tasks in self._tasks_of.values() for task in tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.wait(left, timeout=30.0))
        self._tasks_of.clear()
        self.network.forget()
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()
