"""One call to vary, and the place of one file."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenarios.history import Call
from tests.scenarios.checks import histories

A_CALL = histories.a_call(
    scenario="smoke-sequential",
    phase="plain",
    session="client-1",
    intended_at=1.0,
    sent_at=1.0,
    acked_at=1.5,
    finished_at=41.0,
    latency_s=40.0,
    service_s=39.0,
    max_heartbeat_gap_s=5.1,
)


@pytest.fixture
def a_call() -> Callable[..., Call]:
    """Return a maker of calls: a good one, with the given columns changed."""

    def make(**changes: Any) -> Call:
        return dataclasses.replace(A_CALL, **changes)

    return make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the place of a scenario file."""
    return tmp_path / "mine.yaml"
