"""A load against a scripted daemon in virtual time: hand-made calls, exact moments."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest

from chaos.load.driver import LoadDriver
from reference_daemon import channel
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent
from scenarios.history import Call
from scenarios.model import Scenario
from scenarios.model_load import Phase
from scenarios.workload import PlannedCall, Workload
from tests.client.scripted import Action, MemoryLink, ScriptedDaemon, ack

Kind = TypeVar("Kind", bound=AnyEvent)
LEAD_S = 1.0
"""From the making of the driver to the load's start."""


def a_phase(**changes: Any) -> Phase:
    """Return a phase of open calls with the given keys changed."""
    keys = {"phase": "steady", "duration": 100, "arrivals": {"uniform": {"gap": 1}}, "mix": {"chat": 1}}
    return Phase.model_validate(keys | changes)


def a_scenario(*phases: Phase, **changes: Any) -> Scenario:
    """Return a scenario with these phases and the given keys changed."""
    keys = {
        "name": "made-up",
        "title": "A load of a test",
        "providers": {"GLM": {"latency": {"constant": {"value": 1}}}},
        "load": [phase.model_dump(exclude_none=True) for phase in phases],
        "expect": [{"metric": "calls", "min": 1}],
    }
    return Scenario.model_validate(keys | changes)


def a_call(number: int, at: float, phase: Phase, **changes: Any) -> PlannedCall:
    """Return a call of client 0 with the given attributes changed."""
    facts: dict[str, Any] = {
        "client": 0,
        "user": None,
        "tool": "chat",
        "draw": 0.5,
        "call_key": f"key-{number}",
        "trace_id": f"{number + 1:032x}",
        "nonce": f"{number:016x}",
    }
    return PlannedCall(number=number, phase=phase, at=at, **facts | changes)


@dataclass
class FakeWorkload:
    """Calls that a test made by hand.

    Attributes:
        opened: Calls of open phases, in order.
        users: For each user of closed phases, tools of its calls and the seconds of thinking before each.
        phase: Phase of the users.
        asked: User and moment of each question for a next call.
    """

    opened: list[PlannedCall] = field(default_factory=list)
    users: list[list[float]] = field(default_factory=list)
    phase: Phase | None = None
    asked: list[tuple[int, float]] = field(default_factory=list)

    def open_calls(self) -> Iterator[PlannedCall]:
        """Return the calls."""
        return iter(self.opened)

    def closed_users(self) -> Iterator[tuple[Phase, int]]:
        """Return the users."""
        return ((cast("Phase", self.phase), user) for user in range(len(self.users)))

    def next_call(self, user: int, now: float) -> PlannedCall | None:
        """Return a user's next call."""
        self.asked.append((user, now))
        if not self.users[user]:
            return None
        number = 1000 + len(self.asked)
        return a_call(number, now + self.users[user].pop(0), cast("Phase", self.phase), user=user)


@dataclass
class Load:
    """A driver, and what it told.

    Attributes:
        driver: The driver.
        events: What it noted.
        told: The rows that it told as they ended.
    """

    driver: LoadDriver
    events: list[AnyEvent]
    told: list[Call]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def run(self) -> list[Call]:
        """Connect, run, close, and return the rows."""
        await self.driver.connect()
        try:
            await self.driver.run()
        finally:
            await self.driver.close()
        return self.driver.calls


MakeLoad = Callable[..., Load]


def later(delay_s: float, action: Action) -> Action:
    """Return what a scripted daemon does with a call: admit it, and act so many seconds later."""

    def act(link: MemoryLink, frame: Any) -> None:
        ack(link, frame)
        asyncio.get_running_loop().call_later(delay_s, action, link, frame)

    return act


@pytest.fixture
async def clock() -> Clock:
    """The test loop's own time."""
    return Clock(monotonic=asyncio.get_running_loop().time)


@pytest.fixture
async def daemon(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedDaemon]:
    """A daemon that does what the test says, where every client connects to."""
    scripted = ScriptedDaemon(clock)
    monkeypatch.setattr(channel, "_connect", scripted.connect)
    yield scripted
    assert asyncio.all_tasks() - {asyncio.current_task()} == set(), "the load left tasks behind"


@pytest.fixture
def make_load(clock: Clock, daemon: ScriptedDaemon) -> MakeLoad:
    """Return a function that makes a driver of hand-made calls, whose load starts a second later."""

    def make(workload: FakeWorkload, scenario: Scenario, *, faults: Callable[[], tuple[str, ...]] = tuple) -> Load:
        events: list[AnyEvent] = []
        told: list[Call] = []
        driver = LoadDriver(
            scenario,
            cast("Workload", workload),
            url="ws://127.0.0.1:1",
            clock=clock,
            start_at=clock.now() + LEAD_S,
            note=events.append,
            active_faults=faults,
            client_timeout_s=180.0,
            on_call=told.append,
        )
        return Load(driver, events, told)

    return make
