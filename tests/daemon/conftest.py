"""Daemons in this process, spoken to over real sockets; after each test nothing of them is left."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog

from reference_daemon.clock import Clock
from reference_daemon.daemon import Daemon
from reference_daemon.observability.lines import LineSink
from reference_daemon.observability.logs import configure_logging
from reference_daemon.observability.metrics import Metrics
from reference_daemon.settings import Settings
from tests.daemon.fake_tools import FakeTool, the_tools
from tests.daemon.raw_client import BOUND_S, RawClient, RawSocket, open_raw, open_socket

# looptime asks the policy for a loop before every test, also a synchronous one. Where none was ever set,
# Python before 3.14 makes one, which nobody closes; its ResourceWarning fails whatever test runs just then.
asyncio.set_event_loop(None)

LogLine = dict[str, Any]
Lines = Callable[[], list[LogLine]]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[LineSink]:
    """Everything that is logged, as JSON lines in `log.jsonl`."""
    descriptor = os.open(tmp_path / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    before, root = structlog.get_config(), logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("websockets.server", "asyncio")}
    try:
        yield configure_logging("json", "DEBUG", sink=LineSink(descriptor))
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        os.close(descriptor)


@pytest.fixture
def logged(sink: LineSink, tmp_path: Path) -> Lines:
    """Return what was logged so far."""

    def lines() -> list[LogLine]:
        sink.flush()
        return [json.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().split(b"\n") if line]

    return lines


class House:
    """Starts daemons and opens connections, and ends them all.

    Attributes:
        tools: The fake tools of every daemon that it starts.
        metrics_sink: What they write metrics to.
        expected_errors: Events that the test provokes and that may be logged as errors.
    """

    def __init__(self, stack: AsyncExitStack, metrics_sink: LineSink) -> None:
        """End everything with `stack`."""
        self._stack = stack
        self.metrics_sink = metrics_sink
        self.tools = the_tools()
        self.daemons: list[Daemon] = []
        self.expected_errors: set[str] = set()

    def build(self, *, scale: float = 1.0, **settings: Any) -> Daemon:
        """Return a daemon that is not started yet. Settings are named by their environment variables."""
        checked = Settings.model_validate({"EXAI_WS_PORT": 0, **settings})
        daemon = Daemon(checked, self.tools, Clock(scale), Metrics(self.metrics_sink))
        self.daemons.append(daemon)
        return daemon

    async def start(self, *, scale: float = 1.0, **settings: Any) -> Daemon:
        """Start a daemon on a free port."""
        return await self._stack.enter_async_context(self.build(scale=scale, **settings))

    async def dial(self, daemon: Daemon, **options: Any) -> RawClient:
        """Open a connection to a daemon, and say nothing."""
        client = await open_raw(daemon.port, **options)
        self._stack.push_async_callback(client.connection.close)
        return client

    async def enter(self, daemon: Daemon, hello: Mapping[str, Any] | None = None, **options: Any) -> RawClient:
        """Open a session: a connection that said hello and was let in."""
        client = await self.dial(daemon, **options)
        client.hello_ack = await client.ask({"op": "hello", **(hello or {})})
        assert client.hello_ack["ok"]
        return client

    async def socket(self, daemon: Daemon, **options: Any) -> RawSocket:
        """Open a session that reads nothing unless it is told to."""
        socket = await open_socket(daemon.port, **options)
        self._stack.push_async_callback(socket.close)
        return socket

    async def until_idle(self) -> None:
        """Wait until no work of a daemon runs."""
        async with asyncio.timeout(BOUND_S):
            for daemon in self.daemons:
                await daemon.calls.wait_until_idle()

    async def started(self, tool: str) -> Any:
        """Wait until another call of a tool has started; return its context."""
        async with asyncio.timeout(BOUND_S):
            return await self.tools[tool].starts.get()

    def add(self, tool: FakeTool) -> FakeTool:
        """Give the daemons that are started later one more tool."""
        self.tools[tool.name] = tool
        return tool


def open_descriptors() -> int:
    """Return how many files and sockets this process has open; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture
async def house(logged: Lines, tmp_path: Path) -> AsyncIterator[House]:
    """Daemons and clients; at the end nothing of them is left, and nothing was logged as a bug."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    descriptor = os.open(tmp_path / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    metrics_sink = LineSink(descriptor)
    async with AsyncExitStack() as stack:
        stack.callback(os.close, descriptor)
        stack.callback(metrics_sink.flush)
        house = House(stack, metrics_sink)
        yield house
        for tool in house.tools.values():
            tool.release.set()
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    if left:  # closing connections and cancelled work end in the next turns of the loop
        _, left = await asyncio.wait(left, timeout=1.0)
    assert left == set()
    await asyncio.sleep(0)  # transports close their sockets a turn later
    assert open_descriptors() == descriptors
    assert [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()] == []  # type: ignore[attr-defined]
    for daemon in house.daemons:
        snapshot = daemon.calls.snapshot()
        pools = [snapshot.total, *(used for used, _ in [*snapshot.tools.values(), *snapshot.providers.values()])]
        assert (daemon.calls.in_flight(), sum(pools), snapshot.sessions, snapshot.live_keys) == ([], 0, {}, 0)
        assert len(daemon._sessions) == 0
        assert len(daemon.calls._results) == snapshot.results  # no answer is kept that the policy has forgotten
    bugs = [line for line in logged() if line["level"] == "error" or line["event"] == "library"]
    assert [line for line in bugs if line["event"] not in house.expected_errors] == []
