"""The floor of the daemon: a bare `websockets` server that exchanges the same frames, of the same sizes.

The tool `hold` waits for its `cancel`. One task per call, as in the daemon; msgspec for the frames; compression off.
No policy, no logs, no metrics, no checks.
Run as a program it serves until its stdin closes, and prints its port first.
"""

import asyncio
import sys
from contextlib import suppress
from functools import partial

import msgspec
from websockets.asyncio.server import ServerConnection, serve

from reference_daemon import wire

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.Hello | wire.CallTool | wire.Cancel).decode
OUTPUTS = msgspec.Raw(msgspec.json.encode([wire.Output("x" * 64)]))


async def _serve_connection(connection: ServerConnection) -> None:
    tasks: dict[str, asyncio.Task[None]] = {}

    async def call(frame: wire.CallTool) -> None:
        trace_id = frame.trace_id or ""
        ack = wire.CallToolAck(frame.request_id, frame.name, 179.0, trace_id, "0123456789ab")
        await connection.send(_encode(ack), text=True)
        if frame.name == "hold":
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
        answer = wire.CallToolResult(frame.request_id, trace_id, outputs=OUTPUTS, duration=0.0001)
        await connection.send(_encode(answer), text=True)

    async for message in connection:
        frame = _decode(message)
        if isinstance(frame, wire.CallTool):
            task = tasks[frame.request_id] = asyncio.create_task(call(frame))
            task.add_done_callback(partial(_forget, tasks, frame.request_id))
        elif isinstance(frame, wire.Cancel):
            tasks[frame.request_id].cancel()
        elif isinstance(frame, wire.Hello):
            await connection.send(
                _encode(wire.HelloAck(ok=True, session_id="floor", boot_id="floor", protocol=1)), text=True
            )


def _forget(tasks: dict[str, asyncio.Task[None]], request_id: str, _task: asyncio.Task[None]) -> None:
    tasks.pop(request_id)


async def _main() -> None:
    async with serve(_serve_connection, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
