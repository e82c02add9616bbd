"""Load for `bench_limits.py`, in a process of its own: it does what the lines of its stdin say, and answers each.

    sessions N   open connections until N are open
    hold N       make N calls of a tool that waits, spread over the connections, and wait until each is admitted
    release      cancel them, and wait until each is answered
    latency N    make N calls of a tool that takes no time, one at a time, over a connection of their own

Each answer is one line of numbers: the seconds that it took; for `latency` the P50 and the P99, in seconds.
"""

import asyncio
import itertools
import sys
import time
from typing import NamedTuple

import msgspec
from bench_limits_processes import raise_descriptors
from load import Answer
from websockets.asyncio.client import ClientConnection, connect

from reference_daemon import wire

HANDSHAKES_AT_ONCE = 32
"""Enough to keep both sides busy, too few to overflow the server's backlog."""

CALL_TIMEOUT_S = 179.0
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


class Waiting(NamedTuple):
    """A call that was sent."""

    request_id: str
    acked: asyncio.Future[None]
    answered: asyncio.Future[None]


class Load:
    """Connections to one server, and the calls on them."""

    def __init__(self, port: int) -> None:
        """Connect to nothing yet."""
        self._port = port
        self._connections: list[ClientConnection] = []
        self._readers: list[asyncio.Task[None]] = []
        self._acked: dict[str, asyncio.Future[None]] = {}
        self._answered: dict[str, asyncio.Future[None]] = {}
        self._held: list[tuple[ClientConnection, Waiting]] = []
        self._numbers = itertools.count()

    async def do(self, command: str, number: int) -> tuple[float, ...]:
        """Do what a line says, and return the numbers of its answer."""
        if command == "latency":
            return await self._latency(number)
        work = {"sessions": self._open, "hold": self._hold, "release": self._release}[command]
        begun_at = time.perf_counter()
        await work(number)
        return (time.perf_counter() - begun_at,)

    async def _open(self, number: int) -> None:
        missing = iter(range(number - len(self._connections)))

        async def some() -> None:
            for _ in missing:
                self._connections.append(await self._connect())

        await asyncio.gather(*(some() for _ in range(HANDSHAKES_AT_ONCE)))

    async def _connect(self) -> ClientConnection:
        connection = await connect(
            f"ws://127.0.0.1:{self._port}", compression=None, proxy=None, max_queue=None, ping_interval=None
        )
        await connection.send(_encode(wire.Hello()), text=True)
        await connection.recv()
        self._readers.append(asyncio.create_task(self._read(connection)))
        return connection

    async def _read(self, connection: ClientConnection) -> None:
        async for message in connection:
            frame = _decode(message)
            if frame.op == "call_tool_ack":
                self._acked.pop(frame.request_id).set_result(None)
            elif frame.op == "call_tool_res":
                self._answered.pop(frame.request_id).set_result(None)
            elif frame.op != "progress":
                raise RuntimeError(f"unexpected {frame.op}")

    async def _call(self, connection: ClientConnection, tool: str) -> Waiting:
        number = next(self._numbers)
        request_id, key, trace_id = str(number), f"{time.time_ns():020}-{number:015}", f"{number + 1:032x}"
        loop = asyncio.get_running_loop()
        waiting = Waiting(request_id, loop.create_future(), loop.create_future())
        self._acked[request_id], self._answered[request_id] = waiting.acked, waiting.answered
        frame = wire.CallTool(request_id, tool, {}, key, trace_id, CALL_TIMEOUT_S)
        await connection.send(_encode(frame), text=True)
        return waiting

    async def _hold(self, number: int) -> None:
        connections = itertools.cycle(self._connections)
        calls = [
            (connection, await self._call(connection, "hold")) for connection in itertools.islice(connections, number)
        ]
        await asyncio.gather(*(call.acked for _, call in calls))
        self._held += calls

    async def _release(self, _number: int) -> None:
        for connection, call in self._held:
            await connection.send(_encode(wire.Cancel(call.request_id)), text=True)
        await asyncio.gather(*(call.answered for _, call in self._held))
        self._held.clear()

    async def _latency(self, number: int) -> tuple[float, ...]:
        connection = await self._connect()
        seen_s = []
        for _ in range(number):
            begun_at = time.perf_counter()
            await (await self._call(connection, "nothing")).answered
            seen_s.append(time.perf_counter() - begun_at)
        await connection.close()
        seen_s.sort()
        return seen_s[number // 2], seen_s[int(number * 0.99)]


async def _main(port: int) -> None:
    raise_descriptors()
    load = Load(port)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, number = line.split()
        print(*await load.do(command, int(number)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
