"""The client's end of a real connection: frames of every shape and size come whole, once, and in their order."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from reference_daemon import link, wire
from reference_daemon.channel import ConnectionLostError, open_channel
from reference_daemon.client import CallOutcome, DaemonClient
from reference_daemon.clock import Clock

HELLO_ACK = '{"op":"hello_ack","ok":true,"session_id":"s","boot_id":"b"}'

Script = Callable[[ServerConnection], Awaitable[None]]


def url_of(server: Server) -> str:
    """Return where a server listens."""
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


class SilentTap:
    """Is told of everything, and does nothing."""

    def opened(self, session_id: str, boot_id: str | None) -> int:
        """Give every connection the same number."""
        return 1

    def sent(self, connection: int, frame: msgspec.Struct) -> None:
        """Do nothing."""

    def received(self, connection: int, frame: wire.Reply | None) -> None:
        """Do nothing."""

    def closed(self, connection: int, *, lost: bool) -> None:
        """Do nothing."""


@asynccontextmanager
async def a_client_of(script: Script) -> AsyncIterator[DaemonClient]:
    """Yield a client of a server that accepts every hello, and then does as `script` says."""

    async def serve_one(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(HELLO_ACK)
        await script(connection)

    async with (
        serve(serve_one, "127.0.0.1", 0, max_size=None) as server,
        DaemonClient(url_of(server), clock=Clock()) as client,
    ):
        yield client


def beat(request_id: str, t: float) -> str:
    """Return a heartbeat."""
    return f'{{"op":"progress","request_id":"{request_id}","name":"chat","t":{t}}}'


def result(request_id: str, text: str = "done") -> str:
    """Return an answer."""
    outputs = f'[{{"text":"{text}","type":"text"}}]'
    return f'{{"op":"call_tool_res","request_id":"{request_id}","trace_id":"t","outputs":{outputs}}}'


async def next_call(connection: ServerConnection) -> wire.CallTool:
    """Return the next frame, a call."""
    return msgspec.json.decode(await connection.recv(), type=wire.CallTool)


async def test_fragments_keep_their_place() -> None:
    """A heartbeat in fragments comes after the whole one before it, and before the answer behind it."""
    beats: list[float] = []

    async def script(connection: ServerConnection) -> None:
        call = await next_call(connection)
        whole = beat(call.request_id, 2.0)
        await connection.send(beat(call.request_id, 1.0))
        await connection.send([whole[:9], whole[9:20], whole[20:]])
        await connection.send(beat(call.request_id, 3.0))
        await connection.send(result(call.request_id))
        await connection.wait_closed()

    async with a_client_of(script) as client:
        call = await client.call("chat", {}, timeout_s=60.0, on_progress=lambda frame: beats.append(frame.t))
    assert (call.outcome, beats) == (CallOutcome.OK, [1.0, 2.0, 3.0])


async def test_frames_right_behind_the_hello_keep_their_order() -> None:
    """What comes with the hello's answer, or while nobody reads yet, is told in order and once."""
    seen: list[int] = []
    all_seen = asyncio.Event()

    class NotingTap(SilentTap):
        def received(self, connection: int, frame: wire.Reply | None) -> None:
            assert isinstance(frame, wire.HealthResult)
            seen.append(frame.health["n"])
            if len(seen) == 20:
                all_seen.set()

    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(HELLO_ACK)
        for number in range(20):
            await connection.send(f'{{"op":"health_res","ok":true,"health":{{"n":{number}}}}}')
        await connection.wait_closed()

    async with serve(script, "127.0.0.1", 0) as server:
        channel = await open_channel(url_of(server), Clock(), token=None, label="", tap=NotingTap())
        await all_seen.wait()
        await channel.close()
    assert seen == list(range(20))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 300_000])
async def test_calls_of_every_size_arrive_whole(size: int) -> None:
    """The header of a frame says its length in one, three or nine bytes, and its payload is masked."""
    text = "".join(chr(ord("a") + number % 26) for number in range(size))

    async def script(connection: ServerConnection) -> None:
        call = await next_call(connection)
        await connection.send(result(call.request_id, call.arguments["text"]))
        await connection.wait_closed()

    async with a_client_of(script) as client:
        call = await client.call("chat", {"text": text}, timeout_s=60.0)
    assert call.outputs == [text]


async def test_what_is_no_text_ends_the_connection() -> None:
    """Bytes that are no UTF-8 in a text frame are refused with 1007, as WebSocket says."""
    code: asyncio.Queue[int | None] = asyncio.Queue()

    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(b'{"op":"\xff"}', text=True)
        await connection.wait_closed()
        code.put_nowait(connection.close_code)

    async with a_client_of(script) as client:
        with pytest.raises(ConnectionLostError):
            await client.health()
        assert await code.get() == 1007


async def test_a_binary_frame_is_read_like_a_text() -> None:
    """A daemon of another make may send JSON in either."""

    async def script(connection: ServerConnection) -> None:
        call = await next_call(connection)
        await connection.send(result(call.request_id).encode())
        await connection.wait_closed()

    async with a_client_of(script) as client:
        assert (await client.call("chat", {}, timeout_s=60.0)).ok


async def test_more_calls_than_masks_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are masked with bytes of the system's, which are drawn anew when they are used up."""
    masks, used = list[bytes](), list[bytes]()

    def token_bytes(size: int) -> bytes:
        drawn = os.urandom(size)
        if size > 100:  # those of a handshake are 16 bytes
            masks.extend(drawn[at : at + 4] for at in range(0, size, 4))
        return drawn

    def apply_mask(frame: bytes, mask: bytes) -> bytes:
        used.append(mask)
        return real_apply_mask(frame, mask)

    real_apply_mask: Callable[[bytes, bytes], bytes] = vars(link)["apply_mask"]
    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    monkeypatch.setattr(link, "apply_mask", apply_mask)

    async def script(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send('{"op":"health_res","ok":true,"health":{}}')

    async with a_client_of(script) as client:
        for _ in range(200):
            assert await client.health() == {}
    assert len(used) >= 200
    assert used == masks[: len(used)]  # each in its turn, and none twice


async def test_request_ids_are_of_one_request_only() -> None:
    """Two calls of a client, and the calls of two clients, have ids of their own."""
    seen: list[str] = []

    async def script(connection: ServerConnection) -> None:
        for _ in range(2):
            call = await next_call(connection)
            seen.append(call.request_id)
            await connection.send(result(call.request_id))
        await connection.wait_closed()

    for _ in range(2):
        async with a_client_of(script) as client:
            for _ in range(2):
                await client.call("chat", {}, timeout_s=60.0)
    assert len(set(seen)) == 4


async def test_a_tap_that_fails_ends_the_connection_for_all_who_wait() -> None:
    """A bug in what is told of every frame must not leave a call waiting for ever."""

    class BrokenTap(SilentTap):
        def received(self, connection: int, frame: wire.Reply | None) -> None:
            raise ZeroDivisionError

    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(HELLO_ACK)
        await connection.recv()
        await connection.send('{"op":"health_res","ok":true,"health":{}}')
        await connection.wait_closed()

    async with serve(script, "127.0.0.1", 0) as server:
        channel = await open_channel(url_of(server), Clock(), token=None, label="", tap=BrokenTap())
        with pytest.raises(ConnectionLostError):
            await channel.ask(wire.Health(), wire.HealthResult)
        assert channel._reader is not None
        assert isinstance(channel._reader.exception(), ZeroDivisionError)
        await channel.close()
