"""One call to vary."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from scenarios.history import Body, Call, Outcome

A_CALL = Call(
    body=Body.REAL,
    scenario="smoke-sequential",
    phase="plain",
    session="client-1",
    tool="analyze",
    provider="GLM",
    model="glm-4.6",
    expert=True,
    call_key_hash="0123456789ab",
    trace_id="0123456789abcdef0123456789abcdef",
    request_id="r-1",
    attempts=1,
    intended_at=1.0,
    sent_at=1.0,
    acked_at=1.5,
    finished_at=41.0,
    outcome=Outcome.OK,
    status=None,
    timeout_layer=None,
    latency_s=40.0,
    service_s=39.0,
    retry_wait_s=0.0,
    first_heartbeat_s=5.0,
    max_heartbeat_gap_s=5.1,
    faults=(),
)


@pytest.fixture
def a_call() -> Callable[..., Call]:
    """Return a maker of calls: a good one, with the given columns changed."""

    def make(**changes: Any) -> Call:
        return dataclasses.replace(A_CALL, **changes)

    return make
