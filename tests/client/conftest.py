"""A client and a scripted daemon in virtual time; after each test nothing of them is left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from reference_daemon import channel
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from tests.client.scripted import Draws, ScriptedDaemon

MakeClient = Callable[..., DaemonClient]


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
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert left == set(), "the client left tasks behind"


@pytest.fixture
def make_client(clock: Clock, daemon: ScriptedDaemon) -> MakeClient:
    """Return a function that makes a client whose jitter is known: by default every draw is 0.5."""

    def make(*draws: float, token: str | None = None) -> DaemonClient:
        rng = Draws(draws or (0.5,))
        return DaemonClient("ws://127.0.0.1:1", clock=clock, token=token, rng=cast("None", rng))

    return make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[DaemonClient]:
    """A connected client."""
    async with make_client() as connected:
        yield connected
