"""Admitted calls from admission to the end of their work, and the executions that each of them had at a provider.

Three bodies stamp their own events, and each may note a moment a little late. So an execution that its daemon has
stopped waiting for counts as ended when the call's work stopped, if the provider noticed soon, or could not notice
because a fault was on its link.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from scenarios.checks.context import History
from scenarios.events import DaemonCall, Execution

SKEW_WALL_S: Final = 0.05
"""Wall seconds by which stamps of different processes may differ: about 20 ms were seen, doubled and rounded up."""

LATE_WALL_S: Final = 0.25
"""Wall seconds that a provider may take to notice that its client went away."""

OWN_WALL_S: Final = 0.005
"""Wall seconds between a daemon's decision and the stamp that its log has: one turn of its loop."""


@dataclass(slots=True, eq=False)
class Live:
    """One admitted call.

    Attributes:
        admitted: Its admission.
        answered: Its terminal answer, if it was logged.
        stopped: The end of its work, if it was logged.
        ended_at: Moment from which it holds nothing: its stop, or its daemon's end; infinite if neither was seen.
        ran: Its executions.
    """

    admitted: DaemonCall
    answered: DaemonCall | None = None
    stopped: DaemonCall | None = None
    ended_at: float = math.inf
    ran: list["Ran"] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, str] | None:
        """The daemon's start and the key; None without a key."""
        hashed = self.admitted.call_key_hash
        return None if hashed is None else (self.admitted.boot, hashed)

    @property
    def session(self) -> tuple[int, str]:
        """The daemon's start and the session."""
        return self.admitted.boot, self.admitted.session

    @property
    def cut(self) -> bool:
        """Whether it was answered before its work had stopped, so that the work may go on for a while."""
        return self.answered is not None and self.answered.outcome in CUT

    def open_at(self, at: float) -> bool:
        """Return whether it held its slots and its key at `at`, both ends included."""
        return self.admitted.at <= at <= self.ended_at

    def open_within(self, start: float, end: float) -> bool:
        """Return whether it held them at some moment from `start` to `end`."""
        return self.admitted.at <= end and start <= self.ended_at


CUT: Final = frozenset({"timeout", "cancelled", "superseded", "interrupted"})
"""Outcomes with which a daemon answers a call whose work may still run."""


@dataclass(slots=True, eq=False)
class Ran:
    """One execution.

    Attributes:
        start: Its start.
        end: Its end or cancellation; None if none was logged.
        live: The admitted call that it belongs to; None if nobody can tell.
        boot: Number of the daemon's start that was up.
        until: Moment at which it counts as ended; infinite if it never was.
    """

    start: Execution
    end: Execution | None
    live: Live | None
    boot: int
    until: float

    @property
    def link(self) -> str:
        """The link between the daemon and its provider."""
        return f"daemon-provider:{self.start.provider}"


@dataclass(frozen=True, slots=True)
class Lives:
    """All admitted calls and executions of a run.

    Attributes:
        calls: Admitted calls, in the order of their admission.
        executions: Executions, in the order of their start.
        unmatched: Stops of calls that were not admitted, or had stopped already.
        boot_ends: When each start of the daemon ended.
    """

    calls: list[Live]
    executions: list[Ran]
    unmatched: list[DaemonCall]
    boot_ends: dict[int, float]

    def by_key(self) -> Iterator[list[Live]]:
        """Return the calls of each key of each start of the daemon, in order; those without a key are left out."""
        keys: dict[tuple[int, str], list[Live]] = defaultdict(list)
        for live in self.calls:
            if live.key is not None:
                keys[live.key].append(live)
        yield from keys.values()


def slack(history: History, wall_s: float) -> float:
    """Return a tolerance in unscaled seconds: none in virtual time, where nothing is late."""
    return 0.0 if history.simulated else history.unscaled_s(wall_s)


def lives_of(history: History) -> Lives:
    """Pair admissions with answers and stops, and executions with calls."""
    boot_ends = _boot_ends(history)
    calls, unmatched = _paired(history.daemon_calls)
    for live in calls:
        live.ended_at = _ended_at(live, boot_ends)
    executions = _executions(history, calls, boot_ends)
    return Lives(calls, executions, unmatched, boot_ends)


