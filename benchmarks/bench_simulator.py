"""The model against its peers: CPU per call in one run, in alternating pairs, and what each of them leaves out.

    python benchmarks/bench_simulator.py [--calls 20000] [--rounds 5] [--erlangs 14]

All of them simulate one loss system: Poisson arrivals, exponential service, 16 slots, and, but for Ciw, up to three
attempts with a wait between. The model does it with the daemon's whole policy: caps of session, provider and daemon,
keys, results, deadlines, duration windows, retry advice; and it writes down all that a row of the history needs. Its
peers have none of that:

- idiomatic: SimPy as it is usually written, a generator per call and a Resource; a full Resource is seen by its count;
- patient: the same with the rest of the client's rules in SimPy's own words: `request | timeout` as in its example of
  reneging, and a deadline over all attempts;
- heapq: a plain loop around a heap, the least that any of them can cost in Python;
- Ciw: a queueing library, without retries; left out, and said so, where it is not installed.

CPU seconds are of this process. Quote the ratios: absolute figures are the machine's.
"""

import argparse
import gc
import heapq
import importlib
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from statistics import median
from typing import Any

import simpy

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig
from scenarios.history import Outcome
from scenarios.model import Scenario
from simulator.model.engine import simulate

SLOTS, MEAN_S, ATTEMPTS, PATIENCE_S, WAIT_S, JITTER = 16, 40.0, 3, 180.0, 45.0, 0.1
IDIOMATIC_BAR, IDIOMATIC_AIM = 1.3, 2.0
CIW_BAR, CIW_AIM = 3.0, 5.0


@dataclass
class Row:
    arrived_at: float
    finished_at: float
    attempts: int
    succeeded: bool


@dataclass(frozen=True)
class Load:
    calls: int
    rate: float


# --- the peers -------------------------------------------------------------------------------------------------------


class System:
    """What a model in SimPy is made of."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.slots = simpy.Resource(self.env, SLOTS)
        self.chance = random.Random(seed)
        self.rows: list[Row] = []


Call = Generator[simpy.Event, Any, None]


def idiomatic(system: System) -> Call:
    """A call in SimPy as it is usually written."""
    env, slots, chance, rows = system.env, system.slots, system.chance, system.rows
    arrived_at = env.now
    for attempt in range(1, ATTEMPTS + 1):
        if slots.count < slots.capacity:
            with slots.request() as slot:
                yield slot
                yield env.timeout(chance.expovariate(1 / MEAN_S))
            rows.append(Row(arrived_at, env.now, attempt, succeeded=True))
            return
        if attempt < ATTEMPTS:
            yield env.timeout(WAIT_S * (1 + JITTER * chance.random()))
    rows.append(Row(arrived_at, env.now, ATTEMPTS, succeeded=False))


def patient(system: System) -> Call:
    """The same, with a deadline over all attempts, in SimPy's own words."""
    env, slots, chance, rows = system.env, system.slots, system.chance, system.rows
    arrived_at, patience = env.now, env.timeout(PATIENCE_S)
    for attempt in range(1, ATTEMPTS + 1):
        with slots.request() as slot:
            yield slot | env.timeout(0)
            if slot.triggered:
                done = env.timeout(chance.expovariate(1 / MEAN_S))
                yield done | patience
                rows.append(Row(arrived_at, env.now, attempt, succeeded=done.processed))
                return
        wait_s = WAIT_S * (1 + JITTER * chance.random())
        if attempt == ATTEMPTS or env.now + wait_s + 1 > arrived_at + PATIENCE_S:
            break
        yield env.timeout(wait_s)
    rows.append(Row(arrived_at, env.now, attempt, succeeded=False))


def in_simpy(call: Callable[[System], Call]) -> Callable[[Load, int], float]:
    """Return a run of such calls, which returns the share that succeeded."""

    def run(load: Load, seed: int) -> float:
        system = System(seed)
        system.env.process(arrivals(system, load))
        system.env.run()
        return sum(row.succeeded for row in system.rows) / len(system.rows)

    def arrivals(system: System, load: Load) -> Call:
        for _ in range(load.calls):
            yield system.env.timeout(system.chance.expovariate(load.rate))
            system.env.process(call(system))

    return run


def plain_loop(load: Load, seed: int) -> float:
    """A loop around a heap of tuples; return the share that succeeded."""
    chance, rows, busy = random.Random(seed), list[Row](), 0
    events: list[tuple[float, int, float, int]] = []  # moment, order, arrival, attempt; 0 for an end
    left, order = load.calls, 0
    heapq.heappush(events, (chance.expovariate(load.rate), 0, -1.0, 1))
    while events:
        now, _, arrived_at, attempt = heapq.heappop(events)
        order += 1
        if not attempt:
            busy -= 1
            continue
        if arrived_at < 0.0:
            arrived_at, left = now, left - 1
            if left:
                heapq.heappush(events, (now + chance.expovariate(load.rate), order, -1.0, 1))
                order += 1
        if busy < SLOTS:
            busy += 1
            end_at = now + chance.expovariate(1 / MEAN_S)
            rows.append(Row(arrived_at, end_at, attempt, succeeded=True))
            heapq.heappush(events, (end_at, order, arrived_at, 0))
        elif attempt < ATTEMPTS:
            heapq.heappush(events, (now + WAIT_S * (1 + JITTER * chance.random()), order, arrived_at, attempt + 1))
        else:
            rows.append(Row(arrived_at, now, attempt, succeeded=False))
    return sum(row.succeeded for row in rows) / len(rows)


