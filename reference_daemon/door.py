"""Who may come in: checks before the first frame is read, the hello, and plain HTTP on the same port."""

import asyncio
import http
import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from reference_daemon import wire
from reference_daemon.addresses import is_address, is_loopback, is_unspecified
from reference_daemon.clock import Clock
from reference_daemon.link import Link
from reference_daemon.policy.events import SessionId
from reference_daemon.sessions import Session, Sessions
from reference_daemon.settings import Settings
from reference_daemon.token_guard import PENALTY_WALL_S, TokenGuard

MAX_HELLO_BYTES: Final = 64 * 1024
"""A frame before hello may have this many bytes."""

MAX_LABEL: Final = 64
"""Characters of a client's name, or of a page's origin, that are logged."""

LEAST_HELLO_WALL_S: Final = 2.0
"""Wall seconds that a hello may take however time is scaled: a faulty link of a drill is slow in wall time, too."""

MAX_STRANGERS: Final = 512
"""Connections that have not said hello yet, at once."""

_CLOSE_CODES: Final = {
    "invalid_hello": 4000,
    "missing_hello": 4001,
    "hello_timeout": 4002,
    "unauthorized": 4003,
    "too_many_sessions": 4029,
}
_encode = msgspec.json.Encoder().encode
_decode_op = msgspec.json.Decoder(wire.OpOnly).decode
_decode_hello = msgspec.json.Decoder(wire.Hello).decode


class Door:
    """Lets clients in."""

    def __init__(
        self, settings: Settings, guard: TokenGuard, sessions: Sessions, clock: Clock, *, boot_id: str
    ) -> None:
        """Guard the way to `sessions`."""
        self._settings, self._guard, self._sessions, self._clock = settings, guard, sessions, clock
        self._boot_id = boot_id
        self._everywhere = is_unspecified(settings.host)
        limit_s = settings.hello_timeout_s
        self._hello_wall_s = max(clock.wall_s(limit_s), min(limit_s, LEAST_HELLO_WALL_S))
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {}
        self._strangers = 0
        self._log = structlog.get_logger().bind()

    def add_page(self, path: str, page: Callable[[], tuple[int, str, bytes]]) -> None:
        """Serve a page over plain HTTP: `page` returns status, content type and body."""
        self._pages[path] = page

    # --- before the first frame --------------------------------------------------------------------------------------

    async def check(self, _connection: ServerConnection, request: Request) -> Response | None:
        """Refuse a request by its headers, or serve a page; None lets the WebSocket handshake go on."""
        if not self._host_fits(request.headers.get_all("Host")):
            self._log.warning("upgrade_refused", reason="host")
            return _plain(http.HTTPStatus.FORBIDDEN, "this daemon does not answer for that host\n")
        origins = request.headers.get_all("Origin")
        if any(origin not in self._settings.allowed_origins for origin in origins):
            self._log.warning("upgrade_refused", reason="origin", origin=origins[0][:MAX_LABEL])
            return _plain(http.HTTPStatus.FORBIDDEN, "origin not allowed\n")
        page = self._pages.get(urlsplit(request.path).path)
        if page is not None:
            return await self._serve(page, request.headers)
        if self._strangers >= MAX_STRANGERS:
            return _plain(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many connections before hello\n")
        return None

    def _host_fits(self, hosts: list[str]) -> bool:
        """Return whether the one Host header names this machine, or the address that the daemon is bound to.

        A browser that was led here by a foreign name (DNS rebinding) says that name. A daemon that is bound to every
        address answers for any address, since an address cannot be rebound.
        """
        if len(hosts) != 1:
            return False
        try:
            name = urlsplit(f"//{hosts[0]}").hostname
        except ValueError:
            return False
        if name is None:
            return False
        return is_loopback(name) or name == self._settings.host or (self._everywhere and is_address(name))

    async def _serve(self, page: Callable[[], tuple[int, str, bytes]], headers: Headers) -> Response:
        """Serve a page to those who have the token, if one is set."""
        if self._guard.is_set:
            scheme, _, token = (headers.get_all("Authorization") or [""])[0].partition(" ")
            if scheme.lower() != "bearer" or not self._guard.admits(token):
                await asyncio.sleep(PENALTY_WALL_S)  # as for a hello: else this were the place to guess
                return _plain(http.HTTPStatus.UNAUTHORIZED, "token needed\n")
        status, content_type, body = page()
        return _response(http.HTTPStatus(status), content_type, body)

    # --- the hello ---------------------------------------------------------------------------------------------------

    async def welcome(self, link: Link) -> Session | None:
        """Read the hello and open a session; None if the connection was refused, and is closed then."""
        self._strangers += 1
        try:
            hello = await self._read_hello(link)
        finally:
            self._strangers -= 1
        if isinstance(hello, str):
            await self._refuse(link, hello)
            return None
        if not self._guard.admits(hello.token):
            await asyncio.sleep(PENALTY_WALL_S)  # wall time: it slows a guesser, not a call
            await self._refuse(link, "unauthorized")
            return None
        label = hello.session_id or (hello.client.name if hello.client else "")
        session = Session(SessionId(secrets.token_hex(8)), link, label[:MAX_LABEL], self._clock.now())
        if not self._sessions.open(session):
            await self._refuse(link, "too_many_sessions")
            return None
        link.protocol.max_message_size = self._settings.max_frame_bytes
        ack = wire.HelloAck(
            ok=True, session_id=session.session_id, boot_id=self._boot_id, protocol=wire.PROTOCOL_VERSION
        )
        link.post(_encode(ack))
        return session

    async def _read_hello(self, link: Link) -> wire.Hello | str:
        """Return the hello, or the code of what is wrong with it."""
        try:
            async with asyncio.timeout(self._hello_wall_s):
                message = await link.read()
        except TimeoutError:
            return "hello_timeout"
        if isinstance(message, bytes):
            return "invalid_hello"
        try:
            if _decode_op(message).op != "hello":
                return "missing_hello"
            return _decode_hello(message)
        except (msgspec.DecodeError, RecursionError):
            return "invalid_hello"

    async def _refuse(self, link: Link, code: str) -> None:
        """Say why, and close."""
        self._log.warning("hello_refused", reason=code)
        link.post(_encode(wire.HelloAck(ok=False, error=code)))
        link.flush()
        await link.close(_CLOSE_CODES[code], code)


def _plain(status: http.HTTPStatus, text: str) -> Response:
    return _response(status, "text/plain; charset=utf-8", text.encode())


def _response(status: http.HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers([("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status.value, status.phrase, headers, body)
