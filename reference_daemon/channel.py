"""One connection of a client: hello, one reader that hands each frame to the request it belongs to, and its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.uri import parse_uri

from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.link import ClientLink
from reference_daemon.policy.errors import ConfigError, HarnessError

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""A frame from the daemon may have this many bytes: its largest result, escaped, and what goes around it."""

OPEN_TIMEOUT_S: Final = 10.0
"""Seconds that connect and hello may take."""

LEAST_OPEN_TIMEOUT_WALL_S: Final = 2.0
"""However time is scaled, a busy machine needs this long for a handshake."""

ANSWER_TIMEOUT_WALL_S: Final = 10.0
"""Wall seconds that the daemon may take for what it answers at once: tools, health, rotation."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.Reply).decode

Terminal = wire.CallToolReply | wire.ErrorFrame
"""What answers a request for good."""


class Tap(Protocol):
    """Is told what happens on a client's connections, at the moment and in the order in which it happens.

    It must return soon and raise nothing: it runs where frames are sent and read.
    """

    def opened(self, session_id: str, boot_id: str | None) -> int:
        """Take note of a connection whose hello was accepted; return the number that stands for it from now on."""
        ...

    def sent(self, connection: int, frame: msgspec.Struct) -> None:
        """Take note of a frame that was handed to an open connection."""
        ...

    def received(self, connection: int, frame: wire.Reply | None) -> None:
        """Take note of a frame that came; None is one that cannot be read."""
        ...

    def closed(self, connection: int, *, lost: bool) -> None:
        """Take note of a connection's end; `lost` says that it was not this client that ended it."""
        ...


_HINTS: Final = {
    "unauthorized": "EXAI_WS_TOKEN must be the daemon's token",
    "too_many_sessions": "EXAI_WS_MAX_SESSIONS is reached",
}


class DaemonUnreachableError(HarnessError):
    """No daemon answers there.

    Attributes:
        url: Where.
        reason: What went wrong.
    """

    def __init__(self, url: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        """Name the place and the reason."""
        return f"no daemon at {self.url}: {self.reason}"


class HelloRefusedError(HarnessError):
    """The daemon does not let this client in.

    Attributes:
        code: Its code, "unauthorized" for example.
    """

    def __init__(self, code: str) -> None:
        """Keep the code; the text is made by `__str__`."""
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        """Name the code, and what a person can do about it."""
        hint = _HINTS.get(self.code)
        return f"the daemon refused the connection: {self.code}" + (f" ({hint})" if hint else "")


class ConnectionLostError(HarnessError):
    """The connection ended before an answer came."""

    def __str__(self) -> str:
        """Say so."""
        return "the connection to the daemon was lost before an answer came"


class NoAnswerError(HarnessError):
    """The daemon is there, and does not answer."""

    def __str__(self) -> str:
        """Say so, with the limit."""
        return f"the daemon did not answer within {ANSWER_TIMEOUT_WALL_S:g} s"


@dataclass(slots=True, eq=False)
class Exchange:
    """A request that waits for its terminal answer.

    Attributes:
        done: Its terminal answer, or `ConnectionLostError`.
        on_frame: Called with each ack and heartbeat.
    """

    done: asyncio.Future[Terminal]
    on_frame: Callable[[wire.CallToolAck | wire.Progress], None]

    def fail(self, reason: Exception) -> None:
        """Raise `reason` where the answer is waited for, unless there is one."""
        if not self.done.done():
            self.done.set_exception(reason)
            self.done.exception()  # whoever waits sees it; if nobody does, that is no fault


@dataclass(slots=True, eq=False)
class Channel:
    """An open connection. `open_channel` makes one, `close` ends it.

    Attributes:
        link: The connection.
        session_id: The daemon's id for it.
        boot_id: Which start of the daemon this is; None if the daemon does not say.
        lost: Set when the connection has ended.
        heard: Whether it has brought anything since the hello.
        tap: Is told of every frame; None: nobody is.
    """

    link: ClientLink
    session_id: str
    boot_id: str | None
    tap: Tap | None = None
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    heard: bool = False
    _exchanges: dict[str, Exchange] = field(default_factory=dict)
    _answers: dict[type[Any], list[asyncio.Future[Any]]] = field(default_factory=dict)
    _reader: asyncio.Task[None] | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _number: int = 0
    _ended_here: bool = False

    def start(self) -> None:
        """Begin to read."""
        if self.tap is not None:
            self._number = self.tap.opened(self.session_id, self.boot_id)
        self.link.hand_to(self._take)
        self._reader = asyncio.create_task(self._read())

    def send(self, frame: msgspec.Struct) -> None:
        """Post a frame; on a connection that is lost, do nothing: whoever waits is told."""
        if self.tap is not None and self.link.open:
            self.tap.sent(self._number, frame)
        self.link.post(_encode(frame))

    def expect(self, request_id: str, on_frame: Callable[[wire.CallToolAck | wire.Progress], None]) -> Exchange:
        """Register a request before it is sent.

        Raises:
            ConnectionLostError: The connection has ended.
        """
        if self.lost.is_set():
            raise ConnectionLostError
        exchange = Exchange(self._loop.create_future(), on_frame)
        self._exchanges[request_id] = exchange
        return exchange

    def forget(self, request_id: str) -> None:
        """Wait for a request no longer; a late answer is ignored."""
        self._exchanges.pop(request_id, None)

    async def ask(self, frame: msgspec.Struct, answer: type[Any]) -> Any:
        """Send a request that has one answer, and return that. Answers of one kind come in the order of requests.

        Raises:
            ConnectionLostError: The connection ended first.
            NoAnswerError: There was no answer in time.
        """
        if self.lost.is_set():
            raise ConnectionLostError
        future = asyncio.get_running_loop().create_future()
        self._answers.setdefault(answer, []).append(future)
        self.send(frame)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_WALL_S):
                return await future  # one that is given up stays in its place, and takes the late answer
        except TimeoutError:
            raise NoAnswerError from None

    async def close(self) -> None:
        """Close the connection and wait until its reader has ended."""
        self._ended_here = True
        self.link.flush()
        await self.link.close()
        if self._reader is not None:
            await asyncio.wait([self._reader])

    def drop(self) -> None:
        """End the connection at once, without a word to the daemon: as a client that crashes."""
        self._ended_here = True
        self.link.transport.abort()

    def pause_reading(self) -> None:
        """Leave what the daemon sends unread, as a client that is stuck, until `resume_reading`."""
        self.link.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self.link.transport.resume_reading()

    async def _read(self) -> None:
        """Take the frames that the link does not hand over by itself; at the end tell all who still wait."""
        try:
            while True:
                self._take(await self.link.read())
        except ConnectionClosed:
            pass
        finally:
            self.lost.set()
            if self.tap is not None:
                self.tap.closed(self._number, lost=not self._ended_here)
            for exchange in self._exchanges.values():
                exchange.fail(ConnectionLostError())
            for future in (future for futures in self._answers.values() for future in futures):
                if not future.done():
                    future.set_exception(ConnectionLostError())
                    future.exception()  # the same

    def _take(self, message: str | bytes) -> None:
        """Hand one frame over. One that cannot be read is the daemon's fault, and belongs to nobody."""
        try:
            frame = _decode(message)
        except (msgspec.DecodeError, RecursionError):
            frame = None
        if self.tap is not None:
            self.tap.received(self._number, frame)
        if frame is None:
            return
        self.heard = True
        if isinstance(frame, wire.CallToolAck | wire.Progress):
            exchange = self._exchanges.get(frame.request_id)
            if exchange is not None:
                self._tell(exchange, frame)
        elif isinstance(frame, wire.CallToolReply | wire.ErrorFrame):
            exchange = self._exchanges.pop(frame.request_id or "", None)
            if exchange is not None and not exchange.done.done():
                exchange.done.set_result(frame)
        else:
            futures = self._answers.get(type(frame))
            if futures:
                future = futures.pop(0)
                if not future.done():
                    future.set_result(frame)

    def _tell(self, exchange: Exchange, frame: wire.CallToolAck | wire.Progress) -> None:
        """Hand an ack or a heartbeat to its request. What that raises is its own affair, not this connection's."""
        try:
            exchange.on_frame(frame)
        except Exception as error:  # noqa: BLE001 - it is raised again, where the request is waited for
            exchange.fail(error)


