"""A record made ready for the rules: its events by kind, by request and by connection, and its faults as windows.

Built once per judgement; nothing in it changes. Moments and durations are unscaled seconds, as in the events; bounds in
milliseconds are on the wall, so rules turn differences of moments into wall seconds with `History.wall_s`.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from scenarios.events import (
    AnyEvent,
    Connection,
    DaemonCall,
    Execution,
    FaultMove,
    Frame,
    HealthSeen,
    Lag,
    LogFinding,
    LogRead,
    Probe,
    ProcessMove,
)
from scenarios.history import Body, Call
from scenarios.model import Retry, Scenario
from scenarios.record import Record
from scenarios.run import Run

HEARTBEAT_INTERVAL_S: Final = 5.0
"""Seconds between two heartbeats where the run does not name its own interval; the daemon's shipped setting."""

STALL_MARGIN_WALL_S: Final = 0.25
"""Wall seconds around a stall within which it explains a breach: the longest of the bounds in milliseconds."""

_Kind = TypeVar("_Kind", bound=AnyEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time in which a fault was active, or the daemon was away.

    Attributes:
        name: Name of the fault.
        link: `client-daemon`, `daemon-provider:NAME`, `daemon` for the daemon's process, `provider:NAME` for a mode.
        start: First moment.
        end: Last moment; infinite if it was never removed.
        blinds: Providers whose executions nobody can count meanwhile.
    """

    name: str
    link: str
    start: float
    end: float = math.inf
    blinds: tuple[str, ...] = ()

    def overlaps(self, start: float, end: float) -> bool:
        """Return whether it was active at some moment from `start` to `end`, both included."""
        return self.start <= end and start <= self.end


class History:
    """A run's calls and events, indexed.

    Attributes:
        run: The run's conditions.
        retry: The load clients' rules for trying again.
        slow_readers: Clients that stop reading on purpose: what they see comes late.
        repeaters: Clients that send copies of their calls on purpose.
        calls: Its logical calls.
        events: All events in the order of their moments; equal moments in the order of the record.
        frames: Frames, as clients saw them.
        frames_by_request: Frames of each (client, request_id), in order; those without a request_id are left out.
        frames_by_connection: Frames of each connection, in order.
        connections: Connections opened and ended.
        daemon_calls: Steps of calls, from the daemon's own log.
        executions: What ran at the providers, from their logs.
        processes: What happened to the daemon's process.
        health: Answers to `health`.
        probes: Questions of raw clients.
        lags: Stalls of the machine.
        faults: Faults put on and taken off.
        fault_windows: The same as times from on to off.
        windows: These, and the daemon's absences between an end and the next start.
        log_findings: What was found in logs.
        log_reads: The logs that were read to their end.
        witness_connections: Numbers of the connections without proxy or toxic.
    """

    def __init__(self, record: Record, scenario: Scenario | None = None) -> None:
        """Index the record; the scenario says how the clients behave, where that differs from the shipped ones."""
        self.retry = scenario.retry if scenario is not None else Retry()
        self.slow_readers = _clients(record.calls, scenario, "stop_reading")
        self.repeaters = _clients(record.calls, scenario, "duplicates")
        self.run: Run = record.run
        self.calls: Sequence[Call] = record.calls
        self.events: list[AnyEvent] = sorted(record.events, key=lambda event: event.at)
        self.frames = self._of(Frame)
        self.connections = self._of(Connection)
        self.daemon_calls = self._of(DaemonCall)
        self.executions = self._of(Execution)
        self.processes = self._of(ProcessMove)
        self.health = self._of(HealthSeen)
        self.probes = self._of(Probe)
        self.lags = self._of(Lag)
        self.faults = self._of(FaultMove)
        self.log_findings = self._of(LogFinding)
        self.log_reads = self._of(LogRead)
        self.frames_by_request: Mapping[tuple[str, str], list[Frame]] = _by_request(self.frames)
        self.frames_by_connection: Mapping[int, list[Frame]] = _by_connection(self.frames)
        self.witness_connections = frozenset(seen.connection for seen in self.connections if seen.witness)
        self.fault_windows: tuple[Window, ...] = tuple(_fault_windows(self.run, self.faults))
        self.windows: tuple[Window, ...] = (*self.fault_windows, *_absences(self.processes))
        self._clients = {frame.connection: frame.client for frame in self.frames}
        self._ends = {seen.connection: seen for seen in self.connections if seen.what != "opened"}

    def _of(self, kind: type[_Kind]) -> list[_Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def simulated(self) -> bool:
        """Whether the run was in virtual time, where nothing is late and tolerances are zero."""
        return self.run.body is Body.SIMULATED

    @property
    def heartbeat_interval_s(self) -> float:
        """Seconds between two heartbeats, as set."""
        return self.run.timeouts_s.get("heartbeat interval", HEARTBEAT_INTERVAL_S)

    @property
    def end_at(self) -> float:
        """Moment of the last event, or the last call's end; 0 without any."""
        moments = [call.finished_at for call in self.calls if call.finished_at is not None]
        return max([*moments, *(event.at for event in self.events[-1:])], default=0.0)

    def wall_s(self, seconds: float) -> float:
        """Return how long so many unscaled seconds are on the wall."""
        return seconds * self.run.time_scale

    def unscaled_s(self, wall_s: float) -> float:
        """Return how many unscaled seconds so many wall seconds are."""
        return wall_s / self.run.time_scale

    def stalled(self, at: float, *, margin_wall_s: float = STALL_MARGIN_WALL_S) -> bool:
        """Return whether the machine stood still at `at`, or within so many wall seconds of it."""
        return self.stalled_between(at, at, margin_wall_s=margin_wall_s)

    def stalled_between(self, start: float, end: float, *, margin_wall_s: float = STALL_MARGIN_WALL_S) -> bool:
        """Return whether the machine stood still between two moments, or close to them.

        A lag is noticed when it is over: it stood still for its `wall_s` before its `at`.
        """
        margin = self.unscaled_s(margin_wall_s)
        return any(
            lag.at - self.unscaled_s(lag.wall_s) - margin <= end and start <= lag.at + margin for lag in self.lags
        )

    def connection_end(self, connection: int) -> Connection | None:
        """Return how and when a connection ended; None if it did not."""
        return self._ends.get(connection)

    def active(self, start: float, end: float, *links: str) -> list[Window]:
        """Return the windows on these links that overlap the time from `start` to `end`."""
        return [window for window in self.windows if window.link in links and window.overlaps(start, end)]

    def daemon_away(self, start: float, end: float) -> bool:
        """Return whether the daemon was stopped, killed or ending at some moment of that time."""
        return bool(self.active(start, end, "daemon"))

    def timing_blind(self, connection: int, start: float, end: float) -> bool:
        """Return whether a fault makes times on this connection say nothing about the daemon.

        A witness is spared the faults of `client-daemon`, since its link has no proxy.
        """
        if self._clients.get(connection) in self.slow_readers:
            return True
        if connection in self.witness_connections:
            return self.daemon_away(start, end)
        return bool(self.active(start, end, "client-daemon", "daemon"))

    def cut_off(self, call: Call) -> bool:
        """Return whether a call has no end only because the run was stopped."""
        return self.run.stopped_by is not None and call.finished_at is None


def _clients(calls: Iterable[Call], scenario: Scenario | None, behaviour: str) -> frozenset[str]:
    """Return the clients of the phases whose calls behave in this way."""
    phases = {
        phase.phase
        for phase in (scenario.load if scenario is not None else ())
        if phase.behaviour is not None and getattr(phase.behaviour, behaviour) is not None
    }
    return frozenset(call.session for call in calls if call.phase in phases)


def _by_request(frames: Iterable[Frame]) -> dict[tuple[str, str], list[Frame]]:
    requests: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    for frame in frames:
        if frame.request_id is not None:
            requests[frame.client, frame.request_id].append(frame)
    return dict(requests)


def _by_connection(frames: Iterable[Frame]) -> dict[int, list[Frame]]:
    connections: dict[int, list[Frame]] = defaultdict(list)
    for frame in frames:
        connections[frame.connection].append(frame)
    return dict(connections)


def _fault_windows(run: Run, moves: Iterable[FaultMove]) -> list[Window]:
    """Pair the moves; a fault that nobody logged counts with the window that the run names."""
    links = {fault.name: fault.link for fault in run.faults}
    open_moves: dict[str, FaultMove] = {}
    windows: list[Window] = []
    named: set[str] = set()
    for move in moves:
        named.add(move.name)
        if move.on:
            open_moves.setdefault(move.name, move)
        elif move.name in open_moves:
            windows.append(_window(open_moves.pop(move.name), move.at, links))
    ends = {fault.name: fault.ended_at for fault in run.faults if fault.ended_at is not None}
    windows += [_window(move, ends.get(move.name, math.inf), links) for move in open_moves.values()]
    for fault in run.faults:
        if fault.name not in named:
            end = math.inf if fault.ended_at is None else fault.ended_at
            windows.append(Window(name=fault.name, link=fault.link, start=fault.started_at, end=end))
    return sorted(windows, key=lambda window: window.start)


def _window(move: FaultMove, end: float, links: Mapping[str, str]) -> Window:
    # A move without a link is on the daemon or on a provider; the run knows which. Unknown ones count as the daemon's:
    # better to judge too little than to blame the daemon for a fault.
    link = move.link or links.get(move.name, "daemon")
    return Window(name=move.name, link=link, start=move.at, end=end, blinds=move.blinds)


def _absences(processes: Iterable[ProcessMove]) -> list[Window]:
    """Return the times from a daemon's end to the next one's start; one that is killed ends with the signal."""
    windows: list[Window] = []
    ended: float | None = None
    for move in processes:
        if move.what == "ended" or (move.what == "signalled" and move.signal == "SIGKILL"):
            ended = move.at if ended is None else ended
        elif move.what == "started" and ended is not None:
            windows.append(Window(name="daemon-away", link="daemon", start=ended, end=move.at))
            ended = None
    if ended is not None:
        windows.append(Window(name="daemon-away", link="daemon", start=ended))
    return windows
