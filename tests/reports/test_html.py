"""The page: complete in itself, safe for hostile words, verdict first."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from reports import html
from reports.summary import summarize
from scenarios.history import Call
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, Verdict

MakeRun = Callable[..., Run]


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


def page_of(run: Run, calls: list[Call]) -> str:
    """Return the report of a run."""
    return html.render(summarize(run, calls), calls)


def test_needs_nothing_but_itself(a_run: MakeRun, calls: list[Call]) -> None:
    """No script, no address, no file beside it: it can be mailed, and it is read without a network."""
    source = page_of(a_run(), calls)
    page = Page(source)
    assert not {"script", "img", "iframe", "object", "embed"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in {"src", "href", "xlink:href", "action"}]
    assert all(value is not None and value.startswith(("#", "data:")) for value in addresses)
    assert re.findall(r"url\((?!#)|@import", source) == []


def test_the_verdict_comes_first(a_run: MakeRun, calls: list[Call]) -> None:
    """The first word of the page, and of its title, is the verdict."""
    source = page_of(a_run(), calls)
    assert Page(source).words[0] == "held"
    assert "<title>held: smoke-sequential</title>" in source


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_told_with_its_reason(a_run: MakeRun, verdict: Verdict) -> None:
    """Name, verdict, limit and reason of each expectation stand on the page, also when nothing was seen."""
    result = ExpectationResult(name="heartbeats", value=None, limit="1", verdict=verdict, reason="none came")
    text = Page(page_of(a_run(expectations=(result,)), [])).text
    assert f"heartbeats {verdict} – 1 none came" in text


def test_words_of_others_are_text_not_markup(a_run: MakeRun, calls: list[Call]) -> None:
    """What an error or a title says cannot become a part of the page."""
    source = page_of(a_run(title="<script>alert(1)</script>", stopped_by="<img src=x>"), calls)
    page = Page(source)
    assert not {"script", "img"} & set(page.tags)
    assert "<img src=x>" in page.text


def test_every_call_stands_with_its_trace_id(a_run: MakeRun, mixed: list[Call]) -> None:
    """From each line of the table a person can go to the log; a call without an end has no latency."""
    text = Page(page_of(a_run(), mixed)).text
    assert all(call.trace_id in text for call in mixed)
    assert f"unknown 200.0 – 1 {mixed[-1].trace_id}" in text


def test_follows_the_theme_in_both_plots(a_run: MakeRun, calls: list[Call]) -> None:
    """Ink, grid and shade of the plots are the page's own, so that they are legible in the dark, too."""
    source = page_of(a_run(), calls)
    drawings = "".join(re.findall(r"<svg.*?</svg>", source, re.DOTALL))
    assert drawings.count("<svg") == 2
    assert "var(--ink)" in drawings
    assert "#1f2430" not in drawings


def test_no_id_occurs_twice(a_run: MakeRun, calls: list[Call]) -> None:
    """The two plots are one page: a clip path or a letter of one must not stand in for the other's."""
    ids = [value for name, value in Page(page_of(a_run(), calls)).attributes if name == "id"]
    assert ids
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_page(a_run: MakeRun, calls: list[Call]) -> None:
    """A report can be made again from its files and compared."""
    assert page_of(a_run(), calls) == page_of(a_run(), calls)


def test_an_empty_run_has_a_page(a_run: MakeRun) -> None:
    """A drill that failed before its first call says why, and shows no empty tables."""
    source = page_of(a_run(expectations=(), faults=(), stopped_by="daemon was not ready"), [])
    text = Page(source).text
    assert "The run did not come to its end: daemon was not ready" in text
    assert "trace_id" not in text
