"""The summary of a run: what a CI job, a later comparison and the page read, as versioned JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from reports.comparison import Comparison
from reports.refusals import Refusals, refusals_of
from reports.stats import Quantiles, by_phase_and_tool
from reports.table import CallTable, table_of
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict, worst

SCHEMA_VERSION: Final = 2
"""Raised when a field changes its meaning or goes; a new field leaves it as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotJudged:
    """A rule that this run says nothing about, and need not.

    Attributes:
        rule: Its number.
        title: What it says.
        reason: What was missing.
    """

    rule: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run in short. Durations and moments are unscaled seconds unless their name says wall.

    Attributes:
        schema_version: See `SCHEMA_VERSION`.
        verdict: The worst of all that had to be judged.
        run: The run's conditions and faults.
        expectations: What was expected, judged.
        invariants: The rules that were judged, and those that had to be.
        not_judged: The other rules.
        calls: How many logical calls there were.
        outcomes: Calls by how they ended.
        timeouts: Calls that timed out, by who gave up first.
        attempts: Calls by how often they were sent.
        retry_wait_s: Time that all calls together waited between attempts.
        refusals: Attempts that a cap refused.
        quantiles: Latencies by phase and tool.
        baseline: How the run compares with another one; None if nobody asked.
    """

    schema_version: int
    verdict: Verdict
    run: Run
    expectations: tuple[ExpectationResult, ...]
    invariants: tuple[InvariantResult, ...]
    not_judged: tuple[NotJudged, ...]
    calls: int
    outcomes: Mapping[str, int]
    timeouts: Mapping[str, int]
    attempts: Mapping[str, int]
    retry_wait_s: float
    refusals: Refusals
    quantiles: tuple[Quantiles, ...]
    baseline: Comparison | None = None


def summarize(
    record: Record, judgement: Judgement, table: CallTable | None = None, comparison: Comparison | None = None
) -> Summary:
    """Sum a run up; `table` saves making the columns again. What got worse than a baseline is violated, too."""
    columns = table_of(record.calls) if table is None else table
    left_out = judgement.not_judged
    return Summary(
        schema_version=SCHEMA_VERSION,
        verdict=worst([judgement.verdict, *([comparison.verdict] if comparison else [])]),
        run=record.run,
        expectations=judgement.expectations,
        invariants=tuple(rule for rule in judgement.invariants if rule not in left_out),
        not_judged=tuple(NotJudged(rule=rule.rule, title=rule.title, reason=rule.reason) for rule in left_out),
        calls=len(columns),
        outcomes=columns.outcome.counts(),
        timeouts=columns.layer.counts(),
        attempts=_attempts(columns),
        retry_wait_s=float(np.sum(columns.retry_wait_s)),
        refusals=refusals_of(record.events),
        quantiles=by_phase_and_tool(columns),
        baseline=comparison,
    )


def _attempts(table: CallTable) -> dict[str, int]:
    numbers, counts = np.unique(table.attempts, return_counts=True)
    return {str(number): int(count) for number, count in zip(numbers, counts, strict=True)}


def to_json(summary: Summary) -> bytes:
    """Return the summary as indented JSON: one flat object, the run's fields beside the others."""
    fields: dict[str, Any] = msgspec.to_builtins(summary)
    run: dict[str, Any] = fields.pop("run")
    order = {"schema_version": fields.pop("schema_version"), "verdict": fields.pop("verdict")}
    return msgspec.json.format(msgspec.json.encode(order | run | fields), indent=2) + b"\n"
