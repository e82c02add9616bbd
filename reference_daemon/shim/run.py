"""Runs a shim from its start to its end, and sees to it that the end comes soon.

It ends when stdin does, when the client reads no more, or on a signal. Calls in flight are not cancelled then: a client
that goes away cancels nothing, and the daemon keeps their results.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
import structlog
from mcp.shared.message import SessionMessage

from reference_daemon.autostart import Autostart
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.settings import Settings
from reference_daemon.shim.pipes import PipeReader, Pipes, PipeWriter
from reference_daemon.shim.server import Shim
from reference_daemon.shim.stdio import StdioTransport
from reference_daemon.signals import ENDED, on_signals

ANSWER_WITHIN_WALL_S: Final = 0.5
"""When stdin has ended, answers that come at once are still written: `exai shim < requests` is of use then."""

CLOSE_WITHIN_WALL_S: Final = 0.4
"""For each of: closing the connection, writing the last answers."""

GONE_WITHIN_WALL_S: Final = 1.7
"""Whatever hangs, the process is gone by then: after 2 s a client would kill it."""


async def run_shim(settings: Settings, pipes: Pipes) -> int:
    """Serve until the end, and return the exit status.

    Raises:
        ConfigError: The settings name no daemon.
    """
    log = structlog.get_logger()
    clock = Clock(settings.time_scale)
    token = settings.token.get_secret_value() if settings.token is not None else None
    client = DaemonClient(settings.url, clock=clock, token=token, label=f"exai shim {os.getpid()}")
    autostart = Autostart(settings, log) if Autostart.allowed(settings) else None
    shim = Shim(settings, client, autostart, log)
    transport = StdioTransport(
        PipeReader(pipes.stdin, on_overlong=lambda: log.warning("line_too_long")),
        PipeWriter(pipes.stdout, name="stdout"),
        on_malformed=lambda: log.warning("malformed_line"),
    )
    log.info("shim_started", daemon=settings.url, autostart=autostart is not None, time_scale=settings.time_scale)
    async with _serving(shim, transport) as (reading, tasks):
        signals = _signals()
        status = await _until_end(reading, tasks, signals, log)
        _make_sure_of_the_end(status)
        if reading.done():
            await _let_quick_calls_end(transport, tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_WALL_S):
                await shim.leave()  # before the handlers are cancelled: then nothing can cancel their calls
    log.info("shim_ended", status=status)
    return status


@contextlib.asynccontextmanager
async def _serving(
    shim: Shim, transport: StdioTransport
) -> AsyncIterator[tuple[asyncio.Task[None], list[asyncio.Task[None]]]]:
    """Run server and transport; yield the task that reads stdin, and those that end when the client is gone."""
    to_server, from_client = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    server = shim.mcp_server()
    reading = asyncio.create_task(transport.read(to_server))
    writing = asyncio.create_task(transport.write(from_server))
    serving = asyncio.create_task(server.run(from_client, to_client, server.create_initialization_options()))
    try:
        yield reading, [writing, serving]
    finally:
        to_server.close()  # the server's sign that the client is gone
        await asyncio.wait([serving, writing], timeout=CLOSE_WITHIN_WALL_S)
        for task in (reading, serving, writing):
            task.cancel()
        await asyncio.wait([reading, serving, writing], timeout=CLOSE_WITHIN_WALL_S)
        from_server.close()


def _signals() -> asyncio.Future[int]:
    """Return what becomes the exit status when a signal asks for the end."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[int] = loop.create_future()

    def note(status: int) -> None:
        if not asked.done():
            asked.set_result(status)

    on_signals(note)
    return asked


async def _until_end(
    reading: asyncio.Task[None], tasks: list[asyncio.Task[None]], signals: asyncio.Future[int], log: Any
) -> int:
    """Wait for one of the reasons to end; return the exit status."""
    reasons: list[asyncio.Future[Any]] = [reading, signals, *tasks]
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    for task in (reading, *tasks):
        error = task.exception() if task.done() and not task.cancelled() else None
        if isinstance(error, OSError):
            log.info("client_reads_no_more")
        elif error is not None:
            raise error
    return signals.result() if signals.done() else ENDED


async def _let_quick_calls_end(transport: StdioTransport, tasks: list[asyncio.Task[None]]) -> None:
    """Wait a moment for the answers to what was asked last."""
    idle = asyncio.create_task(transport.idle.wait())
    reasons: list[asyncio.Future[Any]] = [idle, *tasks]
    await asyncio.wait(reasons, timeout=ANSWER_WITHIN_WALL_S, return_when=asyncio.FIRST_COMPLETED)
    idle.cancel()


def _make_sure_of_the_end(status: int) -> None:
    """End the process even if something hangs that cannot be cancelled: a look-up of a name, a full pipe."""
    timer = threading.Timer(GONE_WITHIN_WALL_S, os._exit, (status,))
    timer.daemon = True
    timer.start()
