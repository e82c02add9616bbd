"""How many calls were in flight at once, in each scope that has a cap.

By the daemon's own story if there is one: from admission, when a call holds its slots, until its work has stopped.
Else as the clients saw it, from the ack to the answer; work that goes on behind an answer is then not counted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from reports.table import CallTable, Floats, Labels, labels_of
from scenarios.events import AnyEvent, DaemonCall, ProcessMove
from scenarios.record import Record

ALL: Final = "global"
"""Scope of all calls together."""

SESSION: Final = "session"
"""Scope of the fullest session; its cap holds for each session by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Calls in flight in one scope.

    Attributes:
        scope: Name of the scope, as refusals name it.
        cap: Its cap; None if nobody said.
        peak: The most at once.
        at: Moments at which the number changed.
        in_flight: The number from then on. Both are empty for `SESSION`, of which only the peak is known.
    """

    scope: str
    cap: int | None
    peak: int
    at: Floats
    in_flight: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """All scopes in which a call was in flight, or that have a cap.

    Attributes:
        levels: The scopes, `ALL` first.
        seen_by: "daemon" or "clients".
    """

    levels: tuple[Level, ...]
    seen_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stays:
    """Calls that were in flight, as columns: whose they were, and when they came and went."""

    session: Labels
    tool: Labels
    provider: Labels
    start: Floats
    end: Floats


def occupancy_of(record: Record, table: CallTable) -> Occupancy:
    """Compute the occupancy of a run."""
    stays, seen_by = _stays_of(record.events), "daemon"
    if not len(stays.start):
        stays, seen_by = _seen_stays(table), "clients"
    if not len(stays.start):
        return Occupancy(levels=(), seen_by=seen_by)
    caps = record.run.caps
    levels = [_level(ALL, caps, stays.start, stays.end)]
    for kind, labels in (("provider", stays.provider), ("tool", stays.tool)):
        for name in sorted(labels.names):
            chosen = labels.mask(name)
            levels.append(_level(f"{kind}:{name}", caps, stays.start[chosen], stays.end[chosen]))
    levels.append(_fullest_session(stays, caps))
    return Occupancy(levels=tuple(levels), seen_by=seen_by)


def _fullest_session(stays: _Stays, caps: Mapping[str, int]) -> Level:
    order = np.argsort(stays.session.codes, kind="stable")
    borders = np.flatnonzero(np.diff(stays.session.codes[order])) + 1
    starts, ends = np.split(stays.start[order], borders), np.split(stays.end[order], borders)
    peak = max(_level(SESSION, caps, start, end).peak for start, end in zip(starts, ends, strict=True))
    empty = np.empty(0)
    return Level(scope=SESSION, cap=caps.get(SESSION), peak=peak, at=empty, in_flight=empty)


def _level(scope: str, caps: Mapping[str, int], start: Floats, end: Floats) -> Level:
    """Add up who came and who went; at one moment those who go make room before others come."""
    at = np.concatenate((end, start))
    change = np.repeat((-1.0, 1.0), len(start))
    order = np.argsort(at, kind="stable")
    in_flight = np.cumsum(change[order])
    peak = int(in_flight.max(initial=0.0))
    return Level(scope=scope, cap=caps.get(scope), peak=peak, at=at[order], in_flight=in_flight)


def _stays_of(events: Iterable[AnyEvent]) -> _Stays:
    """Collect what the daemon admitted."""
    pairs = list(_admissions(events))
    return _Stays(
        session=labels_of(f"{event.boot} {event.session}" for event, _ in pairs),
        tool=labels_of(event.tool or "not said" for event, _ in pairs),
        provider=labels_of(event.provider for event, _ in pairs),
        start=np.array([event.at for event, _ in pairs], dtype=np.float64),
        end=np.array([until for _, until in pairs], dtype=np.float64),
    )


def _admissions(events: Iterable[AnyEvent]) -> Iterator[tuple[DaemonCall, float]]:
    """Give each admission with the moment at which the call was out; when a process ends, all its calls are."""
    inside: dict[tuple[int, str, str], DaemonCall] = {}
    last = 0.0
    for event in events:
        last = max(last, event.at)
        if isinstance(event, DaemonCall):
            key = (event.boot, event.session, event.request_id)
            if event.what == "admitted":
                inside[key] = event
            elif event.what == "stopped" and key in inside:
                yield inside.pop(key), event.at
        elif isinstance(event, ProcessMove) and event.what == "ended":
            for key in [key for key in inside if key[0] == event.boot]:
                yield inside.pop(key), event.at
    for event in inside.values():
        yield event, last


def _seen_stays(table: CallTable) -> _Stays:
    """Collect what a client saw admitted and answered."""
    chosen = ~np.isnan(table.acked_at) & ~np.isnan(table.finished_at)
    return _Stays(
        session=table.session.of(chosen),
        tool=table.tool.of(chosen),
        provider=table.provider.of(chosen),
        start=table.acked_at[chosen],
        end=table.finished_at[chosen],
    )
