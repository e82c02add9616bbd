"""A client as small as one can be: it sends what it is told, however wrong, and returns what comes."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.frames import Frame as FrameOnTheWire
from websockets.frames import Opcode

from chaos.probes.case import NotAskedError
from chaos.probes.target import Target

BOUND_S: Final = 5.0
"""Wall seconds after which an answer is not waited for any more: far beyond any rule, so that only a hang meets it."""

Answer = dict[str, Any]
Message = Mapping[str, Any] | str | bytes


class RawClient:
    """One connection.

    Attributes:
        connection: The library's connection.
        session_id: Id that the daemon gave; None before the hello.
        seen: Everything that came, as text.
    """

    def __init__(self, connection: ClientConnection) -> None:
        """Speak over an open connection."""
        self.connection = connection
        self.session_id: str | None = None
        self.seen: list[str] = []

    async def send(self, message: Message) -> None:
        """Send a frame: an object as JSON, text and bytes as they are."""
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def write(self, *frames: bytes) -> None:
        """Write frames below the library, in one go."""
        self.connection.transport.write(b"".join(frames))

    async def receive(self, *, bound_s: float = BOUND_S) -> Answer:
        """Return the next frame."""
        async with asyncio.timeout(bound_s):
            text = await self.connection.recv()
        self.seen.append(text if isinstance(text, str) else repr(text))
        frame = json.loads(text)
        return frame if isinstance(frame, dict) else {"op": "?"}

    async def ask(self, message: Message) -> Answer:
        """Send a frame and return the next one that comes."""
        await self.send(message)
        return await self.receive()

    async def until(self, op: str, request_id: str, *, bound_s: float = BOUND_S) -> Answer:
        """Return the next frame of this op for this request; others are dropped."""
        async with asyncio.timeout(bound_s):
            while True:
                frame = await self.receive(bound_s=bound_s)
                if (frame.get("op"), frame.get("request_id")) == (op, request_id):
                    return frame

    async def everything_for(self, wall_s: float) -> list[Answer]:
        """Return what comes in this time."""
        frames = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wall_s):
                while True:
                    frames.append(await self.receive(bound_s=wall_s))
        return frames

    async def is_well(self) -> bool:
        """Return whether the connection is open and a question on it is answered next."""
        answer = await self.ask({"op": "health", "request_id": "still-there"})
        return (answer.get("op"), answer.get("request_id")) == ("health_res", "still-there")

    async def close_code(self, *, bound_s: float = BOUND_S) -> int | None:
        """Wait until the daemon closes the connection, and return the code; what comes before is dropped."""
        async with asyncio.timeout(bound_s):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    text = await self.connection.recv()
                    self.seen.append(text if isinstance(text, str) else repr(text))
            await self.connection.wait_closed()
        return self.connection.close_code


@contextlib.asynccontextmanager
async def dialled(target: Target) -> AsyncIterator[RawClient]:
    """Open a connection and say nothing.

    Raises:
        NotAskedError: There is none to be had.
    """
    try:
        # Nothing of the library's own gets in between: no bound, no pings, no pause of reading.
        connection = await connect(
            _url(target),
            max_size=None,
            compression=None,
            proxy=None,
            ping_interval=None,
            max_queue=None,
            open_timeout=BOUND_S,
            close_timeout=0.5,
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidMessage) as error:
        raise NotAskedError(f"no connection: {type(error).__name__}: {error}") from error
    try:
        yield RawClient(connection)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def session(target: Target, **hello: object) -> AsyncIterator[RawClient]:
    """Open a session: a connection that said hello and was let in.

    Raises:
        NotAskedError: The daemon let nobody in.
    """
    async with dialled(target) as client:
        ack = await client.ask(hello_of(target.token, **hello))
        if ack.get("ok") is not True:
            token = "with the token" if target.token else "without a token"
            raise NotAskedError(f"the daemon refused a hello {token}: {ack.get('error')}")
        client.session_id = str(ack.get("session_id"))
        yield client


def hello_of(token: object, **more: object) -> dict[str, object]:
    """Return a hello; a token that is None is left out."""
    return {"op": "hello", **({} if token is None else {"token": token}), **more}


def a_call(name: str, request_id: str, arguments: Mapping[str, object] | None = None, **more: object) -> Answer:
    """Return a `call_tool`."""
    return {"op": "call_tool", "request_id": request_id, "name": name, "arguments": dict(arguments or {}), **more}


def a_frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """Return a masked WebSocket frame."""
    return FrameOnTheWire(opcode, data, fin).serialize(mask=True)


UPGRADE: Final = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


async def http_status(target: Target, headers: Sequence[tuple[str, str]], path: str = "/") -> tuple[int, bytes]:
    """Send a GET with exactly these headers; return the status and what came with it.

    Raises:
        NotAskedError: There is no connection to be had.
    """
    try:
        reader, writer = await asyncio.open_connection(target.host, target.port)
    except OSError as error:
        raise NotAskedError(f"no connection: {error}") from error
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        async with asyncio.timeout(BOUND_S):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            body = b"" if status == 101 else await reader.read()  # noqa: PLR2004 - Switching Protocols has no end
        return status, head + body
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def error_of(answer: Answer) -> tuple[int | None, str | None]:
    """Return status and code of an error, wherever this kind of answer carries it."""
    inner = answer.get("error")
    error = inner if isinstance(inner, dict) else answer
    return error.get("status"), error.get("code")


def describe(answer: Answer) -> str:
    """Say what an answer is, without its texts."""
    status, code = error_of(answer)
    facts = f" {status} {code}" if code is not None else ""
    return f"{answer.get('op')}{facts} for {str(answer.get('request_id'))[:40]}"


class Stopwatch:
    """Wall seconds since it was made."""

    def __init__(self) -> None:
        """Start it."""
        self._at = time.monotonic()

    def s(self) -> float:
        """Return the wall seconds so far."""
        return time.monotonic() - self._at


def _url(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"ws://{host}:{target.port}"
