"""Small scenarios and calls that tests of the model's studies share."""

from typing import Any

from scenarios.history import Body, Call, Outcome
from scenarios.model import Scenario

YAML = """\
name: tiny
title: A few calls on a small cap
seed: 3
providers:
  GLM: {latency: {uniform: {low: 35, high: 55}}}
load:
  - {phase: steady, duration: 1500, clients: 3, arrivals: {poisson: {rate: 0.1}}, sequence: [analyze, chat]}
expect:
  - {metric: success_rate, min: 0.5}
"""
"""About 150 calls, in the words of a file."""


def a_scenario(**changes: Any) -> Scenario:
    """Return a scenario of about 150 calls that a cap of 3 or 4 refuses now and then."""
    values: dict[str, Any] = {
        "name": "tiny",
        "title": "A few calls on a small cap",
        "seed": 3,
        "providers": {"GLM": {"latency": {"uniform": {"low": 35, "high": 55}}}},
        "load": [
            {
                "phase": "steady",
                "duration": 1500,
                "clients": 3,
                "arrivals": {"poisson": {"rate": 0.1}},
                "sequence": ["analyze", "chat"],
            }
        ],
        "expect": [{"metric": "success_rate", "min": 0.5}],
    }
    return Scenario.model_validate(values | changes)


def a_call(intended_at: float, latency_s: float | None, outcome: Outcome = Outcome.OK, **changes: Any) -> Call:
    """Return a call that was admitted at once and ended after so many seconds; None: never."""
    finished_at = None if latency_s is None else intended_at + latency_s
    values: dict[str, Any] = {
        "body": Body.SIMULATED,
        "scenario": "tiny",
        "phase": "steady",
        "session": "client-0",
        "tool": "analyze",
        "provider": "GLM",
        "model": None,
        "expert": True,
        "call_key_hash": None,
        "trace_id": "0" * 32,
        "request_id": "r1",
        "attempts": 1,
        "intended_at": intended_at,
        "sent_at": intended_at,
        "acked_at": intended_at,
        "finished_at": finished_at,
        "outcome": outcome,
        "status": None,
        "timeout_layer": None,
        "latency_s": latency_s,
        "service_s": latency_s,
        "retry_wait_s": 0.0,
        "first_heartbeat_s": None,
        "max_heartbeat_gap_s": None,
        "faults": (),
    }
    return Call(**(values | changes))
