"""Plots: nothing lost by sampling, words where there is nothing to draw."""

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from reports.charts.failures import causes_of
from reports.charts.gallery import CHARTS, draw_all
from reports.charts.latency import MOST_MARKS, marks_of
from reports.charts.style import Layout
from reports.charts.tail import curve_ranks
from reports.story import Story, story_of
from reports.summary import summarize
from reports.table import table_of
from scenarios.history import Call, Outcome
from scenarios.record import Record
from scenarios.run import FaultWindow, Run
from scenarios.verdict import Judgement

MakeStory = Callable[..., Story]


@pytest.fixture
def story(a_run: Callable[..., Run], make_judgement: Callable[..., Judgement]) -> MakeStory:
    """Return a maker of stories, of calls and changed facts of the run."""

    def make(calls: list[Call], **changes: object) -> Story:
        record, table = Record(a_run(**changes), calls, []), table_of(calls)
        return story_of(record, summarize(record, make_judgement(), table), table)

    return make


def words(story: Story, name: str) -> list[str]:
    """Return the words that stand in a plot."""
    figure = CHARTS[name](story, Layout.WIDE)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return [*texts, *titles, *(text.get_text() for text in figure.texts)]


@pytest.mark.parametrize("name", CHARTS)
def test_an_empty_plot_says_why(story: MakeStory, name: str) -> None:
    """A blank plot looks like a broken one."""
    assert [word for word in words(story([]), name) if word.startswith("no call was") or word == "no call ended"]


def test_all_answered_is_said(story: MakeStory, calls: list[Call]) -> None:
    """A plot of failures without one is good news, not a hole."""
    assert "every call got its answer" in words(story(calls), "failures")


def test_faults_are_named_over_the_latencies(story: MakeStory, calls: list[Call]) -> None:
    """The window has its number and its title; in the small plots, the number of the page's table."""
    assert "F1 200 ± 100 ms each way, client to daemon" in words(story(calls), "latency")
    assert "F1" in words(story(calls), "in-flight")


def test_numbers_of_faults_do_not_run_into_each_other(story: MakeStory, calls: list[Call]) -> None:
    """Of faults that follow each other closely the first has its number; the table of the page has them all."""
    faults = tuple(
        FaultWindow(name=f"f{n}", title=f"fault {n}", link="client-daemon", started_at=at, ended_at=at + 1.0)
        for n, at in enumerate((20.0, 21.0, 22.0, 23.0, 24.0, 120.0))
    )
    found = [word for word in words(story(calls, faults=faults), "latency") if word.startswith("F")]
    assert found == ["F1", "F6"]


def test_timeouts_are_lines_of_reference(story: MakeStory, calls: list[Call]) -> None:
    """Those that the calls came near; one name for equal ones."""
    run = {"timeouts_s": {"step timeout": 60.0, "call timeout": 60.0, "client timeout": 210.0, "result ttl": 50.0}}
    found = words(story(calls, **run), "p95")
    assert "step timeout, call timeout 60 s" in found
    assert not any("client timeout" in word or "ttl" in word for word in found)


def test_who_gave_up_first_is_told_by_layer(story: MakeStory, mixed: list[Call]) -> None:
    """A timeout counts for its layer, any other failure for its outcome; no call for two of them."""
    causes = causes_of(story(mixed))
    assert {name: int(chosen.sum()) for name, chosen in causes.items()} == {
        "timeout: daemon": 1,
        "provider error": 1,
        "connection lost": 1,
        "unknown": 1,
    }


def test_sampling_keeps_rare_outcomes_and_listed_calls(story: MakeStory, calls: list[Call]) -> None:
    """Of many calls alike a few stand for all; a single failure and the slowest calls are drawn always."""
    many = [dataclasses.replace(calls[0], intended_at=float(n), latency_s=1.0 + n % 7) for n in range(5000)]
    many[1234] = dataclasses.replace(calls[0], outcome=Outcome.TIMEOUT)
    many[777] = dataclasses.replace(calls[0], latency_s=500.0)
    told = story(many)
    marks = marks_of(told)
    assert list(marks[Outcome.TIMEOUT]) == [1234]
    assert 777 in marks[Outcome.OK]
    assert sum(map(len, marks.values())) <= MOST_MARKS + len(told.listed)


def test_the_tail_is_never_sampled() -> None:
    """The body of a curve has few points, its last 200 ranks have all."""
    ranks = curve_ranks(1_000_000)
    assert len(ranks) < 700
    assert set(range(999_800, 1_000_000)) <= set(ranks.tolist())
    assert np.array_equal(curve_ranks(3), [0, 1, 2])


def test_strange_names_are_drawn_as_they_are(story: MakeStory, calls: list[Call]) -> None:
    """A formula, markup or a letter without a glyph in a tool's name breaks no plot."""
    odd = [dataclasses.replace(calls[0], tool="$x^{<b>&" + "工" * 40, outcome=Outcome.ERROR)]
    for drawn in draw_all(story(odd)).values():
        ET.fromstring(drawn.wide)  # noqa: S314 - our own drawing
