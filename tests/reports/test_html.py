"""The page: complete in itself, safe for hostile words, verdict first."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from reports import html
from reports.charts.files import Drawn
from reports.charts.gallery import draw_all
from reports.story import Story, story_of
from reports.summary import summarize
from reports.table import table_of
from scenarios.history import Call
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict

PageOf = Callable[..., str]


@pytest.fixture
def page_of(make_judgement: Callable[..., Judgement]) -> PageOf:
    """Return a maker of pages, of a run and its calls."""

    def make(run: Run, calls: list[Call], **changes: Any) -> str:
        table = table_of(calls)
        record = Record(run, calls, [])
        story = story_of(record, summarize(record, make_judgement(**changes), table), table)
        return html.render(story, drawn(story, f"{run} {calls}"))

    return make


DRAWN: dict[str, dict[str, Drawn]] = {}


def drawn(story: Story, what: str) -> dict[str, Drawn]:
    """Return the plots of a run and its calls; drawing takes seconds, and these tests are about the page around it."""
    if what not in DRAWN:
        DRAWN[what] = draw_all(story)
    return DRAWN[what]


class Page(HTMLParser):
    """Collects tags, attributes and text of a page, styles apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Note words that a reader sees."""
        if self.tags and self.tags[-1] not in {"style", "title"}:
            self.words += data.split()

    @property
    def text(self) -> str:
        """What a reader reads."""
        return " ".join(self.words)


def test_needs_nothing_but_itself(page_of: PageOf, a_run: Callable[..., Run], calls: list[Call]) -> None:
    """No script, no address, no file beside it: it can be mailed, and it is read without a network."""
    source = page_of(a_run(), calls)
    page = Page(source)
    assert not {"script", "img", "iframe", "object", "embed"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in {"src", "href", "xlink:href", "action"}]
    assert all(value is not None and value.startswith(("#", "data:")) for value in addresses)
    assert re.findall(r"url\((?!#)|@import", source) == []


def test_the_verdict_comes_first(page_of: PageOf, a_run: Callable[..., Run], calls: list[Call]) -> None:
    """The first word of the page, and of its title, is the verdict."""
    source = page_of(a_run(), calls)
    assert Page(source).words[0] == "held"
    assert "<title>held: smoke-sequential</title>" in source


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_told_with_its_reason(page_of: PageOf, a_run: Callable[..., Run], verdict: Verdict) -> None:
    """Name, verdict, limit and reason of each expectation stand on the page, also when nothing was seen."""
    result = ExpectationResult(name="heartbeats", value=None, limit="1", verdict=verdict, reason="none came")
    text = Page(page_of(a_run(), [], expectations=(result,))).text
    assert f"heartbeats {verdict} – 1 none came" in text


def test_words_of_others_are_text_not_markup(page_of: PageOf, a_run: Callable[..., Run], calls: list[Call]) -> None:
    """What an error or a title says cannot become a part of the page."""
    source = page_of(a_run(title="<script>alert(1)</script>", stopped_by="<img src=x>"), calls)
    page = Page(source)
    assert not {"script", "img"} & set(page.tags)
    assert "<img src=x>" in page.text


def test_every_call_stands_with_its_trace_id(page_of: PageOf, a_run: Callable[..., Run], mixed: list[Call]) -> None:
    """From each line of the table a person can go to the log; a call without an end has no latency."""
    text = Page(page_of(a_run(), mixed)).text
    assert all(call.trace_id in text for call in mixed)
    assert f"unknown – 200.0 – 1 GLM latency {mixed[-1].trace_id}" in text


def test_a_mark_names_its_trace_id_and_leads_to_its_row(
    page_of: PageOf, a_run: Callable[..., Run], mixed: list[Call]
) -> None:
    """Every mark of a listed call is a link, in both layouts, and no link leads nowhere."""
    source = page_of(a_run(), mixed)
    page = Page(source)
    links = [value for name, value in page.attributes if name == "href" and value and value.startswith("#call-")]
    ids = [value for name, value in page.attributes if name == "id"]
    ended = [call for call in mixed if call.latency_s is not None]
    assert len(links) == 2 * len(ended)
    assert {f"#{anchor}" for anchor in ids} >= set(links)
    assert all(source.count(f"trace_id {call.trace_id}</title>") == 2 for call in ended)


def test_breaches_and_rules_not_judged_are_told(
    page_of: PageOf, a_run: Callable[..., Run], make_rule: Callable[..., InvariantResult]
) -> None:
    """A breach comes with its call; a rule that was not judged cannot be taken for one that held."""
    rules = (make_rule(Verdict.VIOLATED), make_rule(Verdict.UNDECIDED, rule="INV-09", reason="nobody attached"))
    text = Page(page_of(a_run(), [], invariants=rules)).text
    assert f"two answers came, one was due (at 12.5 s) trace_id {'0' * 32}" in text
    assert text.index("What was not judged") < text.index("INV-09")


def test_follows_the_theme_in_every_plot(page_of: PageOf, a_run: Callable[..., Run], calls: list[Call]) -> None:
    """Ink, grid and shade of the plots are the page's own, so that they are legible in the dark, too."""
    source = page_of(a_run(), calls)
    drawings = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    assert len(drawings) == 12
    assert all("var(--ink)" in drawing for drawing in drawings)
    assert not any("#1f2430" in drawing for drawing in drawings)


def test_no_id_occurs_twice(page_of: PageOf, a_run: Callable[..., Run], calls: list[Call]) -> None:
    """All plots are one page: a clip path or a letter of one must not stand in for another's."""
    ids = [value for name, value in Page(page_of(a_run(), calls)).attributes if name == "id"]
    assert ids
    assert len(ids) == len(set(ids))


def test_an_empty_run_has_a_page(page_of: PageOf, a_run: Callable[..., Run]) -> None:
    """A drill that failed before its first call says why, in words instead of empty tables."""
    source = page_of(a_run(faults=(), stopped_by="daemon was not ready"), [], expectations=())
    text = Page(source).text
    assert "The run did not come to its end: daemon was not ready" in text
    assert "Nothing was expected" in text
    assert "No fault was put on." in text
    assert "No call was made." in text
