"""A run to report on: three plain calls, and three behind a slow link."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from scenarios.history import Body, Call, Outcome
from scenarios.run import BiteProof, FaultWindow, Run
from scenarios.verdict import ExpectationResult, Verdict


def a_call(number: int, phase: str, tool: str, faults: tuple[str, ...]) -> Call:
    """Make the call that starts at 40 × `number` seconds and takes 40 + `number` seconds."""
    at, latency_s = 40.0 * number, 40.0 + number
    return Call(
        body=Body.REAL,
        scenario="smoke-sequential",
        phase=phase,
        session="client-1",
        tool=tool,
        provider="GLM",
        model="glm-4.6",
        expert=True,
        call_key_hash="0123456789ab",
        trace_id=f"{number:032x}",
        request_id=f"r-{number}",
        attempts=1,
        intended_at=at,
        sent_at=at,
        acked_at=at,
        finished_at=at + latency_s,
        outcome=Outcome.OK,
        status=None,
        timeout_layer=None,
        latency_s=latency_s,
        service_s=latency_s,
        retry_wait_s=0.0,
        first_heartbeat_s=5.0,
        max_heartbeat_gap_s=5.0,
        faults=faults,
    )


@pytest.fixture
def calls() -> list[Call]:
    """Return six calls that were answered."""
    tools = ("analyze", "codereview", "testgen")
    phases = (("plain", ()), ("latency", ("client-latency",)))
    plan = [(phase, tool, faults) for phase, faults in phases for tool in tools]
    return [a_call(number, *what) for number, what in enumerate(plan)]


@pytest.fixture
def a_run() -> Callable[..., Run]:
    """Return a maker of runs: one that held, with the given facts changed."""
    fault = FaultWindow(
        name="client-latency",
        title="200 ± 100 ms each way, client to daemon",
        link="client-daemon",
        started_at=118.0,
        ended_at=245.0,
        proof=BiteProof(before_s=(0.02,), during_s=(0.31,), after_s=(0.03,), least_s=0.2),
    )
    held = ExpectationResult(
        name="success_rate",
        value=1.0,
        limit="1 (every call)",
        verdict=Verdict.HELD,
        reason="6 of 6 calls answered",
    )
    run = Run(
        scenario="smoke-sequential",
        title="Three tools in sequence",
        started_at="2026-01-02T03:04:05Z",
        wall_s=13.2,
        time_scale=0.05,
        seed=7,
        timeouts_s={"call timeout": 180.0, "expert budget": 90.0},
        versions={"Toxiproxy": "2.12.0"},
        faults=(fault,),
        expectations=(held,),
        stopped_by=None,
    )

    def make(**changes: Any) -> Run:
        return dataclasses.replace(run, **changes)

    return make


@pytest.fixture
def mixed(calls: list[Call]) -> list[Call]:
    """Return six calls: answered, late, failed by the provider, lost, and without an end."""
    changes: list[tuple[Outcome, float | None]] = [
        (Outcome.OK, 40.0),
        (Outcome.TIMEOUT, 180.0),
        (Outcome.PROVIDER_ERROR, 3.0),
        (Outcome.OK, 44.0),
        (Outcome.CONNECTION_LOST, 1.0),
        (Outcome.UNKNOWN, None),
    ]
    return [
        dataclasses.replace(
            call,
            outcome=outcome,
            latency_s=latency_s,
            finished_at=None if latency_s is None else call.intended_at + latency_s,
        )
        for call, (outcome, latency_s) in zip(calls, changes, strict=True)
    ]
