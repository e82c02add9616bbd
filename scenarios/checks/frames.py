"""Rules about which frames a request gets, in which order, and that they are its own."""

import math
import re
from collections import Counter, defaultdict
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.exchanges import CALL_ANSWERS, CANCELLED_STATUS, DEADLINE_STATUS, Exchange, exchanges, excused
from scenarios.checks.registry import Finding, rule
from scenarios.events import Execution, Frame
from scenarios.verdict import Violation

WELL_FORMED: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
"""A trace_id as W3C has it: 32 hex digits, not all zero."""


@rule("INV-01", "every ack is followed by exactly one terminal answer")
def one_terminal(history: History) -> Finding:
    """Every ack is followed by exactly one terminal answer, and no request gets two.

    Evidence: the clients' frames. A connection that ended, or a run that was stopped, excuses a missing answer.
    """
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool", "attach"):
        terminals = exchange.terminals
        if len(terminals) > 1:
            breaches.append(violation(f"{len(terminals)} terminal answers instead of one", exchange.asked, *terminals))
        elif exchange.ack is not None and not terminals:
            if excused(history, exchange, math.inf):
                continue
            breaches.append(violation("acked, and never answered", exchange.asked, exchange.ack))
        elif not terminals:
            continue
        judged += 1
    return Finding(judged, breaches, missing=None if judged else "no client saw an ack or a terminal answer")


@rule("INV-03", "per request: ack, heartbeats, terminal, in that order")
def order(history: History) -> Finding:
    """A call's frames come as ack, heartbeats, terminal; a refused call gets neither ack nor heartbeat.

    Evidence: the clients' frames. An attach gets heartbeats and a terminal without an ack of its own.
    """
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool", "attach"):
        answers = [frame for frame in exchange.answers if frame.op in CALL_ANSWERS]
        judged += 1 if answers else 0
        wrong = _first_out_of_order(answers, acked=exchange.asked.op == "attach")
        if wrong is not None:
            what, frame = wrong
            breaches.append(violation(what, exchange.asked, *_before(answers, frame), frame))
    return Finding(judged, breaches, missing=None if judged else "no client saw an answer to a call")


def _first_out_of_order(answers: list[Frame], *, acked: bool) -> tuple[str, Frame] | None:
    """Return what is wrong with the first frame that is out of order; None if all are right."""
    ended = False
    for frame in answers:
        if ended and frame.op != "call_tool_res":  # a second terminal is for INV-01
            return f"{frame.op} after the terminal answer", frame
        if frame.op == "progress" and not acked:
            return "a heartbeat before the ack, or for a refused call", frame
        if frame.op == "call_tool_ack" and acked:
            return "a second ack", frame
        acked = acked or frame.op == "call_tool_ack"
        ended = ended or frame.op == "call_tool_res"
    return None


def _before(answers: list[Frame], frame: Frame) -> list[Frame]:
    """Return the few frames just before one."""
    position = next(number for number, each in enumerate(answers) if each is frame)
    return answers[max(0, position - 3) : position]


@rule("INV-04", "every answer names its op, request and trace; no session gets another's frames")
def named(history: History) -> Finding:
    """Every answer to a call names op, request_id and trace_id, and answers a request of that very client.

    Evidence: the clients' frames. An `error` answers what may not have been readable, so it need name neither request
    nor trace; a 409 may name another's request, in a field of its own.
    """
    judged, breaches = 0, list[Violation]()
    asked: defaultdict[str, set[str]] = defaultdict(set)
    for frame in history.frames:
        if frame.direction == "sent":
            asked[frame.client].update({frame.request_id or "", frame.to_request_id or ""} - {""})
            continue
        judged += 1
        what = _unnamed(frame)
        if what is None and frame.request_id is not None and frame.request_id not in asked[frame.client]:
            what = f"{frame.op} for a request that this client never sent"
        if what is not None:
            breaches.append(violation(what, frame))
    return Finding(judged, breaches, missing=None if judged else "no client saw an answer")


def _unnamed(frame: Frame) -> str | None:
    """Return what a frame fails to name; None if it names all it must."""
    if frame.op in {"", "?"}:
        return "an answer without a readable op"
    if frame.op not in CALL_ANSWERS:
        return None
    lacks = [name for name in ("request_id", "trace_id") if getattr(frame, name) is None]
    return f"{frame.op} without {' and '.join(lacks)}" if lacks else None


