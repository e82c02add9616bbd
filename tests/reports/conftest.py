"""A run to report on: three plain calls, and three behind a slow link."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from scenarios.history import Body, Call, Outcome, TimeoutLayer
from scenarios.record import Record
from scenarios.run import FaultProof, FaultWindow, Run
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict, Violation


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
        proof=FaultProof(bit=True, healed=True, evidence="0.02 s before, 0.31 s during, 0.03 s after"),
    )
    run = Run(
        scenario="smoke-sequential",
        title="Three tools in sequence",
        body=Body.REAL,
        started_at="2026-01-02T03:04:05Z",
        wall_s=13.2,
        time_scale=0.05,
        seed=7,
        timeouts_s={"call timeout": 180.0, "expert budget": 90.0},
        caps={"global": 24, "session": 5, "tool:analyze": 2},
        versions={"Toxiproxy": "2.12.0"},
        faults=(fault,),
    )

    def make(**changes: Any) -> Run:
        return dataclasses.replace(run, **changes)

    return make


def a_rule(verdict: Verdict = Verdict.HELD, **changes: Any) -> InvariantResult:
    """Make a rule with that verdict; a violated one has two breaches, of which it lists one."""
    result = InvariantResult(rule="INV-06", title="one answer per request", verdict=verdict, judged=6, reason="why")
    if verdict is Verdict.VIOLATED:
        breach = Violation(what="two answers came, one was due", at=12.5, trace_ids=("0" * 32,), request_ids=("r-0",))
        result = dataclasses.replace(result, violations=(breach,), violated=2)
    return dataclasses.replace(result, **changes)


@pytest.fixture
def make_rule() -> Callable[..., InvariantResult]:
    """Return a maker of judged rules."""
    return a_rule


@pytest.fixture
def make_judgement() -> Callable[..., Judgement]:
    """Return a maker of judgements: one that held, with the given facts changed."""
    held = ExpectationResult(
        name="success_rate",
        value=1.0,
        limit="at least 1",
        verdict=Verdict.HELD,
        reason="6 of 6 calls answered",
        low=0.61,
        high=1.0,
        n=6,
    )
    judgement = Judgement(expectations=(held,), invariants=(a_rule(),))

    def make(**changes: Any) -> Judgement:
        return dataclasses.replace(judgement, **changes)

    return make


@pytest.fixture
def record(a_run: Callable[..., Run], calls: list[Call]) -> Record:
    """Return a run with six answered calls."""
    return Record(a_run(), calls, [])


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
            timeout_layer=TimeoutLayer.DAEMON if outcome is Outcome.TIMEOUT else None,
            latency_s=latency_s,
            finished_at=None if latency_s is None else call.intended_at + latency_s,
        )
        for call, (outcome, latency_s) in zip(calls, changes, strict=True)
    ]
