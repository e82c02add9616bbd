import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from reference_daemon import wire
from reference_daemon.autostart import Autostart
from reference_daemon.channel import ConnectionLostError, DaemonUnreachableError
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.observability.lines import LineSink
from reference_daemon.observability.logs import configure_logging
from reference_daemon.outcomes import CallOutcome, CallResult
from reference_daemon.policy.errors import HarnessError
from reference_daemon.policy.keys import key_hash
from reference_daemon.settings import Settings
from reference_daemon.shim import server
from reference_daemon.shim.server import Shim

Line = dict[str, Any]


class FakeClient:
    """Stands in for a `DaemonClient`: answers at once, as the test says.

    Attributes:
        calls: What it was asked for.
        lists: What `list_tools` answers, one time after the other.
        ends: What a call does; its return value is the call's result.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.connected: HarnessError | None = None
        self.calls: list[Line] = []
        self.lists: list[HarnessError | list[wire.ToolInfo]] = [[]]
        self.ends: Callable[[CallResult], None] | None = None
        self.release: asyncio.Event | None = None

    async def connect(self) -> None:
        """Be there, or not."""
        if self.connected is not None:
            raise self.connected

    async def close(self) -> None:
        """Be there no more."""
        self.connected = DaemonUnreachableError("ws://127.0.0.1:1", "this client was closed")

    async def list_tools(self) -> list[wire.ToolInfo]:
        """Answer with the next list; the last one again and again, for the SDK's client asks by itself, too."""
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, HarnessError):
            raise answer
        return answer

    async def call(self, tool: str, arguments: Line, **options: Any) -> CallResult:
        """Run a call."""
        self.calls.append({"tool": tool, "arguments": arguments, **options})
        if self.release is not None:
            await self.release.wait()
        result = CallResult(
            tool=tool,
            call_key=options["call_key"],
            trace_id=options["trace_id"],
            intended_at=self.clock.now(),
            finished_at=self.clock.now(),
            outcome=CallOutcome.OK,
            outputs=["done"],
            attempts=1,
        )
        if self.ends is not None:
            self.ends(result)
        return result


@pytest.fixture
def daemon() -> FakeClient:
    """A daemon that answers every call."""
    return FakeClient()


@pytest.fixture
async def logged(tmp_path: Path) -> AsyncIterator[Callable[[], list[Line]]]:
    """Return what was logged so far."""
    path = tmp_path / "log.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    before, root = structlog.get_config(), logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("websockets.server", "asyncio")}
    sink = LineSink(descriptor)
    configure_logging("json", "DEBUG", sink=sink)

    def lines() -> list[Line]:
        sink.flush()
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    yield lines
    structlog.configure(**before)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    os.close(descriptor)


def a_shim(daemon: FakeClient, autostart: Autostart | None = None) -> Shim:
    """Return a shim in front of `daemon`."""
    return Shim(Settings.model_validate({}), cast("DaemonClient", daemon), autostart, structlog.get_logger())


@asynccontextmanager
async def client_of(shim: Shim) -> AsyncIterator[Client]:
    """Speak MCP to a shim, in memory."""
    async with Client(shim.mcp_server(), mode="legacy") as client:
        yield client


