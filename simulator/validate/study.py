"""A validation told to people: figures with their errors, distributions over each other, the calls that differ."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reports.study import Lines, Section, Series, Study, Table
from scenarios.history import Call
from scenarios.model import Scenario
from scenarios.verdict import ExpectationResult, Verdict
from simulator.model.fingerprint import fingerprint_of, scenario_hash, settings_hash
from simulator.validate.comparison import Comparison, FigurePair, Limits, Pair, cdf
from simulator.validate.conditions import Draws

_ALL: Final = "all calls"


def study_of(
    scenario: Scenario,
    comparison: Comparison,
    limits: Limits,
    histories: tuple[Sequence[Call], Sequence[Call]],
    *,
    draws: Draws,
    about: Mapping[str, object],
    settings: dict[str, str],
) -> Study:
    """Return the study of one validation.

    Args:
        scenario: What both bodies ran.
        comparison: How far they are apart.
        limits: How far they may be.
        histories: The real calls and the simulated ones.
        draws: Whether the latencies were shared.
        about: What was validated, for whoever relies on it; see `about_of`.
        settings: For the foot of the page.
    """
    return Study(
        kind="validate",
        name=scenario.name,
        headline=headline(comparison, limits),
        verdict=comparison.verdict,
        expectations=tuple(map(expectation, comparison.judged)),
        sections=(
            _figures_section(comparison),
            _cdf_section(*histories),
            _pairs_section(comparison, draws),
        ),
        facts={**about, **facts(comparison, limits, draws)},
        settings=settings,
    )


def about_of(scenario: Scenario, values: Mapping[str, str], version: str) -> dict[str, object]:
    """Return what a validation is about: another scenario, other settings or another version need their own.

    Args:
        scenario: As it was planned.
        values: The settings that the model read.
        version: Of this package.
    """
    return {
        "scenario": scenario.name,
        "scenario_hash": scenario_hash(scenario),
        "settings_hash": settings_hash(values),
        "fingerprint": fingerprint_of(scenario, values),
        "version": version,
    }


def headline(comparison: Comparison, limits: Limits) -> str:
    """Say in one sentence what came out."""
    if comparison.why_undecided is not None:
        return f"Nothing can be said: {comparison.why_undecided}."
    over = [figure for figure in comparison.judged if figure.verdict != "held"]
    those = ", ".join(map(told, over or comparison.judged))
    allowed = f"{limits.rate_points:g} points for rates, {limits.latency_percent:g} % for latencies"
    if not over:
        return f"The model agrees with the daemon within {allowed}: {those}."
    if comparison.verdict is Verdict.UNDECIDED:
        return f"The drill's machine was too slow, uneven or little known to tell an error of {allowed}: {those}."
    return f"The model is further from the daemon than {allowed}: {those}."


def told(figure: FigurePair) -> str:
    """Say how far the model is off in one figure, with and without the machine's time."""
    return f"{figure.name} {written_error(figure)}{_raw(figure)}"


def _raw(figure: FigurePair) -> str:
    return "" if figure.plain is None else f" ({_error(figure, figure.raw_error)} without the machine's time)"


def written_error(figure: FigurePair) -> str:
    """Write an error with its sign and unit."""
    return _error(figure, figure.error)


def _error(figure: FigurePair, error: float | None) -> str:
    if error is None:
        return "–"
    if math.isinf(error):
        return "only in one body"
    return f"{error:+.2f} {'points' if figure.unit == 'points' else '%'}"


def expectation(figure: FigurePair) -> ExpectationResult:
    """Return a judged figure as a row of the page and a test case for CI."""
    verdict, limit = figure.verdict, figure.limit
    assert verdict is not None  # noqa: S101 - only judged figures come here
    assert limit is not None  # noqa: S101 - the same
    unit = "points" if figure.unit == "points" else "%"
    values = f"real {written(figure, figure.real)}, simulated {written(figure, figure.simulated)}"
    return ExpectationResult(
        name=f"error of {figure.name}",
        value=_finite(figure.error),
        limit=f"at most {limit:g} {unit}",
        verdict=verdict,
        reason=f"{written_error(figure)}{_raw(figure)} ({values}, {figure.n} calls)",
        n=figure.n,
    )


def _finite(error: float | None) -> float | None:
    return None if error is None or math.isinf(error) else error


