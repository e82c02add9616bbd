"""The report: one page that needs nothing but itself, light and dark, for screen, phone and paper."""

from collections.abc import Mapping
from typing import Final

from markupsafe import Markup

from reports.charts.files import Drawn
from reports.charts.latency import marks_of
from reports.charts.timeline import WINDOW
from reports.comparison import Compared, told
from reports.inline import Mark, inline
from reports.page import environment, seconds, words
from reports.story import Places, Story
from reports.summary import Summary
from scenarios.verdict import Verdict

_HEADLINES: Final = {
    Verdict.HELD: "All that was expected held",
    Verdict.VIOLATED: "Something that was expected did not hold",
    Verdict.UNDECIDED: "The run does not decide what was expected",
}

_URGENCY: Final = {Verdict.VIOLATED: 0, Verdict.UNDECIDED: 1, Verdict.HELD: 2}
"""Order of the rules: what somebody has to look at comes first."""


def render(story: Story, drawn: Mapping[str, Drawn]) -> str:
    """Return the page as text."""
    rows = {int(place): f"call-{number}" for number, place in enumerate(story.listed)}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            story=story,
            summary=story.summary,
            run=story.run,
            rules=sorted(story.summary.invariants, key=lambda rule: _URGENCY[rule.verdict]),
            not_held={
                str(verdict): _named(story.summary, verdict) for verdict in (Verdict.VIOLATED, Verdict.UNDECIDED)
            },
            headline=_HEADLINES[story.summary.verdict],
            plots=_plots(story, drawn, rows),
            said={rows[int(place)]: _said(story, int(place)) for place in story.listed if story.table.ended[place]},
            slowest=_listed(story, story.slowest),
            failed=_listed(story, story.failed),
            failed_in_all=int((~story.table.succeeded).sum()),
            anchors=_anchors(story, rows),
            told=told(story.summary.baseline) if story.summary.baseline else [],
        )
    )


def _named(summary: Summary, verdict: Verdict) -> list[str]:
    """Return what has that verdict, so that nobody has to search for it."""
    expectations = [result.name for result in summary.expectations if result.verdict is verdict]
    expectations += [each.name for each in _compared(summary) if each.verdict is verdict is Verdict.VIOLATED]
    return expectations + [rule.rule for rule in summary.invariants if rule.verdict is verdict]


def _compared(summary: Summary) -> tuple[Compared, ...]:
    return summary.baseline.results if summary.baseline else ()


def _plots(story: Story, drawn: Mapping[str, Drawn], rows: Mapping[int, str]) -> dict[str, dict[str, Markup]]:
    marks = _marks(story, rows)
    titles = {f"{WINDOW}{n + 1}": f"F{n + 1} {fault.title}" for n, fault in enumerate(story.run.faults)}
    said = {"latency": (marks, titles)}
    return {
        name: {
            "wide": inline(files.wide, f"{name}-wide", *said.get(name, ())),
            "narrow": inline(files.narrow, f"{name}-narrow", *said.get(name, ())),
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
    return f"{call.tool}, {words(call.outcome)}, {seconds(call.latency_s)} s, trace_id {call.trace_id}"


def _listed(story: Story, places: Places) -> list[tuple[int, object]]:
    return [(int(place), story.table.calls[int(place)]) for place in places]


def _anchors(story: Story, rows: Mapping[int, str]) -> dict[tuple[str, int], str]:
    """Return the anchor of each row; a call that is in both lists has it in the first."""
    anchors = {("slowest", int(place)): rows[int(place)] for place in story.slowest}
    slowest = {int(place) for place in story.slowest}
    return anchors | {("failed", int(place)): rows[int(place)] for place in story.failed if int(place) not in slowest}
