"""A client as small as one can be: it sends what it is told and returns what comes. A hang fails after `BOUND_S`."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame as FrameOnTheWire
from websockets.frames import Opcode

BOUND_S = 10.0
"""Wall seconds after which a test does not wait any longer: far beyond any rule, so that only a hang meets it."""

Frame = dict[str, Any]


class RawClient:
    """One connection.

    Attributes:
        hello_ack: The daemon's answer to the hello.
    """

    def __init__(self, connection: ClientConnection) -> None:
        """Speak over an open connection."""
        self.connection = connection
        self.hello_ack: Frame = {}

    async def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send a frame: an object as JSON, text and bytes as they are."""
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self) -> Frame:
        """Return the next frame."""
        async with asyncio.timeout(BOUND_S):
            frame = json.loads(await self.connection.recv())
        assert isinstance(frame, dict)
        return frame

    async def ask(self, message: Mapping[str, Any] | str | bytes) -> Frame:
        """Send a frame and return the next one that comes."""
        await self.send(message)
        return await self.receive()

    async def call(self, name: str, request_id: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Frame:
        """Send a `call_tool` and return its first answer: the ack, or the refusal."""
        message = {"op": "call_tool", "request_id": request_id, "name": name, "arguments": arguments or {}, **more}
        return await self.ask(message)

    async def frames_until(self, op: str, request_id: str | None = None) -> list[Frame]:
        """Return the frames that come, up to and with the first one of `op` (and `request_id`)."""
        frames: list[Frame] = []
        async with asyncio.timeout(BOUND_S):
            while not frames or frames[-1]["op"] != op or request_id not in {None, frames[-1].get("request_id")}:
                frames.append(await self.receive())
        return frames

    async def result(self, request_id: str) -> Frame:
        """Return the terminal answer of a call, whatever comes before it."""
        return (await self.frames_until("call_tool_res", request_id))[-1]

    async def health(self) -> Frame:
        """Return the daemon's figures; whatever came before them is dropped."""
        await self.send({"op": "health"})
        figures = (await self.frames_until("health_res"))[-1]["health"]
        assert isinstance(figures, dict)
        return figures

    async def nothing_waits(self) -> bool:
        """Return whether nothing but the answer to a question comes: all before it was received."""
        return (await self.ask({"op": "health", "request_id": "nothing-waits"})).get("request_id") == "nothing-waits"

    async def close_code(self) -> int | None:
        """Wait until the daemon closes the connection; return the code. Frames that come before are dropped."""
        async with asyncio.timeout(BOUND_S):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed:
                await self.connection.wait_closed()
        return self.connection.close_code


async def open_raw(port: int, **options: Any) -> RawClient:
    """Open a connection, and say nothing."""
    # Nothing of the library's own gets in between: no bound, no pings, no pause of reading.
    options = {
        "max_size": None,
        "compression": None,
        "proxy": None,
        "ping_interval": None,
        "max_queue": None,
        **options,
    }
    return RawClient(await connect(f"ws://127.0.0.1:{port}", close_timeout=1.0, **options))


class HttpAnswer(NamedTuple):
    """What came back for an HTTP request."""

    status: int
    headers: dict[str, str]
    body: bytes


UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


async def http_get(port: int, path: str = "/", headers: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
    """Send a GET with exactly these headers; for an upgrade that is accepted there is no body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        async with asyncio.timeout(BOUND_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *rest = head.rstrip("\r\n").split("\r\n")
            status = int(first.split()[1])
            body = b"" if status == 101 else await reader.read()
        return HttpAnswer(status, dict(line.lower().split(": ", 1) for line in rest), body)
    finally:
        writer.close()
        await writer.wait_closed()


class RawSocket:
    """A session below the library: it writes frames of any kind, and reads nothing unless it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak over an open connection."""
        self._reader, self._writer = reader, writer

    def write(self, *frames: bytes) -> None:
        """Write frames as they are, in one go."""
        self._writer.write(b"".join(frames))

    async def drain(self) -> None:
        """Wait until the kernel has taken what was written; raise ConnectionError if the daemon is gone."""
        async with asyncio.timeout(BOUND_S):
            await self._writer.drain()

    async def read(self, size: int) -> bytes:
        """Begin to read: return the next `size` bytes or a few more."""
        received = bytearray()
        async with asyncio.timeout(BOUND_S):
            while len(received) < size:
                received += await self._reader.read(1 << 20)
        return bytes(received)

    async def read_all(self) -> bytes:
        """Return what comes until the daemon has said everything."""
        async with asyncio.timeout(BOUND_S):
            return await self._reader.read()

    async def close(self) -> None:
        """Close the connection, whatever is underway."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


def a_frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """Return a masked WebSocket frame."""
    return FrameOnTheWire(opcode, data, fin).serialize(mask=True)


async def open_socket(port: int, *, hello: bytes = b'{"op":"hello"}') -> RawSocket:
    """Open a connection and say hello, without reading the answer to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    lines = ["GET / HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in UPGRADE), "", ""]
    writer.write("\r\n".join(lines).encode())
    await reader.readuntil(b"\r\n\r\n")
    if hello:
        writer.write(a_frame(hello))
    return RawSocket(reader, writer)
