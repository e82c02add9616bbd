"""Load for the benchmark, in a process of its own: PORT CONNECTIONS IN_FLIGHT CALLS.

Prints the elapsed seconds, and the P50 and P99 of the latency in seconds. The same program loads floor and daemon.
"""

import asyncio
import sys
import time
from itertools import count

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from reference_daemon import wire

_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct):
    """A frame, as far as the load looks at it."""

    op: str
    request_id: str = ""


_decode = msgspec.json.Decoder(Answer).decode
_numbers = count()
_STAMP = time.time_ns()


async def _connection(port: int, calls: int, in_flight: int, latencies_s: list[float]) -> None:
    """Make `calls` calls over one connection, `in_flight` at a time: a reader, and a task for each call."""
    waiting: dict[str, asyncio.Future[None]] = {}
    places = asyncio.Semaphore(in_flight)

    async def call(connection: ClientConnection) -> None:
        number = next(_numbers)
        request_id = str(number)
        key, trace_id = f"{_STAMP:020}-{number:015}", f"{number + 1:032x}"
        answered = waiting[request_id] = asyncio.get_running_loop().create_future()
        sent_at = time.perf_counter()
        await connection.send(_encode(wire.CallTool(request_id, "nothing", {}, key, trace_id, 179.0)), text=True)
        await answered
        latencies_s.append(time.perf_counter() - sent_at)
        places.release()

    async def read(connection: ClientConnection) -> None:
        async for message in connection:
            answer = _decode(message)
            if answer.op == "call_tool_res":
                waiting.pop(answer.request_id).set_result(None)
            elif answer.op != "call_tool_ack":
                raise RuntimeError(f"unexpected {answer.op}")

    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, max_queue=None) as connection:
        await connection.send(_encode(wire.Hello()), text=True)
        await connection.recv()
        reader = asyncio.create_task(read(connection))
        tasks = []
        for _ in range(calls):
            await places.acquire()
            tasks.append(asyncio.create_task(call(connection)))
        await asyncio.gather(*tasks)
        reader.cancel()


async def _main(port: int, connections: int, in_flight: int, calls: int) -> None:
    latencies_s: list[float] = []
    start = time.perf_counter()
    each = calls // connections
    await asyncio.gather(*(_connection(port, each, in_flight, latencies_s) for _ in range(connections)))
    elapsed_s = time.perf_counter() - start
    latencies_s.sort()
    print(elapsed_s, latencies_s[len(latencies_s) // 2], latencies_s[int(len(latencies_s) * 0.99)])


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:5])))
