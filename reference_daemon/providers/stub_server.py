"""Runs the stub provider inside a running event loop, so that a daemon can embed it and a test can own it."""

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Self

import uvicorn

from reference_daemon.addresses import is_loopback
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError, HarnessError
from reference_daemon.providers.stub_app import StubApp
from reference_daemon.providers.stub_log import StubEvent, StubLog
from reference_daemon.providers.stub_model import StubConfig

# Longer than any client keeps an idle connection: else a request could meet a connection that is just being
# closed, which looks like a provider that fails.
_KEEP_ALIVE_S = 75
_BACKLOG = 2048


class PortTakenError(HarnessError):
    """Another program listens on the port.

    Attributes:
        host: Address that was asked for.
        port: Port that was asked for.
    """

    def __init__(self, host: str, port: int) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(host, port)
        self.host, self.port = host, port

    def __str__(self) -> str:
        """Name the port, and what to do."""
        return f"port {self.port} on {self.host} is taken; choose another one, or 0 for any free one"


class StubServer:
    """A stub provider that listens while its `async with` block runs."""

    def __init__(self, config: StubConfig, clock: Clock, host: str = "127.0.0.1", port: int = 0) -> None:
        """Make a server that does not listen yet.

        Args:
            config: Its providers.
            clock: Source of time.
            host: A loopback address.
            port: Port to listen on; 0 lets the kernel choose.

        Raises:
            ConfigError: `host` is no loopback address.
        """
        if not is_loopback(host):
            raise ConfigError("host", host, "must be a loopback address, the stub has no access control")
        self._config, self._clock, self._host, self._port = config, clock, host, port

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def events(self) -> list[StubEvent]:
        """What happened so far, the oldest first; the oldest of very many are dropped."""
        return list(self._log.events)

    def base_url(self, provider: str) -> str:
        """Return what a client of this provider is given as its base URL."""
        return f"{self.origin}/{provider}/v1"

    @property
    def origin(self) -> str:
        """Scheme, host and port; the admin endpoint is at /admin/providers/NAME below it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def in_flight(self, provider: str) -> int:
        """Return how many executions a provider has now."""
        return self._app.providers[provider].in_flight

    async def wait_for(self, matches: Callable[[StubEvent], bool]) -> StubEvent:
        """Return the first event that matches, one that has happened or one to come."""
        return await self._log.wait_for(matches)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortTakenError: Another program listens on the port.
            ConfigError: The port may not be used, or the log file cannot be opened.
        """
        listener = _listen(self._host, self._port)
        try:
            self._log = StubLog(self._config.log_path)
        except OSError as error:
            listener.close()
            raise ConfigError("log", str(self._config.log_path), f"cannot be opened: {error.strerror}") from error
        self._port = listener.getsockname()[1]
        self._app = StubApp(self._config, self._clock, self._log)
        self._server = _QuietServer(
            uvicorn.Config(
                self._app.asgi,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="stub provider")
        await self._server.listening.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop at once, as a provider that dies: open requests are cut off, and logged as cancelled."""
        self._server.stopping.set()
        await self._serving
        self._log.close()


class _QuietServer(uvicorn.Server):
    """uvicorn that leaves signals to the program it runs in, says when it listens, and stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)  # it sets the headers of every answer
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        # Cut, not closed: each request then sees its client gone, and ends as if it had.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, since asyncio switches Nagle's algorithm off only where it is: else every second
    # answer on a connection waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port whose last owner has just ended may be used again; one that somebody listens on may not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(host, port) from error
        raise ConfigError("port", port, f"cannot be used: {error.strerror}") from error
    return listener
