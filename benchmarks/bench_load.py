"""The load driver against a bare client: calls per second in one run, block by block in turn, and its schedule lag.

    python benchmarks/bench_load.py [--calls 8000] [--rounds 5] [--rate 1000]

Both clients talk to `floor.py`, a bare server that answers at once, and have one connection with 64 calls in flight.
The bare client exchanges the same frames, with the same arguments, and keeps nothing; the driver does all that it does
in a drill: retries, timeouts, an event for each frame, a row for each call. The last line is an open load at a steady
rate. Servers and clients have a process each. Quote the ratio: absolute figures are the machine's.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from statistics import median

import msgspec
from bench_daemon import HERE, ServerProcess
from websockets.asyncio.client import connect

from chaos.load import LoadDriver
from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.garbage import look_rarely
from scenarios.events import AnyEvent
from scenarios.model import Scenario
from scenarios.workload import PlannedCall, Workload, arguments

IN_FLIGHT = 64
LEAST_RATIO = 0.7
"""The driver should make at least this part of the bare client's calls per second."""
OPEN_LOAD_S = 5.0


def scenario_of(arrivals: dict[str, object], duration_s: float) -> Scenario:
    """Return a scenario with one phase of chats."""
    phase = {"phase": "load", "duration": duration_s, "arrivals": arrivals, "mix": {"chat": 1}}
    return Scenario.model_validate(
        {
            "name": "bench",
            "title": "Benchmark",
            "time_scale": 1,
            "providers": {"GLM": {"latency": {"constant": {"value": 1}}}},
            "load": [phase],
            "expect": [{"metric": "calls", "min": 1}],
        }
    )


def closed_scenario(calls: int) -> Scenario:
    """Return a scenario that makes so many calls, 64 at a time."""
    return scenario_of({"closed": {"users": IN_FLIGHT, "calls": calls // IN_FLIGHT}}, 3600.0)


async def drive(port: int, scenario: Scenario) -> LoadDriver:
    """Run a scenario's load, and return its driver."""
    clock, events = Clock(), list[AnyEvent]()
    driver = LoadDriver(
        scenario,
        Workload(scenario, scenario.seed),
        url=f"ws://127.0.0.1:{port}",
        clock=clock,
        start_at=clock.now() + 0.3,
        note=events.append,
        active_faults=tuple,
        client_timeout_s=180.0,
    )
    await driver.connect()
    await driver.run()
    await driver.close()
    good = sum(1 for call in driver.calls if call.outcome.succeeded)
    assert good == len(driver.calls), f"only {good} of {len(driver.calls)} calls were answered"
    return driver


async def driver_block(port: int, calls: int) -> None:
    """Print the calls per second of the driver."""
    rows = (await drive(port, closed_scenario(calls))).calls
    began_at = min(row.sent_at or 0.0 for row in rows)
    print(len(rows) / (max(row.finished_at or 0.0 for row in rows) - began_at))


async def bare_block(port: int, calls: int) -> None:
    """Print the calls per second of a bare client with as many callers on one connection, and the same calls."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(wire.Reply).decode
    waiting: dict[str, asyncio.Future[None]] = {}
    scenario = closed_scenario(calls)
    workload, numbers = Workload(scenario, scenario.seed), count()

    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, max_queue=None) as connection:
        await connection.send(encode(wire.Hello()), text=True)
        await connection.recv()

        async def call(planned: PlannedCall) -> None:
            request_id = f"{next(numbers):036}"
            answered = waiting[request_id] = asyncio.get_running_loop().create_future()
            frame = wire.CallTool(
                request_id, planned.tool, arguments(planned), planned.call_key, planned.trace_id, 179.0
            )
            await connection.send(encode(frame), text=True)
            await answered

        async def caller(user: int) -> None:
            while (planned := workload.next_call(user, 0.0)) is not None:
                await call(planned)

        async def read() -> None:
            async for message in connection:
                frame = decode(message)
                if isinstance(frame, wire.CallToolReply):
                    waiting.pop(frame.request_id).set_result(None)

        reader = asyncio.create_task(read())
        start = time.perf_counter()
        await asyncio.gather(*(caller(user) for user in range(IN_FLIGHT)))
        elapsed_s = time.perf_counter() - start
        reader.cancel()
    print(calls // IN_FLIGHT * IN_FLIGHT / elapsed_s)


async def open_block(port: int, rate: int) -> None:
    """Print the 99th percentile of the schedule lag, in seconds, of an open load."""
    driver = await drive(port, scenario_of({"poisson": {"rate": rate}}, OPEN_LOAD_S))
    print(driver.lag_p99_s())


BLOCKS = {"driver": driver_block, "bare": bare_block, "open": open_block}


def run_block(kind: str, server: ServerProcess, number: int) -> float:
    """Run a block in a process of its own, and return what it printed."""
    printed = subprocess.run(
        [sys.executable, __file__, "--block", kind, str(server.port), str(number)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    ).stdout
    return float(printed)


def compare(server: ServerProcess, rounds: int, calls: int) -> None:
    """Run both clients in turn, and print the medians and the ratio."""
    for kind in ("bare", "driver"):
        run_block(kind, server, calls // 4)
    pairs = [(run_block("bare", server, calls), run_block("driver", server, calls)) for _ in range(rounds)]
    ratios = sorted(driver / bare for bare, driver in pairs)
    print(f"1 connection x {IN_FLIGHT} in flight, {rounds} pairs of {calls} calls")
    print(f"bare client: {median(bare for bare, _ in pairs):.0f} calls/s")
    print(f"load driver: {median(driver for _, driver in pairs):.0f} calls/s")
    reached = "reached" if median(ratios) >= LEAST_RATIO else "MISSED"
    print(f"ratio: median {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); >= {LEAST_RATIO} {reached}")


def main() -> None:
    """Run the benchmark, or one block of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=1000, help="calls per second of the open load")
    parser.add_argument("--block", nargs=3, metavar=("KIND", "PORT", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.block:
        look_rarely()  # as a drill does
        kind, port, number = options.block
        asyncio.run(BLOCKS[kind](int(port), int(number)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        floor = ServerProcess("floor.py", Path(scratch) / "floor")
        try:
            compare(floor, options.rounds, options.calls)
            lag_s = run_block("open", floor, options.rate)
            print(f"open load of {options.rate} calls/s for {OPEN_LOAD_S:g} s: schedule lag p99 {1e3 * lag_s:.1f} ms")
        finally:
            floor.close()


if __name__ == "__main__":
    main()
