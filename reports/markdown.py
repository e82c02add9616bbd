"""The verdict as Markdown, of a length that fits the summary of a CI job."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

from reports.cells import shown
from reports.comparison import Comparison, change, percent, told
from reports.page import estimate, seconds, value
from reports.stats import Quantiles
from reports.study import Cell, Study
from reports.summary import Summary
from scenarios.verdict import ExpectationResult, InvariantResult, Verdict, Violation

MOST_ROWS: Final = 40
"""Rows of one table; the page has them all."""

_SIGNS: Final = {Verdict.HELD: "✅ held", Verdict.VIOLATED: "❌ violated", Verdict.UNDECIDED: "❔ undecided"}
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]|#])")


def to_markdown(summary: Summary) -> str:
    """Return the summary: verdict, expectations, violated rules, latencies, and what was not judged."""
    parts = [_head(summary), _expectations(summary.expectations)]
    parts += [_baseline(summary.baseline)] if summary.baseline is not None else []
    parts += [_rule(rule) for rule in summary.invariants if rule.verdict is not Verdict.HELD]
    parts += [_held(summary.invariants), _latencies(summary.quantiles), _ends(summary), _left_out(summary)]
    return "\n\n".join(part for part in parts if part) + "\n"


def study_to_markdown(study: Study) -> str:
    """Return a study: its headline, what was judged, and its tables; the plots stand in the page."""
    sign = "" if study.verdict is None else f"{_SIGNS[study.verdict]}: "
    parts = [f"## {sign}{_text(study.kind)} {_text(study.name)}", _text(study.headline)]
    parts += [_expectations(study.expectations)] if study.expectations else []
    for section in study.sections:
        parts += [f"### {_text(section.heading)}", _text(section.text)]
        for table in section.tables:
            rows = [tuple(map(_cell, row)) for row in table.rows]
            parts.append(_table(f"**{_text(table.caption)}**" if table.caption else "", table.columns, rows))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _cell(cell: Cell) -> str:
    return _SIGNS[cell] if isinstance(cell, Verdict) else shown(cell)


def _head(summary: Summary) -> str:
    run = summary.run
    lines = [
        f"## {_SIGNS[summary.verdict]}: {_text(run.scenario)}",
        "",
        f"{_text(run.title)}  ",
        (
            f"{_count(summary.calls, 'call')}, body {run.body}, seed {run.seed}, time scale {run.time_scale:g}, "
            f"{run.wall_s:.1f} s on the wall, started {_text(run.started_at)}."
        ),
    ]
    if run.stopped_by is not None:
        lines += ["", f"**The run did not come to its end:** {_text(run.stopped_by)}"]
    if run.defect is not None:
        lines += ["", f"The daemon ran with the seeded defect `{run.defect}`."]
    lines += [f"\nNot carried by this body: {_text(part)}" for part in run.not_carried]
    return "\n".join(lines)


def _expectations(results: Iterable[ExpectationResult]) -> str:
    rows = [
        (_SIGNS[result.verdict], result.name, value(result), result.limit, result.reason)
        for result in sorted(results, key=lambda each: each.verdict is Verdict.HELD)
    ]
    if not rows:
        return "Nothing was expected, so nothing was decided."
    return _table("### Expectations", ("Verdict", "Expectation", "Seen", "Allowed", "Why"), rows)


def _baseline(comparison: Comparison) -> str:
    rows = [
        (_SIGNS[each.verdict], each.name, change(each), f"less than {percent(each.limit, each.measure)}", each.reason)
        for each in comparison.results
        if each.verdict is not Verdict.UNDECIDED
    ]
    head = ("Verdict", "Measure", "More than before", "Allowed", "Why")
    parts = [_table(f"### {_SIGNS[comparison.verdict]}: against the baseline", head, rows)]
    parts += [_text(line) for line in told(comparison)]
    left_out = [each.name for each in comparison.results if each.verdict is Verdict.UNDECIDED]
    parts += [f"Not compared, of too few calls: {_text('; '.join(left_out))}."] if left_out else []
    parts += ["What else differs: " + "; ".join(map(_text, comparison.differs)) + "."] if comparison.differs else []
    return "\n\n".join(parts)


def _rule(rule: InvariantResult) -> str:
    lines = [f"### {_SIGNS[rule.verdict]}: {rule.rule} {_text(rule.title)}", "", _text(rule.reason)]
    lines += ["", *(_violation(violation) for violation in rule.violations)] if rule.violations else []
    if rule.violated > len(rule.violations):
        lines.append(f"- and {rule.violated - len(rule.violations)} more")
    return "\n".join(lines)


def _violation(violation: Violation) -> str:
    at = "" if violation.at is None else f" (at {violation.at:.3f} s)"
    traces = "".join(f" `{_code(trace_id)}`" for trace_id in violation.trace_ids[:3])
    return f"- {_text(violation.what)}{at}{', trace_id' + traces if traces else ''}"


def _held(rules: Iterable[InvariantResult]) -> str:
    held = [f"{rule.rule} ({rule.judged})" for rule in rules if rule.verdict is Verdict.HELD]
    return f"Rules that held, with the cases judged: {', '.join(held)}." if held else ""


def _latencies(quantiles: Iterable[Quantiles]) -> str:
    rows = [
        (
            row.phase,
            row.tool,
            str(row.n),
            str(row.never_ended),
            *map(estimate, (row.p50, row.p95, row.p99)),
            seconds(row.max_s),
        )
        for row in quantiles
    ]
    if not rows:
        return "No call was made, so there is no latency."
    head = ("Phase", "Tool", "Ended", "Never ended", "P50, s", "P95, s", "P99, s", "Slowest, s")
    return _table("### Latency from the intended start, with 95 % intervals", head, rows)


def _ends(summary: Summary) -> str:
    lines = []
    if summary.outcomes:
        lines.append("Outcomes: " + ", ".join(f"{_text(name)} {n}" for name, n in summary.outcomes.items()) + ".")
    if summary.timeouts:
        lines.append("Gave up first: " + ", ".join(f"{name} {n}" for name, n in summary.timeouts.items()) + ".")
    if summary.refusals.by_scope:
        scopes = ", ".join(f"{_text(scope)} {n}" for scope, n in summary.refusals.by_scope.items())
        lines.append(f"Refused with 429, as the {summary.refusals.seen_by} saw it: {scopes}.")
    return "  \n".join(lines)


def _left_out(summary: Summary) -> str:
    if not summary.not_judged:
        return ""
    lines = [f"<details><summary>Rules that this run says nothing about: {len(summary.not_judged)}</summary>", ""]
    lines += [f"- {rule.rule} {_text(rule.title)}: {_text(rule.reason)}" for rule in summary.not_judged]
    return "\n".join([*lines, "", "</details>"])


def _table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [title, "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(map(_text, row))} |" for row in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        lines += ["", f"{len(rows) - MOST_ROWS} more rows stand in the report."]
    return "\n".join(lines)


def _text(text: str) -> str:
    """Keep words of others from becoming markup, or a line or a cell of their own."""
    return html.escape(_SPECIAL.sub(r"\\\1", " ".join(text.split())), quote=False)


def _code(text: str) -> str:
    return text.replace("`", "'")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
