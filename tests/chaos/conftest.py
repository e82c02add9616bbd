"""What a client may have seen of a call, to vary."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chaos.observe import Intent, ended
from reference_daemon.client import CallResult
from reference_daemon.outcomes import CallOutcome
from scenarios.history import Call

TRACE_ID = "0123456789abcdef0123456789abcdef"
SUMMARY = f"""\
=== MCP CALL SUMMARY ===
Tool: analyze
Status: COMPLETE
Model: glm-4.6
Provider: GLM
Continuation ID: -
Trace ID: {TRACE_ID}
=== END SUMMARY ==="""

MakeResult = Callable[..., CallResult]
MakeRow = Callable[..., Call]


@pytest.fixture
def intent() -> Intent:
    """Return the intent of a call at 1000 s on the clock; the run started at 990 s."""
    return Intent(
        scenario="smoke-sequential",
        phase="latency",
        session="client-1",
        tool="analyze",
        expert=True,
        trace_id=TRACE_ID,
        at=1000.0,
    )


@pytest.fixture
def a_result() -> MakeResult:
    """Return a maker of results: a good one, with the given attributes changed."""
    result = CallResult(
        tool="analyze",
        call_key="key",
        trace_id=TRACE_ID,
        intended_at=1000.5,
        request_id="r-1",
        sent_at=1000.5,
        acked_at=1001.0,
        finished_at=1014.0,
        outcome=CallOutcome.OK,
        outputs=["All is well.", SUMMARY],
        attempts=1,
        heartbeats=[1006.0, 1012.5],
        duration_s=12.9,
    )

    def make(**changes: Any) -> CallResult:
        return dataclasses.replace(result, **changes)

    return make


@pytest.fixture
def a_row(intent: Intent, a_result: MakeResult) -> MakeRow:
    """Return a maker of rows, from a good result with the given attributes changed."""

    def make(**changes: Any) -> Call:
        return ended(intent, a_result(**changes), start_at=990.0, faults=("client-latency",))

    return make