def written(figure: FigurePair, value: float | None) -> str:
    """Write one body's value with its unit."""
    if value is None:
        return "none"
    if figure.unit == "points":
        return f"{100 * value:.2f} %"
    return f"{value:.2f}{'' if figure.name.startswith('attempts') else ' s'}"


def facts(comparison: Comparison, limits: Limits, draws: Draws) -> dict[str, object]:
    """Return what a machine reads of a validation."""
    return {
        "limits": {"rate_points": limits.rate_points, "latency_percent": limits.latency_percent},
        "figures": [
            {
                "name": figure.name,
                "tool": figure.tool or None,
                "n": figure.n,
                "real": figure.real,
                "simulated": figure.simulated,
                "error": _finite(figure.error),
                "error_without_machine": _finite(figure.raw_error),
                "unit": figure.unit,
                "limit": figure.limit,
                "verdict": figure.verdict,
            }
            for figure in comparison.figures
        ],
        "calls": {
            "paired": len(comparison.pairs),
            "same_outcome": sum(pair.same_outcome for pair in comparison.pairs),
            "only_real": comparison.only_real,
            "only_simulated": comparison.only_simulated,
        },
        "draws": {"equal": draws.equal, "seen": draws.seen},
        "notes": list(comparison.notes),
        "why_undecided": comparison.why_undecided,
    }


def _figures_section(comparison: Comparison) -> Section:
    rows = tuple(
        (
            figure.tool or _ALL,
            figure.name,
            figure.n,
            written(figure, figure.real),
            written(figure, figure.simulated),
            written_error(figure),
            "–" if figure.plain is None else _error(figure, figure.raw_error),
            "shown only" if figure.verdict is None else figure.verdict,
        )
        for figure in comparison.figures
    )
    return Section(
        "Figures in both bodies",
        "Errors of rates are in percentage points, those of latencies in percent of the real one. Latencies are of the "
        "calls that got their answer, from the intended start, with retries. Judged are the figures of all calls. The "
        "raw error is that of a model whose providers do not take the machine's own time.",
        tables=(
            Table(
                "Real against simulated",
                ("calls of", "figure", "n", "real", "simulated", "error", "raw", "verdict"),
                rows,
            ),
        ),
    )


def _cdf_section(real: Sequence[Call], simulated: Sequence[Call]) -> Section:
    charts = [_cdf_of("cdf", "Latency of all answered calls", real, simulated)]
    for tool in sorted({call.tool for call in real}):
        mine, models = ([call for call in calls if call.tool == tool] for calls in (real, simulated))
        if cdf(mine)[0] and cdf(models)[0]:
            charts.append(_cdf_of(f"cdf-{tool}".replace("_", "-"), f"Latency of {tool}", mine, models))
    return Section(
        "Distributions over each other",
        "The share of the answered calls that took at most so long, in the drill and in the model.",
        charts=tuple(charts),
    )


def _cdf_of(name: str, title: str, real: Iterable[Call], simulated: Iterable[Call]) -> Lines:
    series = tuple(
        Series(label, *cdf(calls)) for label, calls in (("real", real), ("simulated", simulated)) if cdf(calls)[0]
    )
    return Lines(name, title, "latency in s", "share of the calls", series)


def _pairs_section(comparison: Comparison, draws: Draws) -> Section:
    pairs = comparison.pairs
    alike = sum(pair.same_outcome for pair in pairs)
    text = (
        f"{len(pairs)} calls were made by both bodies, {alike} of them ended alike; {comparison.only_real} were made "
        f"in the drill only, {comparison.only_simulated} in the model only. {draws.equal} of {draws.seen} executions "
        "took the latency that the model draws for the same call."
    )
    tables = [
        Table(
            "The calls that differ most",
            ("trace_id", "tool", "intended at in s", "real", "in s", "attempts", "simulated", "in s", "attempts"),
            tuple(map(_pair_row, comparison.worst_pairs)),
        )
    ]
    if comparison.notes:
        tables.append(Table("What the bodies did not share", ("note",), tuple((note,) for note in comparison.notes)))
    return Section("Call by call", text, tables=tuple(tables))


def _pair_row(pair: Pair) -> tuple[str | float | int | None, ...]:
    real, simulated = pair.real, pair.simulated
    return (
        real.trace_id,
        real.tool,
        real.intended_at,
        real.outcome.value,
        real.latency_s,
        real.attempts,
        simulated.outcome.value,
        simulated.latency_s,
        simulated.attempts,
    )
