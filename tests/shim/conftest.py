"""Real processes: a daemon with stub providers, shims, and MCP clients. Whatever is started here is ended here."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.05
BOUND_S = 60.0
"""Wall seconds for what takes a second or two on a machine that has nothing else to do."""

Line = dict[str, Any]


def environment(port: int, folder: Path, **more: str) -> dict[str, str]:
    """Return the whole environment of a daemon or a shim: nothing of the user's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "EXAI_WS_PORT": str(port),
        "EXAI_WS_AUTOSTART": "false",
        "EXAI_TIME_SCALE": str(SCALE),
        "EXAI_LOG_DIR": str(folder),
        "EXAI_STUB_LATENCY": "constant:12",
        "LOG_FORMAT": "json",
        **more,
    }


def free_port() -> int:
    """Return a port on which nothing listens now; for a daemon that is to be started later, or not at all."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Output:
    """What a process writes, line by line, as far as it was read."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        """Read from `stream`."""
        self._stream = stream
        self.lines: list[bytes] = []

    async def until(self, **wanted: Any) -> Line:
        """Read JSON lines until one has the wanted values, and return it."""
        async with asyncio.timeout(BOUND_S):
            async for raw in self._stream:
                self.lines.append(raw)
                line: Line = json.loads(raw)
                if all(line.get(name) == value for name, value in wanted.items()):
                    return line
        raise AssertionError(f"it ended without {wanted}; it said: {self.lines[-10:]}")

    async def rest(self) -> bytes:
        """Read to the end."""
        async with asyncio.timeout(BOUND_S):
            return await self._stream.read()


@dataclass
class DaemonProcess:
    """A daemon that listens."""

    process: asyncio.subprocess.Process
    log: Output
    port: int
    pid: int

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        await self.process.wait()


@dataclass
class ShimProcess:
    """A shim whose pipes the test holds itself."""

    process: asyncio.subprocess.Process
    log: Output
    seen: list[Line] = field(default_factory=list)

    def send(self, *messages: Mapping[str, Any] | bytes) -> None:
        """Write messages, each on a line of its own."""
        assert self.process.stdin is not None
        for message in messages:
            raw = message if isinstance(message, bytes) else json.dumps(message).encode()
            self.process.stdin.write(raw + b"\n")

    async def until_answered(self, request_id: int | str | None) -> Line:
        """Read messages until the answer to a request, and return it. Each line must be JSON-RPC."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            async for raw in self.process.stdout:
                message = json.loads(raw)
                assert message["jsonrpc"] == "2.0"
                self.seen.append(message)
                if "method" not in message and message.get("id") == request_id:
                    return dict(message)
        raise AssertionError("stdout ended without the answer")

    async def initialize(self) -> None:
        """Shake hands, as clients of the handshake era do."""
        self.send(
            request(
                0,
                "initialize",
                protocolVersion="2025-11-25",
                capabilities={},
                clientInfo={"name": "test", "version": "1"},
            )
        )
        await self.until_answered(0)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


def request(request_id: int | str, method: str, **params: Any) -> Line:
    """Return a JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def a_call(request_id: int | str, tool: str, arguments: Mapping[str, Any] | None = None, **meta: Any) -> Line:
    """Return a request to call a tool; `meta` goes into `_meta`."""
    params: Line = {"name": tool, "arguments": dict(arguments or {})}
    if meta:
        params["_meta"] = meta
    return request(request_id, "tools/call", **params)


class Processes:
    """Starts daemons, shims and clients, and ends them all."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        """End everything with `stack`; logs go to `folder`."""
        self._stack, self.folder = stack, folder

    async def exai(self, *arguments: str, env: Mapping[str, str], **pipes: Any) -> asyncio.subprocess.Process:
        """Start a command of ours."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exai", *arguments, env=dict(env), cwd=self.folder, **pipes
        )
        self._stack.push_async_callback(_end, process)
        return process

    async def daemon(self, port: int = 0, **more: str) -> DaemonProcess:
        """Start a daemon, by default on a free port, and wait until it listens."""
        process = await self.exai(
            "daemon",
            env=environment(port, self.folder, **more),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        log = Output(process.stderr)
        url = (await log.until(event="daemon_started"))["url"]
        return DaemonProcess(process, log, int(url.rpartition(":")[2]), process.pid)

    async def shim(self, port: int, **more: str) -> ShimProcess:
        """Start a shim for the daemon at `port`."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = await self.exai("shim", env=environment(port, self.folder, **more), limit=2**20, **pipes)
        assert process.stderr is not None
        return ShimProcess(process, Output(process.stderr))


@asynccontextmanager
async def mcp_client(port: int, folder: Path, *, mode: str = "legacy", **more: str) -> AsyncIterator[Client]:
    """Run a shim behind the SDK's own client. The task that enters it must leave it: no fixture can hold it."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "exai", "shim"],
        env=environment(port, folder, **more),
        cwd=folder,
    )
    with (folder / "shim.log").open("a") as log:
        async with Client(stdio_client(server, errlog=log), mode=mode) as client:
            yield client


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process, and wait until its pipes are closed."""
    if process.returncode is None:
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    for number, stream in ((1, process.stdout), (2, process.stderr)):
        if stream is not None:
            reading(process, number).resume_reading()
            await stream.read()
    await process.wait()


def reading(process: asyncio.subprocess.Process, number: int) -> asyncio.ReadTransport:
    """Return the test's end of a pipe of a process; paused, it is a client that does not read."""
    transport = process._transport.get_pipe_transport(number)  # type: ignore[attr-defined]
    assert isinstance(transport, asyncio.ReadTransport)
    return transport


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    """Starts processes for one test."""
    async with AsyncExitStack() as stack:
        yield Processes(stack, tmp_path)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe, closed after the test if they are still open."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue
