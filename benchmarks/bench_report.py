"""What a report costs: time and memory for a long history, from the files of a run to the files of its report.

    python benchmarks/bench_report.py            one million calls: at most 30 s and 1.5 GB on two cores
    python benchmarks/bench_report.py --quick    fifty thousand

The history is made and written by one process, read and reported by another, whose peak of memory is the figure. On a
machine that others use, look at the CPU time: it hardly waits. Judging is not measured: it depends on the rules and on
how many events there are.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reports.write import write_report
from scenarios.history import SCHEMA, Body
from scenarios.record import CALLS, EVENTS, Record, encode_events, read_record
from scenarios.run import FaultWindow, Run
from scenarios.verdict import Judgement

MANY, QUICK = 1_000_000, 50_000

MOST_S, MOST_GB = 30.0, 1.5


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took."""

    reading_s: float
    reporting_s: float
    cpu_s: float
    peak_gb: float


def write_history(directory: Path, calls: int) -> None:
    """Write a run of so many calls, column by column: a million rows at once would not measure the report."""
    draw = np.random.default_rng(7)
    at = np.arange(calls) * 0.5
    latency_s = draw.lognormal(3.8, 0.4, calls)
    outcome = draw.choice(
        ["ok", "replayed", "timeout", "over_capacity", "provider_error"], calls, p=[0.9, 0.04, 0.02, 0.02, 0.02]
    )
    failed, late = ~np.isin(outcome, ["ok", "replayed"]), outcome == "timeout"
    hexes = [draw.bytes(16).hex() for _ in range(calls)]
    columns = {
        "body": ["real"] * calls,
        "scenario": ["long"] * calls,
        "phase": np.where(at < at[-1] / 2, "steady", "peak"),
        "session": np.char.add("client-", (np.arange(calls) % 64).astype(str)),
        "tool": draw.choice(["analyze", "codereview", "testgen", "kimi_chat_with_tools"], calls),
        "provider": draw.choice(["GLM", "KIMI"], calls),
        "model": ["glm-4.6"] * calls,
        "expert": np.ones(calls, dtype=bool),
        "call_key_hash": [each[:12] for each in hexes],
        "trace_id": hexes,
        "request_id": [f"r-{number}" for number in range(calls)],
        "attempts": draw.integers(1, 4, calls),
        "intended_at": at,
        "sent_at": at,
        "acked_at": at + 0.01,
        "finished_at": at + latency_s,
        "outcome": outcome,
        "status": pa.array(np.where(failed, 500, 0), mask=~failed),
        "timeout_layer": pa.array(np.where(late, "daemon", ""), mask=~late),
        "latency_s": latency_s,
        "service_s": latency_s - 0.01,
        "retry_wait_s": draw.random(calls),
        "first_heartbeat_s": np.full(calls, 5.0),
        "max_heartbeat_gap_s": draw.uniform(4.9, 6.0, calls),
        "faults": [[]] * calls,
    }
    arrays = [pa.array(columns[field.name], type=field.type) for field in SCHEMA]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), directory / CALLS)
    (directory / EVENTS).write_bytes(encode_events(a_run(float(at[-1])), ()))


def a_run(end: float) -> Run:
    """Return the run that such calls belong to."""
    fault = FaultWindow(name="slow", title="slow", link="client-daemon", started_at=end / 3, ended_at=end / 2)
    return Run(
        scenario="long",
        title="A long run",
        body=Body.REAL,
        started_at="2026-01-02T03:04:05Z",
        wall_s=end,
        time_scale=1.0,
        seed=7,
        timeouts_s={"call timeout": 180.0, "heartbeat interval": 5.0},
        caps={"global": 24},
        faults=(fault,),
    )


def measure(directory: Path) -> Cost:
    """Read the run, write its report, and say what that took; in a process of its own."""
    begun = time.perf_counter()
    record: Record = read_record(directory)
    read = time.perf_counter()
    write_report(directory, record, Judgement(expectations=()))
    done = time.perf_counter()
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in kilobytes elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Cost(read - begun, done - read, time.process_time(), peak / 1e9)


def main() -> int:
    """Measure, print, and end with 1 if a million calls cost more than they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} calls")
    parser.add_argument("--calls", type=int, default=None, help=f"how many calls; {MANY} without")
    options = parser.parse_args()
    calls = options.calls or (QUICK if options.quick else MANY)
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with fresh.Pool(1) as pool:
            pool.apply(write_history, (Path(folder), calls))
        with fresh.Pool(1) as pool:
            cost = pool.apply(measure, (Path(folder),))
    total_s = cost.reading_s + cost.reporting_s
    parts = f"reading {cost.reading_s:.1f}, report {cost.reporting_s:.1f}; CPU {cost.cpu_s:.1f}"
    print(f"{calls} calls: {total_s:.1f} s ({parts}), {cost.peak_gb:.2f} GB")
    print(f"allowed for {MANY}: {MOST_S:.0f} s on two cores of its own, {MOST_GB} GB")
    return int(calls >= MANY and (total_s > MOST_S or cost.peak_gb > MOST_GB))


if __name__ == "__main__":
    sys.exit(main())