def text_of(result: CallToolResult) -> str:
    """Return the only text of a result."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


class TestCalls:
    async def test_each_call_has_its_own_key_and_trace(self, daemon: FakeClient, logged: Any) -> None:
        """Two equal calls are two calls. The whole call has the client's time, an attempt the shim's."""
        async with client_of(a_shim(daemon)) as client:
            for _ in range(2):
                await client.call_tool("analyze", {"step": "x"})
        first, second = daemon.calls
        assert (first["tool"], first["arguments"]) == ("analyze", {"step": "x"})
        assert first["call_key"] != second["call_key"]
        assert first["trace_id"] != second["trace_id"]
        assert 179.0 < first["timeout_s"] <= 180.0
        assert first["attempt_timeout_s"] == 150.0

    async def test_start_and_end_are_logged(self, daemon: FakeClient, logged: Callable[[], list[Line]]) -> None:
        """By trace_id and the key's hash; of the arguments only the model's name."""
        async with client_of(a_shim(daemon)) as client:
            await client.call_tool("analyze", {"step": "my secret", "model": "glm-4.6"})
        start, end = [line for line in logged() if line["event"] in ("call_start", "call_end")]
        (call,) = daemon.calls
        assert (start["event"], end["event"]) == ("call_start", "call_end")
        assert start["call_key"] == end["call_key"] == key_hash(call["call_key"])
        assert start["trace_id"] == end["trace_id"] == call["trace_id"]
        assert (start["tool"], start["model"], start["timeout_s"], start["rpc_timeout_s"]) == (
            "analyze",
            "glm-4.6",
            180.0,
            150.0,
        )
        assert (end["outcome"], end["attempts"], end["reconnects"]) == ("ok", 1, 0)
        assert "my secret" not in json.dumps(logged())

    async def test_duplicate_is_a_warning(self, daemon: FakeClient, logged: Callable[[], list[Line]]) -> None:
        """It names the call that was there first."""

        def duplicate(result: CallResult) -> None:
            result.outcome = CallOutcome.DUPLICATE
            result.error = wire.Error(
                "DUPLICATE", 409, "in flight", original_request_id="r-first", original_trace_id="t-first"
            )

        daemon.ends = duplicate
        async with client_of(a_shim(daemon)) as client:
            assert (await client.call_tool("analyze", {})).is_error
        (warning,) = [line for line in logged() if line["level"] == "warning"]
        assert (warning["event"], warning["original_request_id"], warning["original_trace_id"]) == (
            "duplicate",
            "r-first",
            "t-first",
        )

    async def test_bug_harms_its_own_call(self, daemon: FakeClient, logged: Callable[[], list[Line]]) -> None:
        """What is raised in one call is a tool error without its text; the next call works."""

        def fail(_result: CallResult) -> None:
            raise RuntimeError("with a secret in it")

        daemon.ends = fail
        async with client_of(a_shim(daemon)) as client:
            broken = await client.call_tool("analyze", {})
            daemon.ends = None
            assert not (await client.call_tool("analyze", {})).is_error
        assert broken.is_error
        assert "RuntimeError" in text_of(broken)
        assert "may have run" in text_of(broken)
        assert "secret" not in text_of(broken)
        assert [line["outcome"] for line in logged() if line["event"] == "call_end"] == ["bug", "ok"]

    async def test_calls_are_bounded(
        self, daemon: FakeClient, logged: Callable[[], list[Line]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At the bound a call is refused at once, did not run, and leaves nothing behind."""
        monkeypatch.setattr(server, "MAX_CALLS", 2)
        daemon.release = asyncio.Event()
        async with client_of(a_shim(daemon)) as client:
            waiting = [asyncio.create_task(client.call_tool("analyze", {})) for _ in range(2)]
            while len(daemon.calls) < 2:  # noqa: ASYNC110 - each turn brings the messages one step further
                await asyncio.sleep(0)
            third = await client.call_tool("analyze", {})
            assert third.is_error
            assert "Did it run? No." in text_of(third)
            daemon.release.set()
            assert [(await each).is_error for each in waiting] == [False, False]
            assert not (await client.call_tool("analyze", {})).is_error
        assert len(daemon.calls) == 3


class TestTools:
    async def test_lost_connection_is_tried_again(self, daemon: FakeClient) -> None:
        """Listing does no harm, so it is asked for twice where the first answer was lost."""
        schema = {"type": "object", "properties": {"step": {"type": "string"}}}
        daemon.lists = [ConnectionLostError(), [wire.ToolInfo("analyze", "Analyse.", schema)]]
        async with client_of(a_shim(daemon)) as client:
            (tool,) = (await client.list_tools()).tools
        assert (tool.name, tool.description, tool.input_schema) == ("analyze", "Analyse.", schema)

    async def test_daemon_that_is_away_is_an_error(self, daemon: FakeClient, logged: Any) -> None:
        """It is never an empty list."""
        daemon.lists = [ConnectionLostError(), ConnectionLostError()]
        async with client_of(a_shim(daemon)) as client:
            with pytest.raises(MCPError, match="cannot be listed"):
                await client.list_tools()


class TestLeaving:
    async def test_no_daemon_is_started_at_the_end(self, daemon: FakeClient, logged: Any, tmp_path: Path) -> None:
        """A call that comes while the shim ends fails, and starts nothing."""
        settings = Settings.model_validate({"EXAI_LOG_DIR": tmp_path / "none"})
        shim = a_shim(daemon, Autostart(settings, structlog.get_logger()))
        async with client_of(shim) as client:
            await shim.leave()
            result = await client.call_tool("analyze", {})
        assert result.is_error
        assert daemon.calls == []
        assert not (tmp_path / "none").exists()
