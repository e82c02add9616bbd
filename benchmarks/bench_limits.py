"""The daemon's limits against a bare server's: memory, sessions, calls in flight, and growth over many calls.

    python benchmarks/bench_limits.py [--sessions 5000] [--held 10000] [--calls 1000000] [--quick]

First each server, new, gets idle sessions, then calls in flight spread over them, and is asked meanwhile for calls
that take no time; at the end all calls are cancelled. Then sessions of the daemon come and go, round by round. Then it
answers call after call, and its memory is read again and again: it may grow to 1.1 times what it was when the store of
results was first full. Caps are opened by settings (`wide_open.py`); logs and metrics are on as shipped. Quote ratios
and bytes: times are the machine's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench_daemon import HERE, ServerProcess
from bench_limits_processes import (
    LoadProcess,
    raise_descriptors,
    resident_bytes,
)

MOST_GROWTH = 1.1
"""The daemon's memory may grow to this much of what it was when the store of results was first full."""

STORE_ENTRIES = 10_000
"""Results that the shipped daemon keeps at once, and so the calls after which its store is first full."""

SPARE_DESCRIPTORS = 100
"""For logs, pipes and libraries."""

WATCH_S = 10.0
"""Seconds over which the CPU of a server with calls in flight is measured: longer than a heartbeat interval."""

CHURN_ROUNDS, CHURN_SESSIONS = 12, 500
"""What is left of a session that ended is found when some thousands of objects more were made."""

QUICK = {"sessions": 300, "held": 1000, "calls": 60_000}


@dataclass(frozen=True)
class Limits:
    """What one server showed. Times in seconds.

    Attributes:
        session_bytes: Memory of an idle session.
        call_bytes: Memory of a call in flight.
        open_s: Until all sessions were open.
        hold_s: Until all calls were admitted.
        release_s: Until all calls were cancelled and answered.
        alone: P50 and P99 of a call that takes no time, with nothing else going on.
        amid: The same with all sessions open and all calls in flight.
        busy: Part of one core that the server needs meanwhile, for heartbeats and pings.
        left: Its memory after the release, to that before the calls.
    """

    session_bytes: float
    call_bytes: float
    open_s: float
    hold_s: float
    release_s: float
    alone: tuple[float, float]
    amid: tuple[float, float]
    busy: float
    left: float


def limits_of(server: ServerProcess, sessions: int, held: int) -> Limits:
    """Bring a new server to its limits."""
    load = LoadProcess(server)
    try:
        load.do("sessions", 1)
        alone = load.do("latency", 1000)
        empty = resident_bytes(server)
        (open_s,) = load.do("sessions", sessions)
        idle = resident_bytes(server)
        (hold_s,) = load.do("hold", held)
        full = resident_bytes(server)
        amid = load.do("latency", 1000)
        before_s, begun_at = server.cpu_s(), time.monotonic()
        time.sleep(WATCH_S)
        busy = (server.cpu_s() - before_s) / (time.monotonic() - begun_at)
        (release_s,) = load.do("release")
        left = resident_bytes(server) / idle
    finally:
        load.close()
    return Limits(
        session_bytes=(idle - empty) / sessions,
        call_bytes=(full - idle) / held,
        open_s=open_s,
        hold_s=hold_s,
        release_s=release_s,
        alone=(alone[0], alone[1]),
        amid=(amid[0], amid[1]),
        busy=busy,
        left=left,
    )


def print_limits(floor: Limits, daemon: Limits, sessions: int, held: int) -> None:
    """Print a table of both, with ratios."""
    rows = [
        ("memory of an idle session, KiB", floor.session_bytes / 1024, daemon.session_bytes / 1024),
        ("memory of a call in flight, KiB", floor.call_bytes / 1024, daemon.call_bytes / 1024),
        (f"{sessions} sessions opened in, s", floor.open_s, daemon.open_s),
        (f"{held} calls admitted in, s", floor.hold_s, daemon.hold_s),
        (f"{held} calls cancelled in, s", floor.release_s, daemon.release_s),
        ("a call alone, P50, ms", 1e3 * floor.alone[0], 1e3 * daemon.alone[0]),
        ("a call alone, P99, ms", 1e3 * floor.alone[1], 1e3 * daemon.alone[1]),
        ("a call amid all that, P50, ms", 1e3 * floor.amid[0], 1e3 * daemon.amid[0]),
        ("a call amid all that, P99, ms", 1e3 * floor.amid[1], 1e3 * daemon.amid[1]),
        ("memory after, to memory before the calls", floor.left, daemon.left),
    ]
    print(f"\n{sessions} sessions, {held} calls in flight\n{'':42} {'floor':>9} {'daemon':>9} {'ratio':>7}")
    for name, bare, full in rows:
        print(f"{name:42} {bare:9.2f} {full:9.2f} {full / bare if bare else float('nan'):7.2f}")
    print(f"{'part of a core, heartbeats and pings':42} {floor.busy:9.2f} {daemon.busy:9.2f}")


