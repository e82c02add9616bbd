"""What the shim costs: a call of `version` through it against the same call on the daemon directly, in one run.

    python benchmarks/bench_shim.py [--calls 300] [--rounds 5]

One daemon serves both. Directly: the reference client in this process. Through the shim: JSON-RPC over the pipes of a
shim process, written and read by this process. One call at a time, and 32 in flight; blocks take turns.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from chaos.daemon_process import DaemonReady
from chaos.processes import Children, Command
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock

ROOT = Path(__file__).parent.parent
IN_FLIGHT = (1, 32)

Call = Callable[[], Awaitable[None]]


def environment(folder: Path, port: int) -> dict[str, str]:
    """Return the environment of our processes."""
    caps = {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "1000", "EXAI_WS_SESSION_MAX_INFLIGHT": "1000"}
    own = {"PYTHONPATH": str(ROOT), "EXAI_WS_PORT": str(port), "EXAI_LOG_DIR": str(folder), "EXAI_WS_AUTOSTART": "no"}
    return {**os.environ, **caps, **own}


async def start_daemon(stack: AsyncExitStack, folder: Path) -> int:
    """Start a daemon and return its port; it ends with `stack`."""
    children = await stack.enter_async_context(Children(say=print))
    ready = folder / "ready.json"
    command = (sys.executable, "-m", "exai", "daemon", f"--ready-file={ready}")
    daemon = await children.start(
        Command(name="daemon", arguments=command, environment=environment(folder, 0), log=folder / "daemon.log")
    )
    return (await daemon.ready(ready, DaemonReady)).port


async def start_shim(stack: AsyncExitStack, folder: Path, port: int) -> asyncio.subprocess.Process:
    """Start a shim with pipes; it is killed at the end of `stack`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "exai", "shim"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
        env=environment(folder, port),
        limit=2**20,
    )

    async def end() -> None:
        process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process


class Shim:
    """JSON-RPC over the pipes of a shim."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        self._reader = asyncio.create_task(self._read())

    async def ask(self, method: str, **params: object) -> None:
        """Send a request and wait for its answer."""
        self._number += 1
        answered = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        self.send(id=self._number, method=method, params=params)
        await answered

    def send(self, **message: object) -> None:
        """Write a message."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def call(self) -> None:
        """Call `version`."""
        await self.ask("tools/call", name="version", arguments={})

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message and "method" not in message:
                if message.get("result", {}).get("isError"):
                    raise RuntimeError(line)
                self._waiting.pop(message["id"]).set_result(None)


async def block_s(call: Call, calls: int, in_flight: int) -> float:
    """Return the seconds that one call takes, as the block's time over its calls."""

    async def some() -> None:
        for _ in range(calls // in_flight):
            await call()

    begun_at = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(in_flight)))
    return (time.perf_counter() - begun_at) / (calls // in_flight * in_flight)


async def compare(direct: Call, through: Call, *, calls: int, rounds: int, in_flight: int) -> None:
    """Run both in turn, and print the medians and the ratio of each pair."""
    await block_s(direct, calls, in_flight)
    await block_s(through, calls, in_flight)
    pairs = [(await block_s(direct, calls, in_flight), await block_s(through, calls, in_flight)) for _ in range(rounds)]
    ratios = sorted(with_shim / without for without, with_shim in pairs)
    print(
        f"{in_flight:3} in flight: directly {1e3 * median(pair[0] for pair in pairs):.2f} ms, "
        f"through the shim {1e3 * median(pair[1] for pair in pairs):.2f} ms a call; "
        f"ratio {median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
    )


async def run(calls: int, rounds: int) -> None:
    """Run the benchmark."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = await start_daemon(stack, folder)
        shim = Shim(await start_shim(stack, folder, port))
        info = {"name": "bench", "version": "1"}
        await shim.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)
        shim.send(method="notifications/initialized")
        client = await stack.enter_async_context(DaemonClient(f"ws://127.0.0.1:{port}", clock=Clock()))

        async def direct() -> None:
            result = await client.call("version", {}, timeout_s=60.0)
            if not result.ok:
                raise RuntimeError(result.outcome)

        for in_flight in IN_FLIGHT:
            await compare(direct, shim.call, calls=calls, rounds=rounds, in_flight=in_flight)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(run(options.calls, options.rounds))


if __name__ == "__main__":
    main()
