"""A tuning as a report: default against recommended, what to change, Pareto plot, sensitivity."""

import math
from collections.abc import Iterator

from reports.study import Bars, Scatter, Section, Series, Study, Table
from scenarios.version import version
from simulator.model.fingerprint import scenario_hash
from simulator.replication.metrics import FIGURES
from simulator.replication.replications import Interval, interval_of, paired
from simulator.tune.env_file import told
from simulator.tune.rule import AIMS, CONFIDENCE, Aim, better, difference, mean, worse
from simulator.tune.search import pareto_front
from simulator.tune.tune import Neighbour, Tuning

_SHOWN = ("success_rate", "p95_s", "thrown_away_s", "p50_s", "refusal_rate", "attempts_per_call", "goodput_per_s")


def study_of(tuning: Tuning) -> Study:
    """Return the report."""
    return Study(
        kind="tune",
        name=tuning.order.scenario.name,
        headline=headline(tuning),
        sections=(_compared(tuning), _changes(tuning), _pareto(tuning), _sensitivity(tuning)),
        facts=_facts(tuning),
        settings=dict(_foot(tuning)),
    )


def _foot(tuning: Tuning) -> Iterator[tuple[str, str]]:
    """Return what the foot of the page says."""
    order, seeds = tuning.order, tuning.seeds
    limits = [*(f"{scope}={cap}" for scope, cap in order.limits.caps.items()), *map(str, order.limits.bounds)]
    yield "command", order.command
    yield "exai-harness", version()
    yield "trials", str(order.trials)
    yield "seed", str(order.seed)
    yield "replications", f"{len(seeds.search)} to search, {len(seeds.choice)} to choose, {len(seeds.proof)} to prove"
    yield "warm-up", f"{order.warm_up_s:g} s"
    yield "limits", ", ".join(limits) or "none"
    yield "searched", ", ".join(parameter.name for parameter in tuning.space.parameters)
    yield "left out by the model", "; ".join(tuning.not_carried) or "nothing"
    for name, value in sorted(tuning.space.values(tuning.recommended).items()):
        yield f"recommended {name}", value


def headline(tuning: Tuning) -> str:
    """Return what came out, in one sentence."""
    if not tuning.found:
        return "No setting that was tried keeps the limits, so nothing is recommended."
    if not tuning.feasible:
        return "What was chosen does not keep the limits on fresh seeds, so nothing is recommended."
    if not tuning.advised:
        return (
            "No setting that was tried is better than the ones it started with, outside the interval: "
            "nothing is recommended."
        )
    old, new = tuning.proof[tuning.start], tuning.proof[tuning.recommended]
    told_aims = [f"{aim.label} {told(difference(new, old, aim), signed=True)}" for aim in AIMS]
    number = len(tuning.space.changed(tuning.start, tuning.recommended))
    return f"{number} change{'s' if number > 1 else ''} recommended: {', '.join(told_aims)}."


def compared(tuning: Tuning) -> Table:
    """Return the table of default against recommended, on fresh seeds."""
    start, recommended = tuning.proof[tuning.start], tuning.proof[tuning.recommended]
    columns = {"shipped": tuning.as_shipped, "start": start, "recommended": recommended}
    rows = []
    for name in _SHOWN:
        cells = [told(interval_of(figures, name, CONFIDENCE)) for figures in columns.values()]
        new, old = ([getattr(each, name) for each in figures] for figures in (recommended, start))
        moved = paired(new, old, CONFIDENCE)
        rows.append((f"{name} ({FIGURES[name].unit})", *cells, told(moved, signed=True), _judged(name, tuning)))
    return Table(
        f"On {len(tuning.seeds.proof)} seeds that took no part in the search; intervals at {CONFIDENCE:.1%}",
        ("figure", *columns, "recommended − start", "outside the interval"),
        tuple(rows),
    )


def _judged(name: str, tuning: Tuning) -> str:
    """Say whether a difference lies outside its interval."""
    aim = next((aim for aim in AIMS if aim.figure == name), None)
    if aim is None:
        aim = Aim(figure=name, sign=1 if FIGURES[name].better == "more" else -1, least=0.0, label=name)
    new, old = tuning.proof[tuning.recommended], tuning.proof[tuning.start]
    return "better" if better(new, old, aim) else "worse" if worse(new, old, aim) else "–"


def _compared(tuning: Tuning) -> Section:
    return Section(
        "Default against recommended",
        "Shipped is with nothing set at all; start is what the scenario, --env-file and --set say. "
        "All three saw the same arrivals and latencies. "
        "P95 is that of the calls that succeeded: it may rise where more do.",
        tables=(compared(tuning),),
    )


