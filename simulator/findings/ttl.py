"""Finding 6: too short a TTL throws slow work away, too long a one keeps a retry waiting behind a dead call."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from reference_daemon.policy.config import Caps, PolicyConfig, Ttls
from reports.study import Lines, Section, Study, Table
from scenarios.checks.selection import succeeded
from scenarios.history import Call, Outcome
from scenarios.model import Scenario
from simulator.findings.experiment import TRIES, Conditions, Measured, conditions_of, line, of_measured, share, written
from simulator.model.engine import ModelRun
from simulator.replication.replications import Interval

MULTIPLIERS: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)
WORKS: Final = 24
"""Pieces of work, each asked for again and again by one client."""

RETRY_S: Final = 30.0
"""A client that lost its connection asks again with the same key every so many seconds."""

RARE: Final = 12
"""One work in so many has a first call that dies, where few do."""

_ASKS: Final = 7
_PAST: Final = 100
_PAST_S: Final = 4000.0
_EVERY_S: Final = 240.0
_USUAL: Final = 40
_TEXT: Final = (
    f"{WORKS} pieces of work; each client asks with its key, and again every {RETRY_S:g} s, six times, as after lost "
    f"connections. Latency is lognormal, median 40 s, P95 71 s; {_PAST} calls ran before. Slow: every call would end. "
    f"Dead: the first call of a work never ends, so only a takeover brings an answer: at its deadline its key is left "
    f"with a timeout. Few dead: one work in {RARE}; only these are looked at. All dead: every work."
)


def study(conditions: Conditions) -> Study:
    """Run the experiment."""
    seeds = conditions.seeds(_USUAL)
    slow, few, every = (_measured(conditions, dead_every, seeds) for dead_every in (0, RARE, 1))
    rows = tuple(
        (
            f"{multiplier:g}",
            written(slow["fenced"][place], 1),
            written(slow["thrown_away_s"][place], 0),
            written(few["blocked"][place], 1),
            written(few["answer_s"][place], 0),
            share(few["answered"][place]),
            share(every["answered"][place]),
        )
        for place, multiplier in enumerate(MULTIPLIERS)
    )
    low, shipped = MULTIPLIERS.index(0.5), MULTIPLIERS.index(2.0)
    headline = (
        f"A multiplier of 0.5 throws {written(slow['thrown_away_s'][low], 0)} s of living work away per run, one of 2 "
        f"throws {written(slow['thrown_away_s'][shipped], 0)} s; behind a dead call the answer takes "
        f"{written(few['answer_s'][low], 0)} s and {written(few['answer_s'][shipped], 0)} s."
    )
    return Study(
        kind="finding",
        name="ttl",
        headline=headline,
        sections=(
            Section(
                "Slow work thrown away against retries kept waiting",
                _TEXT,
                tables=(Table(f"{len(seeds)} seeds", _HEAD, rows),),
                charts=(
                    _lines("thrown-away", "Living work thrown away", "s per run", {"slow": slow["thrown_away_s"]}),
                    _lines(
                        "time-to-answer",
                        "Time until the work is answered",
                        "s",
                        {"first call dead": few["answer_s"], "calls slow": slow["answer_s"]},
                    ),
                ),
            ),
        ),
        facts={"thrown_away_s": {f"{m:g}": slow["thrown_away_s"][i].mean for i, m in enumerate(MULTIPLIERS)}},
        settings=conditions_of(seeds),
    )


_HEAD: Final = (
    "EXAI_WS_TTL_MULTIPLIER",
    "slow: calls fenced",
    "slow: work thrown away, s",
    "few dead: retries blocked per work",
    "few dead: time to the answer, s",
    "few dead: share answered",
    "all dead: share answered",
)


def _measured(conditions: Conditions, dead_every: int, seeds: Sequence[int]) -> dict[str, list[Interval]]:
    """Return each measure over the multipliers."""
    conditions.say("every call would end" if not dead_every else f"one in {dead_every} dies")
    load = scenario(dead_every)
    found = [conditions.measures(load, config_with(each), seeds, measure) for each in MULTIPLIERS]
    return {name: [of_measured(each, name) for each in found] for name in found[0][0] if not name.endswith(TRIES)}


def _lines(name: str, title: str, unit: str, found: Mapping[str, Sequence[Interval]]) -> Lines:
    series = tuple(line(label, MULTIPLIERS, each) for label, each in found.items())
    return Lines(name, title, "EXAI_WS_TTL_MULTIPLIER", unit, series)


def config_with(multiplier: float) -> PolicyConfig:
    """Return a daemon without caps in the way."""
    caps = Caps(total=64, session=64, tools={}, providers={"GLM": 64})
    return PolicyConfig(caps=caps, ttls=Ttls(multiplier=multiplier))


def scenario(dead_every: int) -> Scenario:
    """Return the load; of the works, the first call of one in `dead_every` is never answered by its provider."""
    past: dict[str, object] = {
        "phase": "past",
        "duration": _PAST_S,
        "arrivals": {"uniform": {"gap": _PAST_S / _PAST}},
        "sequence": ["chat"],
    }
    starts = {number: _PAST_S + 200.0 + number * _EVERY_S for number in range(WORKS)}
    dead = {number for number in starts if dead_every and number % dead_every == dead_every - 1}
    works: list[dict[str, object]] = [
        {
            "phase": f"{'dead' if number in dead else 'work'}-{number}",
            "start": start,
            "duration": RETRY_S * _ASKS,
            "keys": "shared",
            "arrivals": {"trace": {"times": [ask * RETRY_S for ask in range(_ASKS)]}},
            "sequence": ["chat"],
        }
        for number, start in starts.items()
    ]
    hang = {"name": "GLM", "mode": "hang"}
    return Scenario.model_validate(
        {
            "name": "ttl",
            "title": "How long a key stays fresh",
            "providers": {"GLM": {"latency": {"lognormal": {"median": 40, "sigma": 0.35}}, "concurrency": 64}},
            "load": [past, *works],
            "faults": [{"name": f"hang-{n}", "at": starts[n] - 1, "for": 2, "provider": hang} for n in sorted(dead)],
            "expect": [{"metric": "calls", "min": 1}],
        }
    )


def measure(run: ModelRun) -> Measured:
    """Read a run: when each work was answered, how often a retry was told that its call still runs, what was cut.

    Where works died only these count.
    """
    works: dict[str, list[Call]] = {}
    for call in run.calls:
        if call.phase != "past":
            works.setdefault(call.phase, []).append(call)
    looked_at = [calls for name, calls in works.items() if name.startswith("dead-")] or list(works.values())
    waits = [_answer_s(calls) for calls in looked_at]
    known = [each for each in waits if each is not None]
    ends = Counter(call.outcome for calls in looked_at for call in calls)
    return {
        "thrown_away_s": run.counts.thrown_away_s,
        "fenced": float(ends[Outcome.SUPERSEDED]),
        "blocked": ends[Outcome.DUPLICATE] / len(looked_at),
        "answered": len(known) / len(looked_at),
        f"answered{TRIES}": len(looked_at),
        "answer_s": sum(known) / len(known) if known else None,
    }


def _answer_s(calls: Sequence[Call]) -> float | None:
    """Return how long a work waited for its answer; a kept timeout that is sent again is none."""
    ends = [call.finished_at for call in calls if succeeded(call) and call.status is None and call.finished_at]
    return min(ends) - min(call.intended_at for call in calls) if ends else None
