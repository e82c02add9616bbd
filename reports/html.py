"""The report: one page that needs nothing but itself, light and dark, for screen, phone and paper."""

from collections.abc import Mapping
from typing import Final

import jinja2
from markupsafe import Markup

from reports.charts.gallery import Drawn
from reports.charts.latency import marks_of
from reports.inline import Mark, inline
from reports.stats import Estimate
from reports.story import Places, Story
from reports.summary import Summary
from scenarios.verdict import ExpectationResult, Verdict

_HEADLINES: Final = {
    Verdict.HELD: "All that was expected held",
    Verdict.VIOLATED: "Something that was expected did not hold",
    Verdict.UNDECIDED: "The run does not decide what was expected",
}

_URGENCY: Final = {Verdict.VIOLATED: 0, Verdict.UNDECIDED: 1, Verdict.HELD: 2}
"""Order of the rules: what somebody has to look at comes first."""


def render(story: Story, drawn: Mapping[str, Drawn]) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": _seconds, "estimate": _estimate, "value": _value, "words": _words}
    rows = {int(place): f"call-{number}" for number, place in enumerate(story.listed)}
    page = environment.get_template("report.html.j2")
    return page.render(
        story=story,
        summary=story.summary,
        run=story.run,
        rules=sorted(story.summary.invariants, key=lambda rule: _URGENCY[rule.verdict]),
        not_held={str(verdict): _named(story.summary, verdict) for verdict in (Verdict.VIOLATED, Verdict.UNDECIDED)},
        headline=_HEADLINES[story.summary.verdict],
        plots=_plots(story, drawn, rows),
        slowest=_listed(story, story.slowest),
        failed=_listed(story, story.failed),
        failed_in_all=int((~story.table.succeeded).sum()),
        anchors=_anchors(story, rows),
    )


def _named(summary: Summary, verdict: Verdict) -> list[str]:
    """Return what has that verdict, so that nobody has to search for it."""
    expectations = [result.name for result in summary.expectations if result.verdict is verdict]
    return expectations + [rule.rule for rule in summary.invariants if rule.verdict is verdict]


def _plots(story: Story, drawn: Mapping[str, Drawn], rows: Mapping[int, str]) -> dict[str, dict[str, Markup]]:
    marks = _marks(story, rows)
    return {
        name: {
            "wide": inline(files.wide, f"{name}-wide", marks if name == "latency" else None),
            "narrow": inline(files.narrow, f"{name}-narrow", marks if name == "latency" else None),
        }
        for name, files in drawn.items()
    }


def _marks(story: Story, rows: Mapping[int, str]) -> dict[str, list[Mark]]:
    return {
        f"marks-{outcome}": [Mark(_said(story, int(place)), rows.get(int(place))) for place in places]
        for outcome, places in marks_of(story).items()
    }


def _said(story: Story, place: int) -> str:
    call = story.table.calls[place]
    return f"{call.tool}, {_words(call.outcome)}, {_seconds(call.latency_s)} s, trace_id {call.trace_id}"


def _listed(story: Story, places: Places) -> list[tuple[int, object]]:
    return [(int(place), story.table.calls[int(place)]) for place in places]


def _anchors(story: Story, rows: Mapping[int, str]) -> dict[tuple[str, int], str]:
    """Return the anchor of each row; a call that is in both lists has it in the first."""
    anchors = {("slowest", int(place)): rows[int(place)] for place in story.slowest}
    slowest = {int(place) for place in story.slowest}
    return anchors | {("failed", int(place)): rows[int(place)] for place in story.failed if int(place) not in slowest}


def _seconds(value: float | None) -> str:
    """Write a duration for a table; nothing was seen, nothing is claimed."""
    if value is None:
        return "–"
    return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.1f}"


def _estimate(estimate: Estimate | None) -> str:
    """Write a quantile with its interval; an end that so few calls do not show is open."""
    if estimate is None:
        return "–"
    low, high = ("?" if end is None else _seconds(end) for end in (estimate.low_s, estimate.high_s))
    return f"{_seconds(estimate.value_s)} ({low} to {high})"


def _value(result: ExpectationResult) -> str:
    """Write what was seen, with its interval if there is one."""
    if result.value is None:
        return "–"
    if result.low is None and result.high is None:
        return f"{result.value:.4g}"
    low, high = ("?" if end is None else f"{end:.4g}" for end in (result.low, result.high))
    return f"{result.value:.4g} ({low} to {high})"


def _words(name: str) -> str:
    return name.replace("_", " ")
