"""The rule about deadlines on their way: each hop gives less than it has, and keeps to what it said."""

from itertools import pairwise
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.exchanges import Exchange, exchanges
from scenarios.checks.registry import Finding, rule
from scenarios.events import DaemonCall, Frame
from scenarios.verdict import Violation

ROUNDING_S: Final = 0.01
"""Seconds that times in frames and logs may differ by, since each is rounded to milliseconds."""

SLACK_WALL_S: Final = 0.25
"""Wall seconds that a measured time may be off: the bound of a timeout's answer."""


@rule("INV-22", "the remaining budget shrinks at each hop; the timeout in the ack is the one enforced")
def budget_shrinks(history: History) -> Finding:
    """A client waits at least as long as the daemon gives the call, and no heartbeat promises more than is left.

    Evidence: the timeout that was sent, the one in the ack, the one in the daemon's log, and what heartbeats and a
    TIMEOUT say. What the daemon gives its provider nobody records.
    """
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool"):
        ack = exchange.ack
        if ack is None or ack.timeout_s is None:
            continue
        judged += 1
        breaches += _granted(exchange.asked, ack)
        breaches += _promised(history, exchange, ack.timeout_s)
    known, wrong = _logged(history)
    missing = None if judged + known else "no ack that names a timeout"
    return Finding(judged + known, [*breaches, *wrong], missing=missing)


def _granted(asked: Frame, ack: Frame) -> list[Violation]:
    if asked.timeout_s is None or ack.timeout_s is None or ack.timeout_s <= asked.timeout_s + ROUNDING_S:
        return []
    return [violation(f"the client waits {asked.timeout_s:g} s, the ack grants {ack.timeout_s:g} s", asked, ack)]


def _promised(history: History, exchange: Exchange, timeout_s: float) -> list[Violation]:
    """Compare heartbeats and a TIMEOUT with the timeout of the ack."""
    breaches = list[Violation]()
    beats = [beat for beat in exchange.heartbeats if beat.remaining_s is not None]
    for beat in beats:
        left_s = timeout_s - (beat.elapsed_s or 0.0)
        if (beat.remaining_s or 0.0) > max(left_s, 0.0) + ROUNDING_S:
            what = f"a heartbeat promises {beat.remaining_s:g} s more, of {timeout_s:g} s {left_s:.4g} s are left"
            breaches.append(violation(what, exchange.asked, beat))
    for before, after in pairwise(beats):
        if (after.remaining_s or 0.0) > (before.remaining_s or 0.0) + ROUNDING_S:
            breaches.append(violation("the remaining time grew", before, after))
    end = exchange.terminal
    # A TIMEOUT after its deadline is for another rule; this one is about the deadline that was enforced.
    least_s = timeout_s - ROUNDING_S - history.unscaled_s(SLACK_WALL_S)
    if end is not None and end.code == "TIMEOUT" and end.elapsed_s is not None and end.elapsed_s < least_s:
        what = f"TIMEOUT after {end.elapsed_s:g} s, the ack granted {timeout_s:g} s"
        breaches.append(violation(what, exchange.asked, end))
    return breaches


def _logged(history: History) -> tuple[int, list[Violation]]:
    """Compare the timeout in the ack with the one that the daemon logged for it."""
    clients = {seen.session: seen.client for seen in history.connections if seen.session is not None}
    admitted: dict[tuple[str, str], DaemonCall] = {
        (clients[step.session], step.request_id): step
        for step in history.daemon_calls
        if step.what == "admitted" and step.timeout_s is not None and step.session in clients
    }
    judged, breaches = 0, list[Violation]()
    for exchange in exchanges(history, "call_tool"):
        ack, step = exchange.ack, admitted.get((exchange.asked.client, exchange.asked.request_id or ""))
        if ack is None or step is None or ack.timeout_s is None or step.timeout_s is None:
            continue
        judged += 1
        if abs(ack.timeout_s - step.timeout_s) > ROUNDING_S:
            what = f"the ack names a timeout of {ack.timeout_s:g} s, the daemon set {step.timeout_s:g} s"
            breaches.append(violation(what, ack, step))
    return judged, breaches
