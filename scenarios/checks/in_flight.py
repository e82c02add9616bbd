"""How many calls held slots at each moment, from the daemon's log."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from scenarios.events import DaemonCall, ProcessMove

Life = tuple[int, str, str]
"""Start of the daemon, session and request: what a call is known by in the daemon's log."""


def life(step: DaemonCall) -> Life:
    """Return which call a step belongs to."""
    return step.boot, step.session, step.request_id


class InFlight:
    """Calls that held slots, in all and by tool and provider; built in one pass.

    A call that waits for its key's owner holds nothing of its own: it gets the owner's slots when the owner's work has
    stopped.
    """

    def __init__(self, steps: Iterable[DaemonCall], processes: Iterable[ProcessMove] = ()) -> None:
        """Take the steps in the order of their moments; a daemon that has ended holds nothing."""
        self._held: dict[Life, DaemonCall] = {}
        self._waiting: dict[Life, DaemonCall] = {}
        self._now: defaultdict[str, int] = defaultdict(int)
        self._moments: defaultdict[str, list[float]] = defaultdict(list)
        self._counts: defaultdict[str, list[int]] = defaultdict(list)
        ends = [move for move in processes if move.what == "ended"]
        for step in steps:
            while ends and ends[0].at < step.at:
                self._all_gone(ends.pop(0))
            self._take(step)
        for move in ends:
            self._all_gone(move)

    def between(self, start: float, end: float, pool: str = "") -> tuple[int, int]:
        """Return the fewest and the most at some moment of that time.

        Args:
            start: First moment.
            end: Last moment.
            pool: `tool:NAME`, `provider:NAME`, or nothing for all calls.
        """
        moments, counts = self._moments.get(pool, []), self._counts.get(pool, [])
        first = bisect_right(moments, start)
        seen = [counts[first - 1] if first else 0, *counts[first : bisect_right(moments, end)]]
        return min(seen), max(seen)

    def _take(self, step: DaemonCall) -> None:
        if any(known[0] < step.boot for known in self._held):  # a new start of the daemon finds no slot taken
            self._all_gone(ProcessMove(at=step.at, what="ended", boot=step.boot - 1))
        if step.what == "admitted" and step.waits:
            self._waiting[life(step)] = step
        elif step.what == "admitted":
            self._hold(step, step.at)
        elif step.what == "stopped":
            self._waiting.pop(life(step), None)
            stopped = self._held.pop(life(step), None)
            if stopped is not None:
                self._count(stopped, -1, step.at)
                self._pass_on(step)

    def _all_gone(self, ended: ProcessMove) -> None:
        """Let go of what a start of the daemon held, and the ones before it."""
        for call in self._held.values():
            if call.boot <= ended.boot:
                self._count(call, -1, ended.at)
        self._held = {known: call for known, call in self._held.items() if call.boot > ended.boot}
        self._waiting = {known: call for known, call in self._waiting.items() if call.boot > ended.boot}

    def _hold(self, call: DaemonCall, at: float) -> None:
        self._held[life(call)] = call
        self._count(call, 1, at)

    def _pass_on(self, stopped: DaemonCall) -> None:
        key = stopped.call_key_hash
        heirs = [each for each, call in self._waiting.items() if key is not None and call.call_key_hash == key]
        for heir in heirs[-1:]:  # the newest has superseded the others
            self._hold(self._waiting.pop(heir), stopped.at)

    def _count(self, call: DaemonCall, change: int, at: float) -> None:
        for pool in ("", f"tool:{call.tool}", f"provider:{call.provider}"):
            self._now[pool] += change
            self._moments[pool].append(at)
            self._counts[pool].append(self._now[pool])
