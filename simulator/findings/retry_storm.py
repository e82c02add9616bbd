"""Finding 7: load goes up and down again; what is left of the storm depends on how the refused are told to retry."""

from collections.abc import Iterator, Sequence
from typing import Final

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig
from reports.study import Lines, Section, Study, Table
from scenarios.checks.selection import succeeded
from scenarios.model import Scenario
from simulator.findings.experiment import TRIES, Conditions, Measured, conditions_of, line, of_measured, share, written
from simulator.model.engine import ModelRun

BEFORE_S: Final = 300.0
STORM_S: Final = 300.0
AFTER_S: Final = 900.0
BIN_S: Final = 60.0
_USUAL: Final = 40
_MANY: Final = 40
"""Attempts of a client that does not give up before its deadline."""

VARIANTS: Final = {
    "fixed:1, 3 attempts": (Advice(mode=AdviceMode.FIXED, fixed_s=1.0), 3),
    f"fixed:1, {_MANY} attempts": (Advice(mode=AdviceMode.FIXED, fixed_s=1.0), _MANY),
    "residual, 3 attempts": (Advice(mode=AdviceMode.RESIDUAL), 3),
    "appointment, 3 attempts (shipped)": (Advice(), 3),
}


def study(conditions: Conditions) -> Study:
    """Run the experiment."""
    seeds = conditions.seeds(_USUAL)
    found: dict[str, list[Measured]] = {}
    for name, (advice, attempts) in VARIANTS.items():
        conditions.say(name)
        found[name] = conditions.measures(scenario(attempts), config_with(advice), seeds, measure)
    shipped, fixed = found["appointment, 3 attempts (shipped)"], found["fixed:1, 3 attempts"]
    many = found[f"fixed:1, {_MANY} attempts"]
    headline = (
        f"In the storm a call is sent {written(of_measured(shipped, 'amplification'))} times with appointments and "
        f"{written(of_measured(many, 'amplification'))} times by clients that come back every second until their "
        f"deadline; {share(of_measured(shipped, 'success_storm'))} and {share(of_measured(fixed, 'success_storm'))} of "
        f"the storm's calls succeed with appointments and with a fixed second, and new calls are refused for another "
        f"{written(of_measured(shipped, 'recovery_s'), 0)} s and {written(of_measured(fixed, 'recovery_s'), 0)} s."
    )
    return Study(
        kind="finding",
        name="retry-storm",
        headline=headline,
        sections=(
            Section(
                "Three times the capacity for five minutes, and back",
                "GLM takes eight at once. Before and after, two are asked for on average; in the storm, 24. New calls "
                "are those meant to start after the storm: refused until the last that needs a second attempt.",
                tables=(_table(found, len(seeds)),),
                charts=tuple(_charts(found)),
            ),
        ),
        facts={name: {key: of_measured(each, key).as_dict() for key in _SHOWN} for name, each in found.items()},
        settings=conditions_of(seeds),
    )


_SHOWN: Final = {
    "amplification": "attempts per call in the storm",
    "goodput": "answers per hour in the storm",
    "success_storm": "success rate in the storm",
    "success_after": "success rate after it",
    "recovery_s": "new calls still refused after it, s",
    "backlog_s": "last call of the storm ends after it, s",
}


def config_with(advice: Advice) -> PolicyConfig:
    """Return a daemon with one cap that counts: the provider's."""
    return PolicyConfig(advice=advice, caps=Caps(total=16, session=16, tools={}, providers={"GLM": 8}))


def scenario(attempts: int) -> Scenario:
    """Return the load: up, and down again."""
    calm, storm = 45.0 / 2, 45.0 / 24
    phases = [("before", BEFORE_S, calm), ("storm", STORM_S, storm), ("after", AFTER_S, calm)]
    return Scenario.model_validate(
        {
            "name": "storm",
            "title": "Retry storm",
            "retry": {"max_attempts": attempts},
            "providers": {"GLM": {"latency": {"uniform": {"low": 35, "high": 55}}, "concurrency": 16}},
            "load": [
                {
                    "phase": name,
                    "duration": duration_s,
                    "clients": 12,
                    "arrivals": {"poisson": {"rate": 1 / gap}},
                    "sequence": ["analyze", "codereview", "chat"],
                }
                for name, duration_s, gap in phases
            ],
            "expect": [{"metric": "calls", "min": 1}],
        }
    )


def measure(run: ModelRun) -> Measured:
    """Read a run: by phase, and by the minute in which calls were meant to start."""
    phases = {name: [call for call in run.calls if call.phase == name] for name in ("storm", "after")}
    storm, after = phases["storm"], phases["after"]
    storm_end = BEFORE_S + STORM_S
    troubled = [call.intended_at - storm_end for call in after if call.attempts > 1]
    ended = [call for call in run.calls if succeeded(call) and BEFORE_S <= (call.finished_at or 0.0) < storm_end]
    found: dict[str, float | None] = {
        "amplification": sum(call.attempts for call in storm) / len(storm),
        "goodput": len(ended) / STORM_S * 3600,
        "success_storm": sum(map(succeeded, storm)) / len(storm),
        f"success_storm{TRIES}": len(storm),
        "success_after": sum(map(succeeded, after)) / len(after) if after else None,
        f"success_after{TRIES}": len(after),
        "recovery_s": max(troubled, default=0.0),
        "backlog_s": max(0.0, *((call.finished_at or 0.0) - storm_end for call in storm)),
    }
    for at in _bins():
        inside = [call for call in run.calls if at <= call.intended_at < at + BIN_S]
        found[f"success at {at:g}"] = sum(map(succeeded, inside)) / len(inside) if inside else None
        found[f"success at {at:g}{TRIES}"] = len(inside)
        found[f"attempts at {at:g}"] = sum(call.attempts for call in inside) / len(inside) if inside else None
    return found


def _bins() -> Iterator[float]:
    at = 0.0
    while at < BEFORE_S + STORM_S + AFTER_S:
        yield at
        at += BIN_S


def _table(found: dict[str, list[Measured]], seeds: int) -> Table:
    digits = {"goodput": 0, "recovery_s": 0, "backlog_s": 0}
    rows = tuple(
        (name, *(written(of_measured(each, key), digits.get(key, 2)) for key in _SHOWN)) for name, each in found.items()
    )
    return Table(f"{seeds} seeds", ("advice and client", *_SHOWN.values()), rows)


def _charts(found: dict[str, list[Measured]]) -> Iterator[Lines]:
    bins: Sequence[float] = list(_bins())
    minutes = [(at + BIN_S / 2) / 60 for at in bins]
    for key, title, unit in (
        ("success", "Share that succeeds, by the minute of the first attempt", "success rate"),
        ("attempts", "Attempts per call, by the minute of the first attempt", "attempts"),
    ):
        series = tuple(
            line(name, minutes, [of_measured(each, f"{key} at {at:g}") for at in bins]) for name, each in found.items()
        )
        yield Lines(key, title, "minutes; the storm is from 5 to 10", unit, series)
