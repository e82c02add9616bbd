"""From what the client saw of a call to its row in the history, and what the row does not hold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from reference_daemon.client import CallResult
from scenarios.history import Body, Call, Outcome, TimeoutLayer

SUMMARY_BEGIN: Final = "=== MCP CALL SUMMARY ==="
SUMMARY_END: Final = "=== END SUMMARY ==="

_SUMMARY: Final = re.compile(f"{SUMMARY_BEGIN}\n(.*)\n{SUMMARY_END}", re.DOTALL)
_FACT: Final = re.compile(r"^([^:]+): (.*)$", re.MULTILINE)
_NOT_KNOWN: Final = "-"


@dataclass(frozen=True, slots=True)
class Observed:
    """One call of a drill.

    Attributes:
        call: Its row in the history.
        heartbeats: How many heartbeats the client saw.
        summarised: Whether its answer ends with a CALL SUMMARY that names its trace_id.
    """

    call: Call
    heartbeats: int
    summarised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A call that a drill is about to make.

    Attributes:
        scenario: Name of the scenario.
        phase: Name of the load phase.
        session: Label of the client's session.
        tool: Name of the tool.
        at: Moment at which it should start, a reading of the clock.
        faults: Names of the faults that are active.
    """

    scenario: str
    phase: str
    session: str
    tool: str
    at: float
    faults: tuple[str, ...]


def unfinished(intent: Intent, trace_id: str, *, start_at: float, heartbeats: int = 0) -> Observed:
    """Describe a call that was sent and whose end nobody saw; moments are counted from `start_at`."""
    at = intent.at - start_at
    call = Call(
        body=Body.REAL,
        scenario=intent.scenario,
        phase=intent.phase,
        session=intent.session,
        tool=intent.tool,
        provider=None,
        model=None,
        expert=True,
        call_key_hash=None,
        trace_id=trace_id,
        request_id=None,
        attempts=1,
        intended_at=at,
        sent_at=at,
        acked_at=None,
        finished_at=None,
        outcome=Outcome.UNKNOWN,
        status=None,
        timeout_layer=None,
        latency_s=None,
        service_s=None,
        retry_wait_s=0.0,
        first_heartbeat_s=None,
        max_heartbeat_gap_s=None,
        faults=intent.faults,
    )
    return Observed(call, heartbeats=heartbeats, summarised=False)


def observed(intent: Intent, result: CallResult, *, start_at: float) -> Observed:
    """Describe a call that came back; moments are counted from `start_at`, the start of the load."""
    facts = summary_facts(result.outputs)
    call = replace(
        unfinished(intent, result.trace_id, start_at=start_at).call,
        provider=facts.get("provider"),
        model=facts.get("model"),
        call_key_hash=result.call_key_hash,
        request_id=result.request_id or None,
        attempts=result.attempts,
        sent_at=_since(start_at, result.sent_at),
        acked_at=_since(start_at, result.acked_at),
        finished_at=result.finished_at - start_at,
        outcome=Outcome(result.outcome.value),
        status=result.error.status if result.error else None,
        timeout_layer=TimeoutLayer(result.timeout_layer.value) if result.timeout_layer else None,
        latency_s=result.finished_at - intent.at,
        service_s=result.duration_s,
        retry_wait_s=result.retry_wait_s,
        first_heartbeat_s=_first_heartbeat_s(result),
        max_heartbeat_gap_s=_longest_silence_s(result),
    )
    return Observed(call, heartbeats=len(result.heartbeats), summarised=facts.get("trace id") == result.trace_id)


def summary_facts(outputs: Sequence[str]) -> dict[str, str]:
    """Return the facts of the CALL SUMMARY by their names in small letters; empty without one.

    Only the last text counts: the ones before it quote what a provider said, which may look like a summary.
    Facts that the daemon does not know are left out.
    """
    block = _SUMMARY.fullmatch(outputs[-1].strip()) if outputs else None
    if block is None:
        return {}
    return {name.lower(): value for name, value in _FACT.findall(block[1]) if value != _NOT_KNOWN}


def _since(start_at: float, at: float | None) -> float | None:
    return None if at is None else at - start_at


def _first_heartbeat_s(result: CallResult) -> float | None:
    if result.acked_at is None or not result.heartbeats:
        return None
    return result.heartbeats[0] - result.acked_at


def _longest_silence_s(result: CallResult) -> float | None:
    if result.acked_at is None:
        return None
    signs_of_life = (result.acked_at, *result.heartbeats, result.finished_at)
    return max(later - sooner for sooner, later in pairwise(signs_of_life))
