"""The daemon against its floor: calls per second, latency, server CPU per call, in one run, block by block in turn.

    python benchmarks/bench_daemon.py [--calls 20000] [--rounds 5]

The tool takes no time, caps are wide open, logs and metrics are on as shipped (to files). Servers and load have a
process each. The shapes are 1 connection x 64 calls in flight, and 50 x 4. Quote the ratios: absolute figures are the
machine's. The last table shows whether the daemon's cost per call stays flat.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
SHAPES = ((1, 64), (50, 4))
TICKS = os.sysconf("SC_CLK_TCK")
LEAST_RATIO = 0.7
"""The daemon should answer at least this part of the floor's calls per second."""
MOST_GROWTH = 1.1
"""The daemon's cost per call may grow to this much of what it was."""


@dataclass(frozen=True)
class Block:
    """What one block of load measured. Times in seconds."""

    calls_per_s: float
    p50_s: float
    p99_s: float
    cpu_per_call_s: float


class ServerProcess:
    """A server in a process of its own; it ends when its stdin closes."""

    def __init__(self, program: str, directory: Path) -> None:
        directory.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "EXAI_LOG_DIR": str(directory / "logs")}
        self._stderr = (directory / "stderr.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=directory,
            env=environment,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the CPU time that the server has used, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._stderr.close()


def run_block(server: ServerProcess, connections: int, in_flight: int, calls: int) -> Block:
    """Let a load process make `calls` calls, and measure."""
    before_s = server.cpu_s()
    printed = subprocess.run(
        [sys.executable, str(HERE / "load.py"), *map(str, (server.port, connections, in_flight, calls))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    ).stdout
    elapsed_s, p50_s, p99_s = map(float, printed.split())
    return Block(calls / elapsed_s, p50_s, p99_s, (server.cpu_s() - before_s) / calls)


def compare(shape: tuple[int, int], floor: ServerProcess, daemon: ServerProcess, rounds: int, calls: int) -> float:
    """Run both in turn, print the medians, and return the median of the ratios of calls/s of each pair."""
    run_block(floor, *shape, calls // 4)
    run_block(daemon, *shape, calls // 4)
    pairs = [(run_block(floor, *shape, calls), run_block(daemon, *shape, calls)) for _ in range(rounds)]
    print(f"\n{shape[0]} connection(s) x {shape[1]} in flight, {rounds} pairs of {calls} calls")
    print(f"{'':8} {'calls/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'server CPU us/call':>19}")
    for name, blocks in zip(("floor", "daemon"), zip(*pairs, strict=True), strict=True):
        print(
            f"{name:8} {median(b.calls_per_s for b in blocks):9.0f} {1e3 * median(b.p50_s for b in blocks):8.2f}"
            f" {1e3 * median(b.p99_s for b in blocks):8.2f} {1e6 * median(b.cpu_per_call_s for b in blocks):19.1f}"
        )
    rates = sorted(daemon.calls_per_s / floor.calls_per_s for floor, daemon in pairs)
    cpus = sorted(daemon.cpu_per_call_s / floor.cpu_per_call_s for floor, daemon in pairs)
    print(f"ratio of calls/s, daemon to floor: median {median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})")
    print(f"ratio of server CPU per call:      median {median(cpus):.2f} ({cpus[0]:.2f} to {cpus[-1]:.2f})")
    return median(rates)


def check_flatness(daemon: ServerProcess, calls: int) -> float:
    """Print the server's CPU per call in 20,000 calls after a warm-up; return late to early."""
    run_block(daemon, 1, 64, calls // 2)
    blocks = [run_block(daemon, 1, 64, 2500).cpu_per_call_s for _ in range(8)]
    early_s, late_s = median(blocks[:3]), median(blocks[-3:])
    print("\nserver CPU per call over 8 blocks of 2,500 calls, in us:", *(f"{1e6 * block:.0f}" for block in blocks))
    print(f"late to early: {late_s / early_s:.2f}")
    return late_s / early_s


def print_bars(ratios: list[float], growth: float) -> None:
    """Say which bars are reached."""
    bars = [
        (f"{connections} x {in_flight} >= {LEAST_RATIO}: {ratio:.2f}", ratio >= LEAST_RATIO)
        for (connections, in_flight), ratio in zip(SHAPES, ratios, strict=True)
    ]
    bars.append((f"late to early <= {MOST_GROWTH}: {growth:.2f}", growth <= MOST_GROWTH))
    print("\nbars:", "; ".join(f"{bar} {'reached' if reached else 'MISSED'}" for bar, reached in bars))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        floor = ServerProcess("floor.py", Path(scratch) / "floor")
        daemon = ServerProcess("wide_open.py", Path(scratch) / "daemon")
        try:
            ratios = [compare(shape, floor, daemon, options.rounds, options.calls) for shape in SHAPES]
            print_bars(ratios, check_flatness(daemon, options.calls))
        finally:
            floor.close()
            daemon.close()


if __name__ == "__main__":
    main()
