from collections.abc import AsyncIterator

import httpx2
import pytest

from reference_daemon.clock import Clock
from reference_daemon.providers.latency import Constant
from reference_daemon.providers.stub_model import StubConfig, StubProvider
from reference_daemon.providers.stub_server import StubServer


@pytest.fixture
def clock() -> Clock:
    """Twenty times as fast as the wall."""
    return Clock(0.05)


@pytest.fixture
async def stub(clock: Clock) -> AsyncIterator[StubServer]:
    """A stub whose two providers answer at once, with room for two executions each."""
    provider = StubProvider(latency=Constant(0.0), concurrency=2, models=("model-1", "model-2"))
    async with StubServer(StubConfig(providers={"GLM": provider, "KIMI": provider}), clock) as server:
        yield server


@pytest.fixture
async def http(stub: StubServer) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the stub."""
    async with httpx2.AsyncClient(base_url=stub.origin, trust_env=False, timeout=60.0) as client:
        yield client
