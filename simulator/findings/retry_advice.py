"""Finding 4: what `retry_after` says decides whether three attempts are enough."""

from collections.abc import Sequence
from typing import Final

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig
from reports.study import Lines, Section, Study, Table
from scenarios.model import Scenario
from simulator.findings.experiment import Conditions, conditions_of, line, of, share, written
from simulator.replication.metrics import Figures

CAP: Final = 3
MEAN_S: Final = 45.0
BURST: Final = 9
BURSTS: Final = (3, 4, 5, 6, 7, 8, 9, 10, 12)
LOADS: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_PAST_S: Final = 2400.0
_USUAL_BURSTS: Final = 100
_USUAL_LOADS: Final = 20

ADVICE: Final = {
    "fixed:1": Advice(mode=AdviceMode.FIXED, fixed_s=1.0),
    "residual, median": Advice(mode=AdviceMode.RESIDUAL, quantile=0.5),
    "residual, P90": Advice(mode=AdviceMode.RESIDUAL),
    "appointment, median": Advice(quantile=0.5),
    "appointment, P90 (shipped)": Advice(),
}


def study(conditions: Conditions) -> Study:
    """Run the experiment."""
    table, headline, rates = _nine(conditions)
    return Study(
        kind="finding",
        name="retry-advice",
        headline=headline,
        sections=(
            Section(
                "Nine calls at once on a cap of three",
                "Calls of 35 to 55 s, three attempts. Where nothing was seen yet the daemon goes by "
                "EXAI_WS_EXPECTED_CALL_SECS; else 30 calls ran before, and it goes by what they took. The client waits "
                "180 s where nothing else is said.",
                tables=(table,),
            ),
            _over_bursts(conditions),
            _over_load(conditions),
        ),
        facts={"nine_at_once": rates},
        settings=conditions_of(conditions.seeds(_USUAL_BURSTS)),
    )


def config_with(advice: Advice) -> PolicyConfig:
    """Return the shipped settings with another advice, and no cap in the way but that of the tool."""
    return PolicyConfig(advice=advice, caps=Caps(total=64, session=64, providers={"GLM": 64}))


def burst(size: int, *, past: bool) -> Scenario:
    """Return so many `analyze` at once; with a past, after calls enough for the daemon to know how long they take."""
    before = {
        "phase": "past",
        "duration": _PAST_S,
        "arrivals": {"uniform": {"gap": _PAST_S / 30}},
        "sequence": ["analyze"],
    }
    rush = {
        "phase": "rush",
        "duration": 10,
        "clients": size,
        "arrivals": {"burst": {"size": size}},
        "sequence": ["analyze"],
    }
    return _scenario("burst", [before, rush] if past else [rush])


def stream(load: float) -> Scenario:
    """Return calls that arrive by themselves; `load` is what they ask for, as a part of the cap."""
    arrivals = {"poisson": {"rate": load * CAP / MEAN_S}}
    phase = {"phase": "steady", "duration": 4000, "clients": 20, "arrivals": arrivals, "sequence": ["analyze"]}
    return _scenario("stream", [phase])


def _scenario(name: str, load: list[dict[str, object]]) -> Scenario:
    latency = {"uniform": {"low": 35, "high": 55}}
    return Scenario.model_validate(
        {
            "name": name,
            "title": "Retry advice",
            "providers": {"GLM": {"latency": latency, "concurrency": 64}},
            "load": load,
            "expect": [{"metric": "calls", "min": 1}],
        }
    )


def _nine(conditions: Conditions) -> tuple[Table, str, dict[str, float]]:
    conditions.say("nine calls at once")
    seeds = conditions.seeds(3 * _USUAL_BURSTS)
    columns = {"nothing seen": (False, 180.0), "seen": (True, 180.0), "150 s": (True, 150.0), "240 s": (True, 240.0)}
    rows: list[tuple[str, ...]] = []
    rates: dict[str, float] = {}
    for name, advice in ADVICE.items():
        found = [
            of(_rush(conditions, advice, seeds, BURST, past=past, patience_s=patience_s), "success_rate")
            for past, patience_s in columns.values()
        ]
        rates[name] = found[1].mean
        rows.append((name, *map(share, found)))
    head = ("EXAI_WS_RETRY_AFTER", "nothing seen yet", "30 calls seen", "seen, 150 s", "seen, 240 s")
    fixed, shipped = rates["fixed:1"], rates["appointment, P90 (shipped)"]
    headline = (
        f"Of nine calls on a cap of three, a fixed second lets {fixed:.2f} succeed, an appointment at the median "
        f"{rates['appointment, median']:.2f}, at the P90 {shipped:.2f}."
    )
    return Table(f"Share that succeeds, {len(seeds)} seeds", head, tuple(rows)), headline, rates


def _rush(
    conditions: Conditions, advice: Advice, seeds: Sequence[int], size: int, *, past: bool, patience_s: float = 180.0
) -> list[Figures]:
    return conditions.figures(
        burst(size, past=past),
        config_with(advice),
        seeds,
        warm_up_s=_PAST_S if past else 0.0,
        client_timeout_s=patience_s,
    )


def _over_bursts(conditions: Conditions) -> Section:
    conditions.say("more and fewer calls at once")
    seeds = conditions.seeds(_USUAL_BURSTS)
    success, slow = [], []
    for name, advice in ADVICE.items():
        figures = [_rush(conditions, advice, seeds, size, past=True) for size in BURSTS]
        success.append(line(name, BURSTS, [of(each, "success_rate") for each in figures]))
        slow.append(line(name, BURSTS, [of(each, "p95_s") for each in figures]))
    return Section(
        "Over the size of the rush",
        "Three calls are within the cap. A P95 is that of the calls that succeeded: low where only the first ones do.",
        charts=(
            Lines("burst-success", "Share that succeeds", "calls at once", "success rate", tuple(success)),
            Lines("burst-p95", "P95 with retries", "calls at once", "P95, s", tuple(slow)),
        ),
    )


def _over_load(conditions: Conditions) -> Section:
    conditions.say("a steady load")
    seeds = conditions.seeds(_USUAL_LOADS)
    rows, success, slow = [], [], []
    for name, advice in ADVICE.items():
        figures = [conditions.figures(stream(load), config_with(advice), seeds, warm_up_s=500.0) for load in LOADS]
        rates, tails = [of(each, "success_rate") for each in figures], [of(each, "p95_s") for each in figures]
        success.append(line(name, LOADS, rates))
        slow.append(line(name, LOADS, tails))
        rows += [(name, "success rate", *map(share, rates)), (name, "P95, s", *(written(each, 0) for each in tails))]
    head = ("EXAI_WS_RETRY_AFTER", "figure", *(f"load {load:g}" for load in LOADS))
    return Section(
        "Over a steady load",
        "Calls arrive at random; load 1 asks for as much as the cap of three can do. Above it somebody must lose, "
        "whatever the advice.",
        tables=(Table(f"{len(seeds)} seeds, 3,500 s each after a warm-up of 500 s", head, tuple(rows)),),
        charts=(
            Lines("load-success", "Share that succeeds", "load, as a part of the cap", "success rate", tuple(success)),
            Lines("load-p95", "P95 with retries", "load, as a part of the cap", "P95, s", tuple(slow)),
        ),
    )
