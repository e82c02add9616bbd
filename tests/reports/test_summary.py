"""The summary that machines read."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from reports.summary import SCHEMA_VERSION, summarize, to_json
from scenarios.history import Call
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import InvariantResult, Judgement, Verdict


@pytest.fixture
def document(
    a_run: Callable[..., Run],
    mixed: list[Call],
    make_judgement: Callable[..., Judgement],
    make_rule: Callable[..., InvariantResult],
) -> dict[str, Any]:
    """Return the summary of a mixed run, read back; one rule was violated, one not judged."""
    rules = (make_rule(Verdict.VIOLATED), make_rule(Verdict.UNDECIDED, rule="INV-09", reason="nobody attached"))
    summary = summarize(Record(a_run(), mixed, []), make_judgement(invariants=rules))
    read: dict[str, Any] = json.loads(to_json(summary))
    return read


def test_has_exactly_these_fields(document: dict[str, Any]) -> None:
    """The fields are a contract; whoever changes one thinks of the version."""
    assert list(document) == [
        "schema_version",
        "verdict",
        "scenario",
        "title",
        "body",
        "started_at",
        "wall_s",
        "time_scale",
        "seed",
        "timeouts_s",
        "caps",
        "settings",
        "versions",
        "faults",
        "schedule_lag_p99_s",
        "not_carried",
        "target",
        "defect",
        "stopped_by",
        "doubts",
        "expectations",
        "invariants",
        "not_judged",
        "calls",
        "outcomes",
        "timeouts",
        "attempts",
        "retry_wait_s",
        "refusals",
        "quantiles",
        "baseline",
    ]
    assert document["schema_version"] == SCHEMA_VERSION == 2


def test_the_verdict_is_that_of_the_judgement(document: dict[str, Any]) -> None:
    """A report repeats a verdict; it makes none of its own."""
    assert document["verdict"] == "violated"


def test_counts_every_outcome(document: dict[str, Any]) -> None:
    """The counts add up to the calls, those without an end included."""
    assert document["outcomes"] == {"connection_lost": 1, "ok": 2, "provider_error": 1, "timeout": 1, "unknown": 1}
    assert document["calls"] == 6
    assert document["timeouts"] == {"daemon": 1}
    assert document["attempts"] == {"1": 6}


def test_a_rule_that_need_not_be_judged_stands_apart(document: dict[str, Any]) -> None:
    """Nobody can take it for one that held."""
    assert [rule["rule"] for rule in document["invariants"]] == ["INV-06"]
    assert document["not_judged"] == [
        {"rule": "INV-09", "title": "one answer per request", "reason": "nobody attached"}
    ]


def test_carries_the_breaches_and_the_proof_of_a_fault(document: dict[str, Any]) -> None:
    """What was seen is kept, so that a person can check it."""
    assert document["invariants"][0]["violated"] == 2
    assert document["invariants"][0]["violations"][0]["trace_ids"] == ["0" * 32]
    assert document["faults"][0]["proof"] == {
        "bit": True,
        "healed": True,
        "evidence": "0.02 s before, 0.31 s during, 0.03 s after",
    }


def test_quantiles_have_intervals(document: dict[str, Any]) -> None:
    """One call says what it took, and nothing about the upper end."""
    assert document["quantiles"][0]["p95"] == {"value_s": 40.0, "low_s": None, "high_s": None}