@rule("INV-05", "no mixing: a result holds the nonce that was sent for it")
def no_mixing(history: History) -> Finding:
    """The nonce in a result is the one that was sent with its request, or with the key that was attached to.

    Evidence: the clients' frames. Results without a nonce are not judged: not every tool echoes its arguments.
    """
    judged, breaches = 0, list[Violation]()
    by_key: defaultdict[str, set[str]] = defaultdict(set)
    for frame in history.frames:
        if frame.direction == "sent" and frame.op == "call_tool" and frame.call_key_hash and frame.nonce:
            by_key[frame.call_key_hash].add(frame.nonce)
    for exchange in exchanges(history, "call_tool", "attach"):
        asked = exchange.asked
        right = by_key.get(asked.call_key_hash or "", set()) if asked.op == "attach" else {asked.nonce or ""} - {""}
        for terminal in exchange.terminals:
            if terminal.nonce is None or not right:
                continue
            judged += 1
            if terminal.nonce not in right:
                what = f"a result with nonce {terminal.nonce} for a request with {', '.join(sorted(right))}"
                breaches.append(violation(what, asked, terminal))
    return Finding(judged, breaches, missing=None if judged else "no client saw a result with a nonce")


@rule("INV-21", "nothing of a call is sent after its TIMEOUT or CANCELLED")
def nothing_late(history: History) -> Finding:
    """After a terminal 504 or 499 no frame of that request comes any more.

    Evidence: the clients' frames.
    """
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool", "attach"):
        terminal = exchange.terminal
        if terminal is None or terminal.status not in {DEADLINE_STATUS, CANCELLED_STATUS}:
            continue
        judged += 1
        position = next(number for number, frame in enumerate(exchange.answers) if frame is terminal)
        late = [frame for frame in exchange.answers[position + 1 :] if frame.op in CALL_ANSWERS]
        if late:
            what = f"{len(late)} frames after {terminal.code or terminal.status}, the first a {late[0].op}"
            breaches.append(violation(what, exchange.asked, terminal, *late))
    return Finding(judged, breaches, missing=None if judged else "no call timed out or was cancelled")


@rule("INV-44", "the trace_id is the same at client, daemon and provider")
def one_trace(history: History) -> Finding:
    """A well-formed trace_id comes back in every answer, in the daemon's log and at the provider; another is replaced.

    Evidence: the clients' frames, the daemon's and the provider's logs, as far as the run has them.
    """
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool"):
        named_answers = [frame for frame in exchange.answers if frame.trace_id is not None]
        judged += 1 if named_answers else 0
        wrong = next((frame for frame in named_answers if not _same_trace(exchange, frame.trace_id)), None)
        if wrong is not None:
            what = f"sent with trace_id {exchange.asked.trace_id}, answered with {wrong.trace_id}"
            breaches.append(violation(what, exchange.asked, wrong))
    steps, wrong_steps = _traces_in_daemon(history)
    runs, wrong_runs = _traces_at_provider(history)
    missing = None if judged + steps + runs else "no story has a trace_id"
    return Finding(judged + steps + runs, [*breaches, *wrong_steps, *wrong_runs], missing=missing)


def _same_trace(exchange: Exchange, seen: str | None) -> bool:
    """Return whether `seen` is the trace that was sent, or a well-formed one in place of a malformed one."""
    sent = exchange.asked.trace_id
    if sent is not None and WELL_FORMED.fullmatch(sent):
        return seen == sent
    return seen is not None and WELL_FORMED.fullmatch(seen) is not None


def _traces_in_daemon(history: History) -> tuple[int, list[Violation]]:
    """Compare the traces in the daemon's log with those that the session's client sent."""
    clients = {seen.session: seen.client for seen in history.connections if seen.session is not None}
    sent = {(each.asked.client, each.asked.request_id): each for each in exchanges(history, "call_tool")}
    uses = Counter((each.client, each.request_id) for each in history.frames if each.op == "call_tool")
    sent = {request: each for request, each in sent.items() if uses[request] == 1}  # else it names no one request
    judged, breaches = 0, list[Violation]()
    for step in history.daemon_calls:
        exchange = sent.get((clients.get(step.session, ""), step.request_id))
        if exchange is None or step.trace_id is None or step.what not in {"admitted", "refused"}:
            continue
        judged += 1
        if not _same_trace(exchange, step.trace_id):
            what = f"sent with trace_id {exchange.asked.trace_id}, logged by the daemon with {step.trace_id}"
            breaches.append(violation(what, exchange.asked, step))
    return judged, breaches


def _traces_at_provider(history: History) -> tuple[int, list[Violation]]:
    """Look for executions that name no trace, or one that no call has."""
    known = {call.trace_id for call in history.calls}
    known |= {frame.trace_id for frame in history.frames if frame.trace_id is not None}
    known |= {step.trace_id for step in history.daemon_calls if step.trace_id is not None}
    starts = [event for event in history.executions if event.what == "start"]
    if not known:
        return 0, []
    return len(starts), [_strange(event) for event in starts if event.trace_id not in known]


def _strange(event: Execution) -> Violation:
    seen = "without a trace_id" if event.trace_id is None else f"with trace_id {event.trace_id}, which no call has"
    return violation(f"the provider ran an execution {seen}", event)
