"""Metrics that are counted in the events: refusals, duplicates, executions, summaries, lines of the daemon's log."""

from collections import Counter

from scenarios.checks.intervals import wilson
from scenarios.checks.selection import Measured, Selection
from scenarios.events import DaemonCall, Frame

NO_STORY = "the run has no story of client or daemon"


def refusals(selection: Selection) -> Measured:
    """Count the answers 429, of the expectation's scope."""
    answers = selection.answers(429)
    if answers is None:
        return Measured(value=None, n=0, reason=NO_STORY)
    scope = selection.expectation.scope
    counted = [answer for answer in answers if _in_scope(answer.scope, scope)]
    scopes = Counter(answer.scope or "no scope" for answer in counted)
    reason = f"{len(counted)} answers 429 to {len(selection.calls)} calls"
    if counted:
        reason += ": " + ", ".join(f"{number} {name}" for name, number in scopes.most_common())
    elif answers:
        reason += f" of this scope; {len(answers)} of others"
    return Measured(value=float(len(counted)), n=len(selection.calls), reason=reason)


def _in_scope(seen: str | None, wanted: str | None) -> bool:
    """Return whether a refusal's scope is the wanted one; `tool` and `provider` mean any."""
    return wanted is None or seen == wanted or (seen or "").partition(":")[0] == wanted


def duplicates(selection: Selection) -> Measured:
    """Count the answers 409 DUPLICATE."""
    answers = _duplicates(selection)
    if answers is None:
        return Measured(value=None, n=0, reason=NO_STORY)
    reason = f"{len(answers)} answers 409 DUPLICATE to {len(selection.calls)} calls"
    return Measured(value=float(len(answers)), n=len(selection.calls), reason=reason)


def _duplicates(selection: Selection) -> list[Frame | DaemonCall] | None:
    answers = selection.answers(409)
    return None if answers is None else [answer for answer in answers if answer.code == "DUPLICATE"]


def slowest_duplicate(selection: Selection) -> Measured:
    """Measure the slowest answer 409 DUPLICATE from the moment at which its request was sent."""
    answers = [answer for answer in _duplicates(selection) or () if isinstance(answer, Frame)]
    waits = [wait for answer in answers if (wait := _wait_s(selection, answer)) is not None]
    if not waits:
        return Measured(value=None, n=0, reason="no answer 409 DUPLICATE whose request was seen")
    reason = f"slowest of {len(waits)} answers 409 DUPLICATE: {max(waits):.4g} s"
    return Measured(value=max(waits), n=len(waits), reason=reason)


def _wait_s(selection: Selection, answer: Frame) -> float | None:
    frames = selection.history.frames_by_request.get((answer.client, answer.request_id or ""), [])
    asked = [frame.at for frame in frames if frame.direction == "sent" and frame.at <= answer.at]
    return answer.at - asked[-1] if asked else None


def executions(selection: Selection) -> Measured:
    """Count the executions that the provider began."""
    if not selection.history.executions:
        return Measured(value=None, n=0, reason="the run has no log of a provider")
    begun = [event for event in selection.history.executions if event.what == "start" and selection.covers(event)]
    reason = f"the provider began {len(begun)} executions for {len(selection.calls)} calls"
    return Measured(value=float(len(begun)), n=len(selection.calls), reason=reason)


def call_summaries(selection: Selection) -> Measured:
    """Measure the share of the good results that end with a summary that names their trace_id."""
    results = [
        frame
        for frame in selection.history.frames
        if frame.direction == "received"
        and frame.op == "call_tool_res"
        and frame.status is None
        and frame.connection not in selection.history.witness_connections
        and selection.covers(frame)
    ]
    known = [frame for frame in results if frame.summary is not None]
    if len(known) < len(results) or not known:
        return Measured(value=None, n=0, reason=f"of {len(results)} results, {len(known)} were looked at")
    ended = sum(1 for frame in known if frame.summary)
    low, high = wilson(ended, len(known))
    reason = f"{ended} of {len(known)} results end with a CALL SUMMARY that names their trace_id"
    return Measured(value=ended / len(known), n=len(known), reason=reason, low=low, high=high)


def daemon_errors(selection: Selection) -> Measured:
    """Count the lines of level error in the daemon's log, the watchdog's and tracebacks included."""
    read = [log for log in selection.history.log_reads if "daemon" in log.file]
    if not read:
        return Measured(value=None, n=0, reason="no log of the daemon was read")
    wrong = [
        finding
        for finding in selection.history.log_findings
        if "daemon" in finding.file and finding.what in {"error", "watchdog", "traceback"}
    ]
    lines = sum(log.lines for log in read)
    reason = f"{len(wrong)} errors in {lines} lines of {', '.join(log.file for log in read)}"
    if wrong:
        reason += f"; the first, {wrong[0].file} line {wrong[0].line}: {wrong[0].text}"
    return Measured(value=float(len(wrong)), n=max(lines, 1), reason=reason)
