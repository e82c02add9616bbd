"""Numbers for Prometheus and events for `exai calibrate`: what happened, never what to decide.

`ws_daemon.metrics.jsonl` has one event a line: session_opened, session_closed, accepted, rejected, finished, stopped,
replayed. `at` is Unix time; `clock_at` is the daemon's monotonic clock in unscaled seconds, which other processes of
the same machine read, too, so that a drill can merge their stories. Durations are unscaled seconds.
"""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from reference_daemon.observability.lines import LineSink
from reference_daemon.policy.snapshot import Snapshot

_encode = msgspec.json.Encoder().encode

BUCKETS_S: Final = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 75, 90, 120, 150, 180, 240)
"""Bounds of the duration histogram: fine where calls of 35 to 60 s and the timeouts lie."""


class Event(msgspec.Struct, omit_defaults=True):
    """One line of the metrics file. Which fields are set depends on the event."""

    event: str
    at: float
    session: str | None = None
    tool: str | None = None
    provider: str | None = None
    kind: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    call_key: str | None = None
    timeout_s: float | None = None
    outcome: str | None = None
    status: int | None = None
    duration_s: float | None = None
    heartbeats: int | None = None
    scope: str | None = None
    retry_after_s: float | None = None
    limit: float | None = None
    in_use: int | None = None
    original_request_id: str | None = None
    client: str | None = None
    clock_at: float | None = None
    code: str | None = None
    explicit: bool | None = None
    waits: bool | None = None
    working: bool | None = None
    client_there: bool | None = None


class _Durations:
    """A histogram of one tool's durations: how many fell under each bound, and their sum."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, duration_s: float) -> None:
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts, as Prometheus wants them."""
        bounds = [*map(floatToGoString, BUCKETS_S), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class Metrics:
    """Counts of one daemon, and the file of events. Plain numbers: one thread writes, and reads when it is asked."""

    def __init__(self, events: LineSink | None = None) -> None:
        """Start at zero; write events to `events` if it is given."""
        self._events = events
        self._finished: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._heartbeats = 0

    def emit(self, event: str, **fields: str | float | None) -> None:
        """Write an event."""
        if self._events is not None:
            self._events.write(_encode(Event(event, time.time(), **fields)))  # type: ignore[arg-type]

    def write(self, event: Event) -> None:
        """Write an event that was made already, as those of every call are: that takes half the time."""
        if self._events is not None:
            self._events.write(_encode(event))

    def finished(self, tool: str, outcome: str, duration_s: float) -> None:
        """Count a call that has ended. Tools and outcomes are few, so the labels are bounded."""
        self._finished[tool, outcome] += 1
        self._durations[tool].add(duration_s)

    def rejected(self, code: str, scope: str | None) -> None:
        """Count a call that was refused."""
        self._rejected[code, scope or ""] += 1

    def heartbeat(self) -> None:
        """Count a heartbeat."""
        self._heartbeats += 1

    def exposition(self, snapshot: Snapshot, sessions: int) -> bytes:
        """Return everything in Prometheus' text format, with what is in use at this moment."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*self._counts(), *_gauges(snapshot, sessions)]))
        return generate_latest(registry)

    def _counts(self) -> Iterator[Metric]:
        """Return what was counted."""
        calls = CounterMetricFamily("exai_calls", "Calls by how they ended", labels=["tool", "outcome"])
        for labels, number in self._finished.items():
            calls.add_metric(labels, number)
        yield calls
        rejections = CounterMetricFamily("exai_rejections", "Refusals by code and scope", labels=["code", "scope"])
        for labels, number in self._rejected.items():
            rejections.add_metric(labels, number)
        yield rejections
        durations = HistogramMetricFamily(
            "exai_call_duration_seconds", "Time from admission to the answer, unscaled", labels=["tool"]
        )
        for tool, histogram in self._durations.items():
            durations.add_metric([tool], histogram.buckets(), histogram.sum_s)
        yield durations
        yield CounterMetricFamily("exai_heartbeats", "Heartbeats sent", value=self._heartbeats)


class _Families(Collector):
    """Hands over what was read off a moment ago."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauges(snapshot: Snapshot, sessions: int) -> Iterator[Metric]:
    """Return what is in use, read off the policy: there is no second count."""
    scopes = {"global": (snapshot.total, snapshot.total_cap)}
    scopes |= {f"tool:{tool}": pool for tool, pool in snapshot.tools.items()}
    scopes |= {f"provider:{name}": pool for name, pool in snapshot.providers.items()}
    in_flight = GaugeMetricFamily("exai_in_flight", "Calls in flight by scope", labels=["scope"])
    caps = GaugeMetricFamily("exai_cap", "Most calls in flight by scope", labels=["scope"])
    for scope, (in_use, cap) in scopes.items():
        in_flight.add_metric([scope], in_use)
        caps.add_metric([scope], cap)
    yield in_flight
    yield caps
    yield GaugeMetricFamily("exai_sessions", "Sessions open", value=sessions)
    yield GaugeMetricFamily("exai_results", "Results kept for replays", value=snapshot.results)
    yield GaugeMetricFamily("exai_draining", "1 while the daemon is about to end", value=snapshot.draining)