def check_url(url: str) -> None:
    """Refuse what cannot be a daemon's address.

    Raises:
        ConfigError: It is not of the form ws://HOST:PORT.
    """
    try:
        parse_uri(url)
    except (InvalidURI, ValueError):
        raise ConfigError("the daemon's URL", url, "must be of the form ws://HOST:PORT") from None


async def open_channel(url: str, clock: Clock, *, token: str | None, label: str, tap: Tap | None = None) -> Channel:
    """Connect, say hello, and begin to read.

    Args:
        url: The daemon's; `check_url` has seen it.
        clock: Source of time.
        token: The daemon's token, if it has one.
        label: What the client calls itself, for the daemon's logs.
        tap: Is told of every frame after the hello.

    Raises:
        DaemonUnreachableError: Nobody answers there, or not as a daemon would.
        HelloRefusedError: The daemon does not let us in.
    """
    timeout_wall_s = max(clock.wall_s(OPEN_TIMEOUT_S), LEAST_OPEN_TIMEOUT_WALL_S)
    try:
        async with asyncio.timeout(timeout_wall_s):
            link = await _connect(url, clock)
            ack = await _say_hello(link, token, label)
    except TimeoutError:
        raise DaemonUnreachableError(url, f"no answer within {timeout_wall_s:g} s") from None
    except (OSError, UnicodeError, InvalidHandshake, ConnectionClosed, msgspec.DecodeError) as error:
        raise DaemonUnreachableError(url, _reason(error)) from None
    if not ack.ok:
        await link.close()
        raise HelloRefusedError(ack.error or "refused")
    channel = Channel(link, ack.session_id or "", ack.boot_id, tap)
    channel.start()
    return channel


async def _connect(url: str, clock: Clock) -> ClientLink:
    """Return a connection on which nothing was said yet."""
    connection = await connect(
        url,
        create_connection=ClientLink,
        compression=None,
        proxy=None,
        max_size=MAX_FRAME_BYTES,
        max_queue=1024,
        open_timeout=None,
        close_timeout=1.0,
        ping_interval=max(clock.wall_s(20.0), 5.0),
        ping_timeout=max(clock.wall_s(60.0), 5.0),
    )
    return cast("ClientLink", connection)  # as create_connection says


async def _say_hello(link: ClientLink, token: str | None, label: str) -> wire.HelloAck:
    """Send the hello and return its answer; without one, the connection is of no use and ends."""
    try:
        link.post(_encode(wire.Hello(token=token, session_id=label or None)))
        return msgspec.json.decode(await link.read(), type=wire.HelloAck)
    except BaseException:
        link.transport.abort()
        raise


def _reason(error: Exception) -> str:
    """Return why there is no connection, in few words."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; `exai daemon` starts one"
    if isinstance(error, msgspec.DecodeError):
        return "what listens there answers no hello"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
