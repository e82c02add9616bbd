"""The daemon: its socket, one reader per connection, and its orderly end."""

import asyncio
import errno
import secrets
from collections.abc import Mapping
from typing import Any, Final, Self, cast

import msgspec
import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from reference_daemon.call_log import place_of
from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.dispatch import Dispatcher
from reference_daemon.door import MAX_HELLO_BYTES, Door
from reference_daemon.link import Link
from reference_daemon.observability.metrics import Metrics
from reference_daemon.policy.errors import HarnessError
from reference_daemon.server.context import Tool
from reference_daemon.sessions import Session, Sessions
from reference_daemon.settings import Settings
from reference_daemon.token_guard import TokenGuard
from reference_daemon.watchdog import Watchdog

PING_INTERVAL_S: Final = 20.0
PING_TIMEOUT_S: Final = 60.0
"""A client that answers no ping for this long is gone. Longer than a large result takes over a slow line."""

LEAST_PING_WALL_S: Final = 5.0
"""However time is scaled, a busy machine needs this long to answer a ping."""

WORK_STOP_WALL_S: Final = 2.0
"""Wall seconds that cancelled work has to stop when the daemon ends."""


class PortTakenError(HarnessError):
    """The daemon's address cannot be had."""


class Daemon:
    """One daemon. `async with` starts it and, on the way out, ends it at once; `drain` first for an orderly end."""

    def __init__(self, settings: Settings, tools: Mapping[str, Tool], clock: Clock, metrics: Metrics) -> None:
        """Build a daemon; nothing is opened yet."""
        self._settings, self._tools, self._clock, self._metrics = settings, tools, clock, metrics
        self.boot_id = secrets.token_hex(8)
        self._guard = TokenGuard(settings.token.get_secret_value() if settings.token else None)
        self._sessions = Sessions(settings.max_sessions)
        self.calls = Calls(settings, tools, clock, metrics)
        self._door = Door(settings, self._guard, self._sessions, clock, boot_id=self.boot_id)
        self._door.add_page("/healthz", self._healthz)
        self._door.add_page("/metrics", self._metrics_page)
        self._watchdog = Watchdog(self.calls, clock)
        self._log = structlog.get_logger().bind()
        self._started_at = clock.now()
        self._server: Server | None = None
        self.port = settings.port

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of its tools."""
        return tuple(self._tools)

    # --- start and end -----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the socket.

        Raises:
            PortTakenError: The address is in use, or is not this machine's.
        """
        self._server = await self._listen()
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._started_at = self._clock.now()
        self._watchdog.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Interrupt what is in flight, close every connection, and wait until nothing of ours runs."""
        self.calls.interrupt()
        try:
            async with asyncio.timeout(WORK_STOP_WALL_S):
                await self.calls.wait_until_idle()
        except TimeoutError:
            self._log.warning("work_left_running", calls=len(self.calls.in_flight()))
        await self._watchdog.stop()
        for session in self._sessions:
            session.link.flush()
        assert self._server is not None  # noqa: S101 - __aenter__ ran
        self._server.close()
        await self._server.wait_closed()

    async def _listen(self) -> Server:
        """Return the listening server."""
        wall_s = self._clock.wall_s
        try:
            return await serve(
                self._connected,
                self._settings.host,
                self._settings.port,
                process_request=self._door.check,
                create_connection=Link,
                compression=None,
                server_header=None,
                open_timeout=max(wall_s(self._settings.hello_timeout_s), LEAST_PING_WALL_S),
                ping_interval=max(wall_s(PING_INTERVAL_S), LEAST_PING_WALL_S),
                ping_timeout=max(wall_s(PING_TIMEOUT_S), LEAST_PING_WALL_S),
                close_timeout=1.0,
                max_size=MAX_HELLO_BYTES,
            )
        except OSError as error:
            address = f"{self._settings.host}:{self._settings.port}"
            reason = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise PortTakenError(f"cannot listen on {address}: {reason}") from error

    async def drain(self) -> None:
        """Refuse new calls and let those in flight end, within the grace."""
        self._log.info("drain_started", calls=len(self.calls.in_flight()), grace_s=self._settings.drain_grace_s)
        await self.calls.drain()

    # --- one connection ----------------------------------------------------------------------------------------------

    async def _connected(self, connection: ServerConnection) -> None:
        """Serve one connection, from hello to its end."""
        link = cast("Link", connection)
        try:
            session = await self._door.welcome(link)
            if session is not None:
                await self._serve_session(session)
        except ConnectionClosed:
            pass
        except Exception as bug:  # noqa: BLE001 - outermost frame of the connection's task: a bug ends it, no other
            self._log.error("connection_failed", exception=type(bug).__name__, place=place_of(bug))
            await link.close(1011)

    async def _serve_session(self, session: Session) -> None:
        """Read the frames of a session until its connection ends."""
        self._log.info("session_opened", session=session.session_id, client=session.label or None)
        self._metrics.emit("session_opened", session=session.session_id, client=session.label or None)
        dispatcher = Dispatcher(session, self.calls, self._guard, self._clock, self._tools, self.health)
        session.link.hand_to(dispatcher.handle)
        try:
            while isinstance(message := await session.link.read(), str):
                dispatcher.handle(message)
            session.link.hand_to(None)
            await session.link.close(1003, "text frames only")
        finally:
            self._sessions.close(session)
            self.calls.session_closed(session)
            reason = "slow_reader" if session.link.overflowed else None
            self._log.info("session_closed", session=session.session_id, code=session.link.close_code, reason=reason)
            self._metrics.emit("session_closed", session=session.session_id)

    # --- figures -----------------------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """Return the figures of `health`."""
        snapshot, settings = self.calls.snapshot(), self._settings
        return {
            "t": round(self._clock.unix(), 3),
            "boot_id": self.boot_id,
            "uptime": round(self._clock.now() - self._started_at, 3),
            "draining": snapshot.draining,
            "sessions": len(self._sessions),
            "global_capacity": snapshot.total_cap,
            "global_inflight": snapshot.total,
            "tools": _in_use(snapshot.tools),
            "providers": _in_use(snapshot.providers),
            "results": snapshot.results,
            "appointments": snapshot.appointments,
            "token": self._guard.is_set,
            "timeouts": {
                "call": settings.call_timeout_s,
                "step": settings.step_timeout_s,
                "expert": settings.expert_timeout_s,
                "progress": settings.progress_interval_s,
                "heartbeat": settings.expert_heartbeat_s,
            },
        }

    def _healthz(self) -> tuple[int, str, bytes]:
        """Return the page for probes: 503 while draining, so that nobody is sent here any more."""
        health = self.health()
        return 503 if health["draining"] else 200, "application/json", msgspec.json.encode(health)

    def _metrics_page(self) -> tuple[int, str, bytes]:
        """Return the page for Prometheus."""
        page = self._metrics.exposition(self.calls.snapshot(), len(self._sessions))
        return 200, "text/plain; version=0.0.4; charset=utf-8", page


def _in_use(pools: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    """Return pools as health shows them."""
    return {name: {"inflight": in_use, "capacity": cap} for name, (in_use, cap) in pools.items()}
