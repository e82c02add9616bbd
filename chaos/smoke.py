"""The built-in drill: one workflow tool after another, once on a plain link and once on a slow one.

What is asked for is true by design: calls of 35 to 55 s under an expert budget of 90 s end in time, send a
heartbeat every 5 s, and lose nothing on a link that is slow but whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.observe import Observed
from chaos.toxiproxy import Latency
from scenarios.run import FaultWindow
from scenarios.verdict import ExpectationResult, Verdict

SCENARIO: Final = "smoke-sequential"
TITLE: Final = "Analyze, codereview and testgen in sequence, on a plain and on a slow link"
TOOLS: Final = ("analyze", "codereview", "testgen")

PROVIDER_LATENCY: Final = "uniform:35,55"
"""What the stub provider takes for an answer: the 20 to 60 s of real expert runs, with room on both sides."""

LINK_LATENCY: Final = Latency(0.2, 0.1)
"""A bad mobile connection, in each direction."""

FAULT: Final = "client-latency"
FAULT_TITLE: Final = (
    f"{LINK_LATENCY.latency_s * 1000:.0f} ± {LINK_LATENCY.jitter_s * 1000:.0f} ms each way, client to daemon"
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the drill: all tools once, with the slow link or without."""

    name: str
    slow: bool


PHASES: Final = (Phase("plain", slow=False), Phase("latency", slow=True))
PLANNED_CALLS: Final = len(PHASES) * len(TOOLS)


def arguments(tool: str) -> dict[str, Any]:
    """Return the arguments of a final workflow step: expert on, least thinking, no web."""
    return {
        "step": f"Conclude the {tool} of the sample module.",
        "step_number": 1,
        "total_steps": 1,
        "next_step_required": False,
        "findings": "The sample module parses its input twice; the second pass is not needed.",
        "assistant": True,
        "thinking_mode": "minimal",
        "use_websearch": False,
    }


def judge(calls: Sequence[Observed], faults: Sequence[FaultWindow], daemon_log: Path) -> tuple[ExpectationResult, ...]:
    """Judge everything that the drill expects, on whatever part of it took place."""
    # A call that was cut off when the drill was stopped says nothing about the daemon.
    ended = [seen for seen in calls if seen.call.finished_at is not None]
    return (
        _each("success_rate", "answered", [seen.call.outcome.succeeded for seen in ended]),
        _each("call_summaries", "with a CALL SUMMARY block", [seen.summarised for seen in ended]),
        _each("heartbeats", "with at least one heartbeat", [seen.heartbeats > 0 for seen in ended]),
        _daemon_errors(daemon_log, measured=bool(ended)),
        _fault_bit(faults),
    )


def _each(name: str, what: str, passed: Sequence[bool]) -> ExpectationResult:
    """Judge a rule for every planned call: a call that breaks it decides, a missing one leaves it open."""
    if not all(passed):
        verdict = Verdict.VIOLATED
    elif len(passed) < PLANNED_CALLS:
        verdict = Verdict.UNDECIDED
    else:
        verdict = Verdict.HELD
    return ExpectationResult(
        name=name,
        value=sum(passed) / len(passed) if passed else None,
        limit="1 (every call)",
        verdict=verdict,
        reason=f"{sum(passed)} of {PLANNED_CALLS} calls {what}",
    )


def _daemon_errors(log: Path, *, measured: bool) -> ExpectationResult:
    """Judge the daemon's log: no line of level error; the watchdog writes one when a call has no end."""
    levels = _levels(log)
    errors = sum(level in {"error", "critical"} for level in levels)
    if not levels:
        verdict, reason = Verdict.UNDECIDED, "the daemon's log has no line that can be read"
    else:
        verdict = Verdict.VIOLATED if errors else Verdict.HELD
        if not measured:  # a daemon that never answered is an environment that failed, not a rule that was broken
            verdict = Verdict.UNDECIDED
        reason = f"{errors} of {len(levels)} lines in the daemon's log are errors"
    return ExpectationResult(
        name="daemon_errors",
        value=float(errors) if levels else None,
        limit="0",
        verdict=verdict,
        reason=reason,
    )


class _Line(msgspec.Struct, frozen=True):
    """What matters here of a line of the daemon's log."""

    level: str


def _levels(log: Path) -> list[str]:
    """Return the level of every line that is a record; a traceback on stderr counts as one error."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    levels = []
    for line in lines:
        try:
            levels.append(msgspec.json.decode(line, type=_Line).level.lower())
        except msgspec.MsgspecError:
            if line.startswith("Traceback "):
                levels.append("error")
    return levels


def _fault_bit(faults: Sequence[FaultWindow]) -> ExpectationResult:
    """Judge whether the link was slow when it was meant to be, and only then; if not, nothing was tested."""
    proof = next((fault.proof for fault in faults if fault.name == FAULT), None)
    if proof is None:
        verdict, reason = Verdict.UNDECIDED, "the drill ended before the fault was measured"
    elif not proof.bit:
        verdict, reason = Verdict.UNDECIDED, "the link was not slower with the fault than without"
    elif not proof.healed:
        verdict, reason = Verdict.UNDECIDED, "the link stayed slow after the fault was removed"
    else:
        verdict, reason = Verdict.HELD, "slow while the fault was active, and only then"
    return ExpectationResult(
        name="fault_bit",
        value=min(proof.during_s) if proof and proof.during_s else None,
        limit=f"round trip at least {2 * LINK_LATENCY.least_s:g} s",
        verdict=verdict,
        reason=reason,
    )
