"""A sweep as a study: what came out in a sentence, a table with intervals, a heat map or lines, and a CSV file."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reports.study import Bars, Chart, HeatMap, Lines, Section, Series, Study, Table
from simulator.replication.metrics import FIGURES
from simulator.replication.replications import Interval
from simulator.result_table import number, with_interval
from simulator.sweep.sweep import AS_IT_IS, Best, Row, Swept
from simulator.sweep.values import Vary

SUCCESS: Final = "success_rate"

TOLD: Final = (
    SUCCESS,
    "p95_s",
    "refusal_rate",
    "thrown_away_share",
    "p50_s",
    "attempts_per_call",
    "goodput_per_s",
)
"""Figures of the table for people, the more telling ones first; the file has them all."""

_LATENCIES: Final = ("p50_s", "p95_s", "p99_s")
_DRAWN: Final = ("success_rate", "p95_s", "refusal_rate", "goodput_per_s", "thrown_away_share")
_TITLES: Final = {
    "success_rate": "Calls that got their answer",
    "p95_s": "P95 of the latency, retries included",
    "refusal_rate": "Attempts refused with 429",
    "goodput_per_s": "Answered calls per second",
    "thrown_away_share": "Work thrown away",
}
_TWO: Final = 2


def study_of(swept: Swept, *, version: str) -> Study:
    """Return the study of a sweep."""
    return Study(
        kind="sweep",
        name=swept.name,
        headline=headline(swept),
        sections=tuple(_sections(swept)),
        facts=_facts(swept),
        settings={
            "scenario": swept.name,
            "seeds": f"{swept.seeds[0]} to {swept.seeds[-1]}",
            "warm-up": f"{swept.warm_up_s:g} s",
            "ranked by": swept.by,
            "exai-harness": version,
        },
    )


def headline(swept: Swept) -> str:
    """Say in a sentence which setting is best, or that it cannot be said."""
    best = swept.best
    told = f"{counted(len(swept.distinct), 'setting')} × {counted(len(swept.seeds), 'replication')}"
    if best is None:
        return f"{told}: nothing to compare"
    if best.sure:
        found = with_interval(best.row.intervals[swept.by], FIGURES[swept.by])
        return f"{told}: {swept.by} is best at {best.row.label}: {found}{_price(swept, best)}"
    why = f"differ by less than {number(best.least, FIGURES[swept.by])}" if best.told_apart else "cannot be told apart"
    return (
        f"{told}: no setting is surely best in {swept.by}; the best two, {best.row.label} and {best.second.label}, "
        f"{why}"
    )


def _price(swept: Swept, best: Best) -> str:
    """Say how many calls got their answer there: who refuses most answers the rest quickest."""
    if swept.by == SUCCESS:
        return ""
    found = [row.intervals[SUCCESS] for row in swept.distinct if math.isfinite(row.intervals[SUCCESS].mean)]
    most = max((each.mean for each in found), default=math.nan)
    here = with_interval(best.row.intervals[SUCCESS], FIGURES[SUCCESS])
    return f", where {here} of the calls get their answer (at most {number(most, FIGURES[SUCCESS])} at any setting)"


def costs(swept: Swept) -> str:
    """Say what the sweep took."""
    per_s = swept.calls / swept.wall_s if swept.wall_s > 0 else 0.0
    return (
        f"{swept.runs:,} runs, {swept.calls:,} calls in {swept.wall_s:.1f} s on {counted(swept.workers, 'worker')}: "
        f"{per_s:,.0f} calls/s, {swept.speed_up:.2f} cores kept busy by the model"
    )


def counted(number: int, what: str) -> str:
    """Write a number of things: "1 worker", "2,000 runs"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def comparison(swept: Swept, best: Best) -> str:
    """Say by how much the best setting is better than the second one."""
    if not best.difference.known:
        return "one replication says nothing about how far a figure scatters: give --replications"
    figure = FIGURES[swept.by]
    low, high = (number(value, figure) for value in (best.difference.low, best.difference.high))
    difference = f"{swept.by} of {best.row.label} minus that of {best.second.label}, seed by seed: {low} to {high}"
    if best.told_apart and not best.sure:
        return f"{difference}; 0 lies outside, but less than {number(best.least, figure)} is nothing to choose by"
    return f"{difference}; " + ("0 lies outside" if best.sure else "0 lies inside, so neither is surely better")


