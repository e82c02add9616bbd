"""The summary of a run: what a CI job, a later comparison and the page read, as versioned JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from reports.stats import Quantiles, by_phase_and_tool
from scenarios.history import Call
from scenarios.run import Run
from scenarios.verdict import Verdict, worst

SCHEMA_VERSION: Final = 1
"""Raised when a field changes its meaning or goes; a new field leaves it as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run in short. Durations and moments are unscaled seconds unless their name says wall.

    Attributes:
        schema_version: See `SCHEMA_VERSION`.
        verdict: The worst of the expectations' verdicts; undecided at best if the run was stopped.
        run: The run's conditions, faults and judged expectations.
        outcomes: Calls by how they ended.
        quantiles: Latencies by phase and tool.
    """

    schema_version: int
    verdict: Verdict
    run: Run
    outcomes: Mapping[str, int]
    quantiles: tuple[Quantiles, ...]


def summarize(run: Run, calls: Sequence[Call]) -> Summary:
    """Sum a run up."""
    verdicts = [expectation.verdict for expectation in run.expectations]
    if run.stopped_by is not None:
        verdicts.append(Verdict.UNDECIDED)
    return Summary(
        schema_version=SCHEMA_VERSION,
        verdict=worst(verdicts),
        run=run,
        outcomes=dict(sorted(Counter(str(call.outcome) for call in calls).items())),
        quantiles=by_phase_and_tool(calls),
    )


def to_json(summary: Summary) -> bytes:
    """Return the summary as indented JSON: one flat object, the run's fields beside the others."""
    fields: dict[str, Any] = msgspec.to_builtins(summary)
    run: dict[str, Any] = fields.pop("run")
    order = {"schema_version": fields.pop("schema_version"), "verdict": fields.pop("verdict")}
    return msgspec.json.format(msgspec.json.encode(order | run | fields), indent=2) + b"\n"