def call(server: ServerProcess, calls: int) -> float:
    """Make calls over 8 connections with 16 in flight each; return calls per second."""
    printed = subprocess.run(
        [sys.executable, str(HERE / "load.py"), *map(str, (server.port, 8, 16, calls))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    ).stdout
    return calls / float(printed.split()[0])


def growth_of(server: ServerProcess, calls: int) -> bool:
    """Make so many calls, print the memory on the way, and return whether it stayed within the bar."""
    print(
        f"\n{'calls':>9} {'MiB':>7} {'of it own':>10} {'to first full':>14} {'calls/s':>8} {'server CPU us/call':>19}"
    )
    made, first_full = 0, 0
    step = max(calls // 10, STORE_ENTRIES)
    ratio = 0.0
    while made < calls:
        block = STORE_ENTRIES if made == 0 else min(step, calls - made)
        before_s = server.cpu_s()
        rate = call(server, block)
        cpu_s = (server.cpu_s() - before_s) / block
        made += block
        resident = resident_bytes(server)
        first_full = first_full or resident
        ratio = resident / first_full
        own = resident_bytes(server, "RssAnon") / 2**20  # the system may drop pages of files whenever it likes
        print(f"{made:9} {resident / 2**20:7.1f} {own:10.1f} {ratio:14.3f} {rate:8.0f} {1e6 * cpu_s:19.1f}", flush=True)
    reached = ratio <= MOST_GROWTH
    print(f"memory at the end, to when the store was first full: {ratio:.3f}; <= {MOST_GROWTH} ", end="")
    print("reached" if reached else "MISSED")
    return reached


def churn_of(server: ServerProcess) -> None:
    """Open and lose sessions, round by round, and print the memory after each: it must come to a stand."""
    memory = [resident_bytes(server, "RssAnon")]
    for _ in range(CHURN_ROUNDS):
        load = LoadProcess(server)
        try:
            load.do("sessions", CHURN_SESSIONS)
        finally:
            load.close()
        memory.append(resident_bytes(server, "RssAnon"))
    print(f"\n{CHURN_ROUNDS} rounds of {CHURN_SESSIONS} sessions that come and go; memory of its own after each, MiB:")
    print(*(f"{each / 2**20:.0f}" for each in memory))
    print(f"last to half-way: {memory[-1] / memory[CHURN_ROUNDS // 2]:.2f}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--held", type=int, default=10_000, help="calls in flight at once")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of the growth test; 0: none")
    parser.add_argument("--quick", action="store_true", help=f"small numbers: {QUICK}")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args()
    allowed = raise_descriptors()
    sessions = min(options.sessions, allowed - SPARE_DESCRIPTORS)
    print(f"the machine allows {allowed} open files a process: {sessions} sessions")
    with tempfile.TemporaryDirectory() as scratch:
        seen = []
        for program in ("floor.py", "wide_open.py"):
            server = ServerProcess(program, Path(scratch) / program)
            try:
                seen.append(limits_of(server, sessions, options.held))
            finally:
                server.close()
        print_limits(seen[0], seen[1], sessions, options.held)
        server = ServerProcess("wide_open.py", Path(scratch) / "churn")
        try:
            churn_of(server)
        finally:
            server.close()
        if options.calls:
            server = ServerProcess("wide_open.py", Path(scratch) / "growth")
            try:
                growth_of(server, options.calls)
            finally:
                server.close()


if __name__ == "__main__":
    main()