def _changes(tuning: Tuning) -> Section:
    space = tuning.space
    rows = []
    for parameter in space.changed(tuning.start, tuning.recommended):
        without, with_it = tuning.taken_back[parameter.name], tuning.proof[tuning.recommended]
        effects = [told(difference(without, with_it, aim), signed=True) for aim in AIMS]
        values = [space.value_at(point, parameter) for point in (tuning.start, tuning.recommended)]
        rows.append((parameter.name, *values, parameter.meaning, *effects))
    chosen = {parameter.name for parameter in space.changed(tuning.start, tuning.chosen)}
    undone = sorted(chosen - {parameter.name for parameter in space.changed(tuning.start, tuning.recommended)})
    text = (
        f"Changes of the best trial that did nothing outside the interval were taken back: {', '.join(undone)}. "
        if undone
        else ""
    )
    head = ("setting", "from", "to", "what it is", *(f"{aim.label}, taken back alone" for aim in AIMS))
    table = Table("Each change, and what happens without it", head, tuple(rows))
    return Section("What to change", text + ("" if rows else "Nothing."), tables=(table,) if rows else ())


def _pareto(tuning: Tuning) -> Section:
    front = pareto_front(tuning.trials)
    on_front = {trial.point for trial in front}
    others = [trial.means for trial in tuning.trials if trial.point not in on_front]
    marked = [
        ("start", [tuple(mean(tuning.proof[tuning.start], aim).mean for aim in AIMS)]),
        ("recommended", [tuple(mean(tuning.proof[tuning.recommended], aim).mean for aim in AIMS)]),
    ]
    groups = [("tried", others), ("Pareto front", [trial.means for trial in front]), *marked]
    series = tuple(_points(label, means) for label, means in groups)
    chart = Scatter("pareto", "Success against P95", "success rate", "P95 with retries, s", series)
    text = f"{len(tuning.trials)} trials; {len(front)} of them are beaten in all three aims by none."
    return Section("What was tried", text, charts=(chart,))


def _points(label: str, means: list[tuple[float, ...]]) -> Series:
    shown = [each for each in means if not any(map(math.isnan, each))]  # a run without a success has no P95
    return Series(label, tuple(each[0] for each in shown), tuple(each[1] for each in shown))


def _sensitivity(tuning: Tuning) -> Section:
    found = [(each, [difference(each.figures, tuning.centre, aim) for aim in AIMS]) for each in tuning.around]
    rows = tuple((each.parameter.name, each.value, *(told(one, signed=True) for one in ones)) for each, ones in found)
    table = Table(
        f"One setting moved, all others as recommended; on {len(tuning.seeds.choice)} seeds",
        ("setting", "value", *(aim.label for aim in AIMS)),
        rows,
    )
    charts = tuple(_bars(aim, [(each, ones[index]) for each, ones in found]) for index, aim in enumerate(AIMS[:2]))
    text = "How far the figures move when one setting is moved away from the recommended value."
    return Section("Sensitivity", text, tables=(table,), charts=charts)


def _bars(aim: Aim, found: list[tuple[Neighbour, Interval]]) -> Bars:
    """Return, for each setting, the value whose move costs most."""
    worst: dict[str, tuple[Neighbour, Interval]] = {}
    for neighbour, moved in found:
        name = neighbour.parameter.name
        if moved.n and (name not in worst or aim.sign * moved.mean < aim.sign * worst[name][1].mean):
            worst[name] = (neighbour, moved)
    ordered = sorted(worst.values(), key=lambda each: aim.sign * each[1].mean)
    return Bars(
        f"sensitivity-{aim.figure}",
        f"{aim.label}: the move of each setting that costs most",
        "share" if aim.figure == "success_rate" else "s",
        tuple(f"{_short(each.parameter.name)} = {each.value}" for each, _ in ordered),
        tuple(moved.mean for _, moved in ordered),
        tuple(moved.low if moved.known else moved.mean for _, moved in ordered),
        tuple(moved.high if moved.known else moved.mean for _, moved in ordered),
    )


def _short(name: str) -> str:
    return name.removeprefix("EXAI_WS_").replace("_MAX_INFLIGHT", "").lower().replace("_", " ")


def _facts(tuning: Tuning) -> dict[str, object]:
    new, old = tuning.proof[tuning.recommended], tuning.proof[tuning.start]
    return {
        "scenario": tuning.order.scenario.name,
        "scenario_hash": scenario_hash(tuning.order.scenario),
        "version": version(),
        "command": tuning.order.command,
        "warm_up_s": tuning.order.warm_up_s,
        "advised": tuning.advised,
        "feasible": tuning.feasible,
        "seed": tuning.order.seed,
        "trials": len(tuning.trials),
        "start": tuning.space.values(tuning.start),
        "recommended": tuning.space.values(tuning.recommended),
        "changes": dict(_changed(tuning)),
        "confidence": CONFIDENCE,
        "not_carried": tuning.not_carried,
        "difference": {aim.figure: difference(new, old, aim).as_dict() for aim in AIMS},
        "at_start": {aim.figure: mean(old, aim).as_dict() for aim in AIMS},
        "as_recommended": {aim.figure: mean(new, aim).as_dict() for aim in AIMS},
    }


def _changed(tuning: Tuning) -> Iterator[tuple[str, dict[str, str]]]:
    for parameter in tuning.space.changed(tuning.start, tuning.recommended):
        old, new = (tuning.space.value_at(point, parameter) for point in (tuning.start, tuning.recommended))
        yield parameter.name, {"from": old, "to": new}