def _boot_ends(history: History) -> dict[int, float]:
    """Return when each start of the daemon ended: its end, or the next start where nobody noted the end."""
    ends: dict[int, float] = {}
    for move in history.processes:
        if move.what == "ended":
            ends.setdefault(move.boot, move.at)
        elif move.what == "started" and move.boot > 1:
            ends.setdefault(move.boot - 1, move.at)
    return ends


def _paired(steps: Iterable[DaemonCall]) -> tuple[list[Live], list[DaemonCall]]:
    """Pair steps per request; a request_id that is used again pairs in order."""
    calls: list[Live] = []
    unanswered: dict[tuple[int, str, str], list[Live]] = defaultdict(list)
    running: dict[tuple[int, str, str], list[Live]] = defaultdict(list)
    unmatched: list[DaemonCall] = []
    for step in steps:
        request = (step.boot, step.session, step.request_id)
        if step.what == "admitted":
            live = Live(step)
            calls.append(live)
            unanswered[request].append(live)
            running[request].append(live)
        elif step.what == "answered" and unanswered[request]:
            unanswered[request].pop(0).answered = step
        elif step.what == "stopped":
            if running[request]:
                running[request].pop(0).stopped = step
            else:
                unmatched.append(step)
    return calls, unmatched


def _ended_at(live: Live, boot_ends: dict[int, float]) -> float:
    if live.stopped is not None:
        return live.stopped.at
    if live.admitted.waits and live.answered is not None and live.cut:
        return live.answered.at  # it waited for its owner, and went without work of its own
    return boot_ends.get(live.admitted.boot, math.inf)


def _executions(history: History, calls: Iterable[Live], boot_ends: dict[int, float]) -> list[Ran]:
    traces: dict[str, list[Live]] = defaultdict(list)
    for call in calls:
        if call.admitted.trace_id is not None:
            traces[call.admitted.trace_id].append(call)
    ends = {(seen.provider, seen.execution): seen for seen in history.executions if seen.what in {"end", "cancelled"}}
    executions: list[Ran] = []
    for start in history.executions:
        if start.what == "start":
            live = _live_of(history, start, traces)
            boot = live.admitted.boot if live is not None else boot_at(history, start.at)
            ran = Ran(start, ends.get((start.provider, start.execution)), live, boot, math.inf)
            ran.until = _until(history, ran, boot_ends)
            executions.append(ran)
            if live is not None:
                live.ran.append(ran)
    return executions


def _live_of(history: History, start: Execution, traces: dict[str, list[Live]]) -> Live | None:
    """Return the call that an execution belongs to: of those with its trace the last one that was open then."""
    skew = slack(history, SKEW_WALL_S)
    before = [live for live in traces.get(start.trace_id or "", ()) if live.admitted.at <= start.at + skew]
    still_open = [live for live in before if start.at <= live.ended_at + skew]
    candidates = still_open or before
    return candidates[-1] if candidates else None


def boot_at(history: History, at: float) -> int:
    """Return the number of the daemon's start that was up at `at`, or the last one before it."""
    return max((move.boot for move in history.processes if move.what == "started" and move.at <= at), default=1)


def _until(history: History, ran: Ran, boot_ends: dict[int, float]) -> float:
    """Return when an execution counts as ended."""
    logged = math.inf if ran.end is None else ran.end.at
    late = slack(history, LATE_WALL_S)
    if ran.live is None:
        if ran.end is not None and ran.end.what == "cancelled":
            logged -= late  # nobody noted when its daemon went away
        return max(ran.start.at, min(logged, boot_ends.get(ran.boot, math.inf)))
    gone = ran.live.ended_at
    if logged < gone or math.isinf(gone):
        return logged
    noticed = logged <= gone + late
    if noticed or history.active(gone, logged, ran.link) or history.stalled_between(gone, gone + late):
        return max(ran.start.at, min(logged, gone - slack(history, SKEW_WALL_S)))
    return logged
