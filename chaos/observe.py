"""From what a client saw of a call to its row in the history. What nobody saw stays null."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from reference_daemon.client import CallOutcome, CallResult
from reference_daemon.client import TimeoutLayer as ClientLayer
from scenarios.history import Body, Call, Outcome, TimeoutLayer

SUMMARY_BEGIN: Final = "=== MCP CALL SUMMARY ==="
SUMMARY_END: Final = "=== END SUMMARY ==="

_SUMMARY: Final = re.compile(f"{SUMMARY_BEGIN}\n(.*)\n{SUMMARY_END}", re.DOTALL)
_FACT: Final = re.compile(r"^([^:]+): (.*)$", re.MULTILINE)
_NOT_KNOWN: Final = "-"

_OUTCOMES: Final = {outcome: Outcome(outcome.value) for outcome in CallOutcome}
_LAYERS: Final = {layer: TimeoutLayer(layer.value) for layer in ClientLayer}
"""The client's words, in those of the history."""


class Intent(NamedTuple):
    """A call as it was meant; a named tuple, since one is made for every call of a load.

    Attributes:
        scenario: Name of the scenario.
        phase: Name of the load phase.
        session: Label of the client's session.
        tool: Name of the tool.
        expert: Whether it asks for the expert phase.
        trace_id: 32 hex digits.
        at: Moment at which it should start, a reading of the clock.
        keyed: Whether the client sends a call_key; without one, only the daemon knows whether there is any.
    """

    scenario: str
    phase: str
    session: str
    tool: str
    expert: bool
    trace_id: str
    at: float
    keyed: bool = True


def ended(intent: Intent, result: CallResult, *, start_at: float, faults: tuple[str, ...]) -> Call:
    """Describe a call that has an outcome; moments are counted from `start_at`, the start of the load."""
    return _row(intent, result, start_at, faults, finished_at=result.finished_at)


def unfinished(intent: Intent, result: CallResult | None, *, start_at: float, faults: tuple[str, ...]) -> Call:
    """Describe a call whose end nobody saw, by what was seen of it until now; None if it was not begun."""
    return _row(intent, result, start_at, faults, finished_at=None)


def _row(
    intent: Intent, result: CallResult | None, start_at: float, faults: tuple[str, ...], *, finished_at: float | None
) -> Call:
    seen = result or CallResult(tool=intent.tool, call_key="", trace_id=intent.trace_id, intended_at=intent.at)
    facts = summary_facts(seen.outputs)
    over = finished_at is not None
    return Call(
        body=Body.REAL,
        scenario=intent.scenario,
        phase=intent.phase,
        session=intent.session,
        tool=intent.tool,
        provider=facts.get("provider"),
        model=facts.get("model"),
        expert=intent.expert,
        call_key_hash=seen.call_key_hash if result and intent.keyed else None,
        trace_id=seen.trace_id,
        request_id=seen.request_id or None,
        attempts=seen.attempts,
        intended_at=intent.at - start_at,
        sent_at=_since(start_at, seen.sent_at),
        acked_at=_since(start_at, seen.acked_at),
        finished_at=_since(start_at, finished_at),
        outcome=_OUTCOMES[seen.outcome] if over else Outcome.UNKNOWN,
        status=seen.error.status if over and seen.error else None,
        timeout_layer=_LAYERS[seen.timeout_layer] if over and seen.timeout_layer else None,
        latency_s=None if finished_at is None else finished_at - intent.at,
        service_s=seen.duration_s,
        retry_wait_s=seen.retry_wait_s,
        first_heartbeat_s=_first_heartbeat_s(seen),
        max_heartbeat_gap_s=_longest_silence_s(seen, finished_at),
        faults=faults,
    )


def summary_facts(outputs: Sequence[str]) -> dict[str, str]:
    """Return the facts of the CALL SUMMARY by their names in small letters; empty without one.

    Only the last text counts: the ones before it quote what a provider said, which may look like a summary.
    Facts that the daemon does not know are left out.
    """
    last = outputs[-1].strip() if outputs else ""
    block = _SUMMARY.fullmatch(last) if last.startswith(SUMMARY_BEGIN) else None
    if block is None:
        return {}
    return {name.lower(): value for name, value in _FACT.findall(block[1]) if value != _NOT_KNOWN}


def summarised(outputs: Sequence[str], trace_id: str | None) -> bool:
    """Return whether a result ends with a CALL SUMMARY that names the trace_id of its own call."""
    return trace_id is not None and summary_facts(outputs).get("trace id") == trace_id


def _since(start_at: float, at: float | None) -> float | None:
    return None if at is None else at - start_at


def _first_heartbeat_s(result: CallResult) -> float | None:
    if result.acked_at is None or not result.heartbeats:
        return None
    return result.heartbeats[0] - result.acked_at


def _longest_silence_s(result: CallResult, finished_at: float | None) -> float | None:
    """Return the longest time without a sign of life; of a call without an end, between those that there were."""
    if result.acked_at is None:
        return None
    if finished_at is not None and not result.heartbeats:
        return finished_at - result.acked_at
    signs_of_life = [result.acked_at, *result.heartbeats]
    if finished_at is not None:
        signs_of_life.append(finished_at)
    return max((later - sooner for sooner, later in pairwise(signs_of_life)), default=None)
