"""The verdict for the summary of a CI job."""

import dataclasses
from collections.abc import Callable

from reports.markdown import MOST_ROWS, to_markdown
from reports.page import estimate
from reports.summary import summarize
from scenarios.history import Call
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict


def test_the_verdict_comes_first(record: Record, make_judgement: Callable[..., Judgement]) -> None:
    """The first line says it, with the scenario's name."""
    assert to_markdown(summarize(record, make_judgement())).startswith("## ✅ held: smoke-sequential\n")


def test_a_violated_rule_names_its_calls(
    record: Record, make_judgement: Callable[..., Judgement], make_rule: Callable[..., InvariantResult]
) -> None:
    """From the job's page a person can go to the log."""
    text = to_markdown(summarize(record, make_judgement(invariants=(make_rule(Verdict.VIOLATED),))))
    assert f"- two answers came, one was due (at 12.500 s), trace_id `{'0' * 32}`\n- and 1 more" in text


def test_what_was_not_judged_is_told(
    record: Record, make_judgement: Callable[..., Judgement], make_rule: Callable[..., InvariantResult]
) -> None:
    """A rule without evidence is listed with what was missing."""
    text = to_markdown(summarize(record, make_judgement(invariants=(make_rule(Verdict.UNDECIDED),))))
    assert "says nothing about: 1" in text
    assert "- INV-06 one answer per request: why" in text


def test_words_of_others_stay_in_their_cell(record: Record, make_judgement: Callable[..., Judgement]) -> None:
    """A bar, a line break or a tag cannot become a part of the page."""
    result = ExpectationResult(name="a|b", value=None, limit="<img>", verdict=Verdict.VIOLATED, reason="one\ntwo")
    text = to_markdown(summarize(record, make_judgement(expectations=(result,))))
    assert "| ❌ violated | a\\|b | – | &lt;img&gt; | one two |" in text


def test_a_long_table_is_cut(
    a_run: Callable[..., Run], calls: list[Call], make_judgement: Callable[..., Judgement]
) -> None:
    """The summary of a job has a limit; the page has the rest."""
    many = [dataclasses.replace(calls[0], phase=f"phase-{number}") for number in range(MOST_ROWS + 2)]
    assert "2 more rows stand in the report." in to_markdown(summarize(Record(a_run(), many, []), make_judgement()))


def test_an_empty_run_has_a_summary(a_run: Callable[..., Run]) -> None:
    """Without expectations and calls there are words instead of tables."""
    text = to_markdown(summarize(Record(a_run(stopped_by="no port"), [], []), Judgement(expectations=())))
    assert text.startswith("## ❔ undecided")
    assert "**The run did not come to its end:** no port" in text
    assert "No call was made" in text


def test_numbers_are_those_of_the_page(
    a_run: Callable[..., Run], calls: list[Call], make_judgement: Callable[..., Judgement]
) -> None:
    """A latency of 42 ms is no 0.0 s: the summary and the page write a number in one way."""
    quick = [dataclasses.replace(call, latency_s=0.042) for call in calls]
    summary = summarize(Record(a_run(), quick, []), make_judgement())
    text = to_markdown(summary)
    for row in summary.quantiles:
        assert f"| {estimate(row.p50)} |" in text
    assert "0.042 (" in text
    assert "| 0.042 |" in text
