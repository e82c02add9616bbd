"""Breaches with what shows them: the calls, the requests, and the events as short lines."""

from collections.abc import Iterable
from typing import Final

import msgspec

from scenarios.events import AnyEvent
from scenarios.verdict import Violation

MOST_EVENTS: Final = 6
"""Events that a violation shows; the rest is in `events.jsonl`."""

LONGEST_LINE: Final = 400
"""Characters of an event that a violation shows."""


def violation(what: str, *events: AnyEvent, at: float | None = None) -> Violation:
    """Return a breach that these events show; it happened at the last one's moment unless `at` says otherwise."""
    return Violation(
        what=what,
        at=at if at is not None else max((event.at for event in events), default=None),
        trace_ids=_distinct(getattr(event, "trace_id", None) for event in events),
        request_ids=_distinct(getattr(event, "request_id", None) for event in events),
        events=tuple(_line(event) for event in events[:MOST_EVENTS]),
    )


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value is not None))


def _line(event: AnyEvent) -> str:
    line = msgspec.json.encode(event).decode()
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
