"""A calibration told to people: what fits how well, a Q-Q plot of each, arrivals over time, mix and errors."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np
from scipy.stats import chi2

from reports.study import Lines, Scatter, Section, Series, Study, Table
from simulator.calibrate.calibration import Calibration, Group
from simulator.calibrate.fits import SIGNIFICANCE, Fit, Floats, kaplan_meier

_MOST_POINTS: Final = 120
_LIKELY: Final = 0.95
_FIT_COLUMNS: Final = (
    "calls of",
    "distribution",
    "ended",
    "cut",
    "AIC",
    "distance",
    "chance",
    "P50 in s",
    "P95 in s",
    "chosen",
)


def study_of(calibration: Calibration, *, name: str, sources: Iterable[str], settings: dict[str, str]) -> Study:
    """Return the study of a calibration.

    Args:
        calibration: What was learned.
        name: Of the scenario that was made of it.
        sources: Names of the files.
        settings: For the foot of the page.
    """
    return Study(
        kind="calibrate",
        name=name,
        headline=headline(calibration),
        verdict=None,
        sections=(
            _fits_section(calibration),
            _quantiles_section(calibration),
            _arrivals_section(calibration),
            _mix_section(calibration),
        ),
        facts=facts(calibration),
        settings={"files": ", ".join(sources), **settings},
    )


def headline(calibration: Calibration) -> str:
    """Say in one sentence what was learned."""
    named = ", ".join(f"{group.name} {group.choice.name}" for group in calibration.groups)
    # The group of a provider's other tools has the calls of all of its tools.
    pooled = {group.provider for group in calibration.groups if group.tool is None}
    cut = sum(
        group.times.cut.size for group in calibration.groups if group.tool is None or group.provider not in pooled
    )
    return f"{calibration.calls} calls in {calibration.span_s:.0f} s: {named}; {cut} durations count as cut."


def facts(calibration: Calibration) -> dict[str, object]:
    """Return what a machine reads of a calibration."""
    return {
        "calls": calibration.calls,
        "span_s": calibration.span_s,
        "sessions": calibration.sessions,
        "groups": [
            {
                "provider": group.provider,
                "tool": group.tool,
                "ended": int(group.times.ended.size),
                "cut": int(group.times.cut.size),
                "chosen": group.choice.name,
                "p50_s": group.choice.latency.at(0.50),
                "p95_s": group.choice.latency.at(0.95),
                "fits": [
                    {"family": fit.family, "aic": fit.aic, "distance": fit.distance, "p_value": fit.p_value}
                    for fit in group.choice.fits
                ],
            }
            for group in calibration.groups
        ],
        "errors": {name: {"failed": each.failed, "of": each.of} for name, each in calibration.errors.items()},
        "windows": [
            {"start_s": window.start_s, "duration_s": window.duration_s, "rate": window.rate}
            for window in calibration.windows
        ],
        "dispersion": calibration.dispersion,
        "steady": calibration.steady,
        "unused": calibration.unused,
        "pooled": calibration.pooled,
    }


def _fits_section(calibration: Calibration) -> Section:
    rows = tuple(row for group in calibration.groups for row in _fit_rows(group))
    text = (
        "Two parameters each, by maximum likelihood, with the cut durations as right-censored. The fit test is the "
        "largest distance to the Kaplan-Meier estimate; its chance comes from a parametric bootstrap that cuts and "
        f"fits each sample anew. Chosen is the smallest AIC among those with a chance of {SIGNIFICANCE:g} or more; the "
        "times themselves (empirical, which has no likelihood to compare) where there is none; times that are all one "
        "are a constant."
    )
    tables = [Table("Every distribution", _FIT_COLUMNS, rows)]
    if calibration.pooled:
        small = tuple((name, number) for name, number in calibration.pooled.items())
        tables.append(Table("Too few calls for a distribution of their own", ("calls of", "calls"), small))
    if calibration.unused:
        left = tuple((name, number) for name, number in sorted(calibration.unused.items()))
        tables.append(Table("Calls that say nothing of durations", ("outcome", "calls"), left))
    return Section("How long providers take", text, tables=tuple(tables))


def _fit_rows(group: Group) -> list[tuple[str | float | int | None, ...]]:
    times, choice = group.times, group.choice
    rows: list[tuple[str | float | int | None, ...]] = []
    for fit in choice.fits:
        quantiles = (fit.latency.at(0.50), fit.latency.at(0.95))
        chosen = "chosen" if fit is choice.best else ""
        counts = (int(times.ended.size), int(times.cut.size))
        rows.append((group.name, fit.family, *counts, fit.aic, fit.distance, fit.p_value, *quantiles, chosen))
    if choice.best is None:
        counts = (int(times.ended.size), int(times.cut.size))
        quantiles = (choice.latency.at(0.50), choice.latency.at(0.95))
        rows.append((group.name, choice.name, *counts, None, 0.0, None, *quantiles, "chosen"))
    return rows


def _quantiles_section(calibration: Calibration) -> Section:
    return Section(
        "Fitted against seen",
        "Each point is a quantile: as the distribution has it, and as it was seen (Kaplan-Meier). On the diagonal the "
        "two agree; a tail above it is longer than the distribution's.",
        charts=tuple(_qq(group) for group in calibration.groups if group.choice.fits),
    )


def _qq(group: Group) -> Scatter:
    seen_s, shares = kaplan_meier(group.times)
    middles = (np.concatenate(([0.0], shares[:-1])) + shares) / 2
    places = np.unique(np.linspace(0, seen_s.size - 1, min(seen_s.size, _MOST_POINTS)).round().astype(int))
    series = tuple(_quantile_points(fit, seen_s[places], middles[places]) for fit in group.choice.fits)
    name = f"qq-{group.provider}-{group.tool or 'others'}".lower().replace("_", "-")
    return Scatter(name, f"Q-Q plot of {group.name}", "fitted in s", "seen in s", series, diagonal=True)


def _quantile_points(fit: Fit, seen_s: Floats, shares: Floats) -> Series:
    fitted = tuple(fit.latency.at(float(share)) for share in shares)
    return Series(fit.family, fitted, tuple(float(value) for value in seen_s))


def _arrivals_section(calibration: Calibration) -> Section:
    windows = calibration.windows
    middle = tuple(window.start_s + window.duration_s / 2 for window in windows)
    counts = np.array([len(window.calls) for window in windows])
    tail = (1 - _LIKELY) / 2
    lengths = np.array([window.duration_s for window in windows])
    low = np.where(counts > 0, chi2.ppf(tail, np.maximum(2 * counts, 1)) / 2, 0.0) / lengths
    high = chi2.ppf(1 - tail, 2 * (counts + 1)) / 2 / lengths
    rates = Series("arrivals", middle, tuple(window.rate for window in windows), tuple(low), tuple(high))
    steady = len(windows) == 1
    text = (
        f"The counts in equal windows scatter {calibration.dispersion:.2f} times as much as independent arrivals at "
        f"one rate would (chance {calibration.steady:.2g}): "
        + ("one rate explains them." if steady else "each window gets a rate of its own.")
        + " Arrivals within a window become independent ones; --replay keeps their very moments. A recording does not "
        "tell users who wait for their answers from callers who do not: all become the latter."
    )
    if not np.isfinite(calibration.dispersion):
        text = "So few calls do not tell whether the rate changes: there is one for all of the time."
    chart = Lines("arrivals", "Arrivals over time", "time in s", "calls per s", (rates,))
    table = Table(
        "Windows",
        ("start in s", "length in s", "calls", "calls per s"),
        tuple((window.start_s, window.duration_s, len(window.calls), window.rate) for window in windows),
    )
    return Section("When calls arrive", text, tables=(table,), charts=() if steady else (chart,))


def _mix_section(calibration: Calibration) -> Section:
    calls = [call for window in calibration.windows for call in window.calls]
    mix = Counter((call.tool, call.kind.value, call.provider) for call in calls)
    rows = tuple(
        (tool, kind, provider, number, number / len(calls)) for (tool, kind, provider), number in mix.most_common()
    )
    errors = tuple((name, each.of, each.failed, each.rate) for name, each in calibration.errors.items())
    return Section(
        "What is called, and what fails",
        "Refused and replayed calls belong to the mix; executions are those that ran.",
        tables=(
            Table("Mix", ("tool", "kind", "provider", "calls", "share"), rows),
            Table("Errors", ("provider", "executions", "failed", "rate"), errors),
        ),
    )