def to_csv(swept: Swept) -> bytes:
    """Return a row for each setting, with every figure and the ends of its interval."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high")]
    writer.writerow([*(each.name for each in swept.varied), "replications", "failed", *ends])
    for row in swept.rows:
        values = [row.point.values.get(each.name, "") for each in swept.varied]
        found = row.intervals
        cells = [_cell(end) for name in FIGURES for end in (found[name].mean, found[name].low, found[name].high)]
        writer.writerow([*values, len(row.figures), row.why_not or "", *cells])
    return text.getvalue().encode()


def _cell(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _sections(swept: Swept) -> Iterator[Section]:
    best = swept.best
    text = "Each setting has the same seeds: the same arrivals, tools and provider latencies. Intervals are at 95 %."
    if best is not None:
        text += f" Best against second: {comparison(swept, best)}."
    charts = tuple(_charts(swept))
    if charts:
        yield Section("What changes", _reading(swept), charts=charts)
    yield Section("Every setting", text, tables=(_table(swept, best),))
    yield Section(
        "What it took", f"{costs(swept)}. The last figure is processor seconds of all runs per second of the sweep."
    )
    if swept.not_carried:
        rows = tuple((part,) for part in swept.not_carried)
        yield Section(
            "What the model leaves out",
            "These parts of the scenario are in none of the runs, and may change every figure.",
            tables=(Table("Left out", ("part",), rows),),
        )


def _reading(swept: Swept) -> str:
    if len(swept.varied) == _TWO and not swept.one_at_a_time:
        return "A cell is the mean of the replications of one pair of settings."
    return "Bands and whiskers are 95 % intervals over the replications; where they overlap, look at the differences."


def _table(swept: Swept, best: Best | None) -> Table:
    columns = (*(each.name for each in swept.varied), *dict.fromkeys((swept.by, *TOLD)), "")
    rows = []
    for row in swept.rows:
        values = [row.point.values.get(each.name, AS_IT_IS) for each in swept.varied]
        figures = [with_interval(row.intervals[name], FIGURES[name]) for name in dict.fromkeys((swept.by, *TOLD))]
        rows.append((*values, *figures, remark(row, best)))
    return Table("Settings in the order of their values", columns, tuple(rows))


def remark(row: Row, best: Best | None) -> str:
    """Return what is to be said of a setting: that it failed, or that it is surely the best one."""
    if row.why_not is not None:
        return f"failed: {row.why_not}"
    if row.repeats:
        return AS_IT_IS
    return "best" if best is not None and best.sure and row is best.row else ""


def _charts(swept: Swept) -> Iterator[Chart]:
    if swept.one_at_a_time or len(swept.varied) == 1:
        for each in swept.varied:
            rows = [row for row in swept.rows if each.name in row.point.values and row.why_not is None]
            yield from _over(each, rows)
    elif len(swept.varied) == _TWO:
        yield from (_heat_map(swept, name) for name in _DRAWN)


def _over(each: Vary, rows: Sequence[Row]) -> Iterator[Chart]:
    """Draw figures over one setting: lines over numbers, bars over words."""
    numbers = each.numbers
    stem = "".join(letter if letter.isalnum() else "-" for letter in each.name.lower()).strip("-")
    for name in _DRAWN:
        title = f"{_TITLES[name]} over {each.name}"
        if numbers is None or len(numbers) < _TWO:
            yield _bars(f"{stem}-{name}".replace("_", "-"), title, name, each, rows)
            continue
        figures = _LATENCIES if name == "p95_s" else (name,)
        title = f"Latency over {each.name}, retries included" if name == "p95_s" else title
        series = tuple(_series(figure, each, rows) for figure in figures)
        unit = _unit(name)
        yield Lines(f"{stem}-{name}".replace("_", "-"), title, each.name, unit, series)


def _series(name: str, each: Vary, rows: Iterable[Row]) -> Series:
    found = sorted((float(row.point.values[each.name]), row.intervals[name]) for row in rows if _seen(row, name))
    low, high = _ends([value for _, value in found], name)
    x, y = tuple(at for at, _ in found), tuple(_scaled(value.mean, name) for _, value in found)
    return Series(name.removesuffix("_s").replace("_", " "), x, y, low, high)


def _bars(chart: str, title: str, name: str, each: Vary, rows: Iterable[Row]) -> Bars:
    shown = [row for row in rows if _seen(row, name)]
    labels = tuple(row.point.values[each.name] for row in shown)
    found = [row.intervals[name] for row in shown]
    low, high = _ends(found, name)
    return Bars(chart, title, _unit(name), labels, tuple(_scaled(value.mean, name) for value in found), low, high)


def _heat_map(swept: Swept, name: str) -> HeatMap:
    down, across = swept.varied
    means = {
        (row.point.values[down.name], row.point.values[across.name]): row.intervals[name].mean for row in swept.rows
    }
    values = tuple(tuple(_scaled(means[y, x], name) for x in across.values) for y in down.values)
    chart = f"map-{name}".replace("_", "-")
    return HeatMap(chart, _TITLES[name], across.name, down.name, across.values, down.values, values, _unit(name))


def _seen(row: Row, name: str) -> bool:
    return math.isfinite(row.intervals[name].mean)


def _ends(found: Sequence[Interval], name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the ends of intervals; none at all if one of them is not known."""
    if not all(value.known for value in found):
        return (), ()
    return tuple(_scaled(value.low, name) for value in found), tuple(_scaled(value.high, name) for value in found)


def _scaled(value: float, name: str) -> float:
    return 100 * value if FIGURES[name].unit == "share" else value


def _unit(name: str) -> str:
    return {"share": "%", "1": ""}.get(FIGURES[name].unit, FIGURES[name].unit)


def _facts(swept: Swept) -> dict[str, object]:
    best = swept.best
    return {
        "varied": {each.name: list(each.values) for each in swept.varied},
        "one_at_a_time": swept.one_at_a_time,
        "seeds": list(swept.seeds),
        "ranked_by": swept.by,
        "best": None if best is None or not best.sure else dict(best.row.point.values),
        "rows": [
            {
                "values": dict(row.point.values),
                "failed": row.why_not,
                "as_it_is": row.point.shipped or row.repeats,
                "figures": {name: value.as_dict() for name, value in row.intervals.items()},
            }
            for row in swept.rows
        ],
        "runs": swept.runs,
        "calls": swept.calls,
        "workers": swept.workers,
        "wall_s": swept.wall_s,
        "cpu_s": swept.cpu_s,
        "not_carried": list(swept.not_carried),
    }
