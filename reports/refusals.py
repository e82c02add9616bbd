"""Refusals with 429: how many, by which cap, and who says so."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from scenarios.events import AnyEvent, DaemonCall, Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The attempts that were refused because a cap was reached.

    Attributes:
        by_scope: How many, by the scope of the cap.
        seen_by: "daemon" by its own log, "clients" by the errors that they got; None if there is neither story.
    """

    by_scope: dict[str, int]
    seen_by: str | None


def refusals_of(events: Iterable[AnyEvent]) -> Refusals:
    """Count the refusals, by the daemon's story if there is one."""
    daemon: Counter[str] = Counter()
    clients: Counter[str] = Counter()
    told: set[type] = set()
    for event in events:
        if isinstance(event, DaemonCall):
            told.add(DaemonCall)
            if event.what == "refused" and event.status == HTTPStatus.TOO_MANY_REQUESTS:
                daemon[event.scope or "not said"] += 1
        elif isinstance(event, Frame):
            told.add(Frame)
            if event.direction == "received" and event.status == HTTPStatus.TOO_MANY_REQUESTS:
                clients[event.scope or "not said"] += 1
    if DaemonCall in told:
        return Refusals(by_scope=dict(sorted(daemon.items())), seen_by="daemon")
    return Refusals(by_scope=dict(sorted(clients.items())), seen_by="clients" if Frame in told else None)