def in_ciw(load: Load, seed: int) -> float:
    """Ciw, without retries; return the share that succeeded."""
    ciw: Any = importlib.import_module("ciw")  # it may not be installed
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(load.rate)],
        service_distributions=[ciw.dists.Exponential(1 / MEAN_S)],
        number_of_servers=[SLOTS],
        queue_capacities=[0],
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(load.calls, method="Arrive")
    records = simulation.get_all_records()
    served: int = sum(record.record_type == "service" for record in records)
    return served / len(records)


# --- the model -------------------------------------------------------------------------------------------------------


def the_model(load: Load, seed: int, *, advice: Advice, attempts: int = ATTEMPTS, history: bool = False) -> float:
    """The whole model; return the share that succeeded."""
    caps = Caps(total=SLOTS, session=8, tools={}, providers={"GLM": SLOTS})
    run = simulate(_scenario(load, attempts), PolicyConfig(caps=caps, advice=advice), seed=seed)
    if history:
        return sum(call.outcome.succeeded for call in run.calls) / len(run.calls)
    succeeded = {outcome for outcome in Outcome if outcome.succeeded}  # asked once: the peers' rows keep a bool
    return sum(call.outcome in succeeded for call in run.ended) / len(run.ended)


def _scenario(load: Load, attempts: int) -> Scenario:
    exponential = {"weibull": {"scale": MEAN_S, "shape": 1}}
    phase = {
        "phase": "load",
        "duration": load.calls / load.rate,
        "clients": 50,
        "arrivals": {"poisson": {"rate": load.rate}},
        "sequence": ["chat"],
    }
    return Scenario.model_validate(
        {
            "name": "loss",
            "title": "A loss system",
            "providers": {"GLM": {"latency": exponential, "concurrency": 1_000_000}},
            "retry": {"max_attempts": attempts},
            "load": [phase],
            "expect": [{"invariants": "all"}],
        }
    )


# --- the measurement -------------------------------------------------------------------------------------------------


def cpu_us(run: Callable[[int], float], seed: int, calls: int) -> tuple[float, float]:
    """Return the CPU microseconds per call, and the share that succeeded."""
    gc.collect()
    began_s = time.process_time()
    share = run(seed)
    return 1e6 * (time.process_time() - began_s) / calls, share


def compare(name: str, peer: Callable[[int], float], model: Callable[[int], float], rounds: int, calls: int) -> float:
    """Run both in turn; print the medians, and return the median of the ratios, peer to model."""
    for run in (peer, model):  # once for the imports
        run(rounds)
    pairs = [(cpu_us(peer, seed, calls), cpu_us(model, seed, calls)) for seed in range(rounds)]
    ratios = sorted(theirs / ours for (theirs, _), (ours, _) in pairs)
    theirs, ours = (median(side[0] for side in sides) for sides in zip(*pairs, strict=True))
    shares = [sum(side[1] for side in sides) / rounds for sides in zip(*pairs, strict=True)]
    print(
        f"{name:44} {theirs:7.1f} {ours:7.1f}   {median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        f"   {shares[0]:.3f} {shares[1]:.3f}"
    )
    return median(ratios)


def print_bar(name: str, ratio: float, bar: float, aim: float) -> None:
    """Say whether a bar is reached."""
    verdict = "reached" if ratio >= bar else "MISSED"
    print(f"bar: {name} at least {bar:g} times as fast (aim {aim:g}): {ratio:.2f} {verdict}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--erlangs", type=float, default=14.0)
    options = parser.parse_args()
    load, rounds = Load(options.calls, options.erlangs / MEAN_S), options.rounds
    fixed, shipped = Advice(mode=AdviceMode.FIXED, fixed_s=WAIT_S), Advice()

    def model(**more: Any) -> Callable[[int], float]:
        return lambda seed: the_model(load, seed, **more)

    def against(name: str, peer: Callable[[Load, int], float], ours: Callable[[int], float]) -> float:
        return compare(name, lambda seed: peer(load, seed), ours, rounds, load.calls)

    print(f"{load.calls} calls, {options.erlangs:g} erlangs on {SLOTS} slots, {rounds} pairs: CPU us per call, success")
    print(f"{'':44} {'peer':>7} {'model':>7}   {'peer / model':21}   {'peer':>5} {'model':>5}")
    ratio = against("idiomatic SimPy, shipped advice", in_simpy(idiomatic), model(advice=shipped))
    against("idiomatic SimPy, fixed advice", in_simpy(idiomatic), model(advice=fixed))
    against("patient SimPy, shipped advice", in_simpy(patient), model(advice=shipped))
    against("patient SimPy, fixed advice", in_simpy(patient), model(advice=fixed))
    against("plain heapq loop, fixed advice", plain_loop, model(advice=fixed))
    against("idiomatic SimPy, with the written history", in_simpy(idiomatic), model(advice=shipped, history=True))
    try:
        ciw = against("Ciw, no retries", in_ciw, model(advice=shipped, attempts=1))
    except ImportError:
        print("Ciw is not installed (it is in the extra bench): left out")
        ciw = None
    print_bar("than idiomatic SimPy", ratio, IDIOMATIC_BAR, IDIOMATIC_AIM)
    if ciw is not None:
        print_bar("than Ciw", ciw, CIW_BAR, CIW_AIM)


if __name__ == "__main__":
    main()
