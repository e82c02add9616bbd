"""When will the slots of a pool become free? Moments that are still to be promised, earliest first.

An entry `(at, seq, holder)` counts while `holder.seqs` holds its `seq` for this schedule. Entries that no longer count
stay until they come up or outnumber the others, and new ones are put in order only when somebody asks for the earliest:
most calls come and go unasked. So every operation is O(log n), amortized.
"""

from heapq import heappop, heappush
from typing import Final

from reference_daemon.policy.events import CallKind

_GIVEN: Final = -1
"""In `Holder.seqs`: the holder's moment in this schedule was promised to somebody."""

_SLACK: Final = 64
"""Entries that no longer count which even a small heap may hold."""


class Holder:
    """Who will free a slot: a call, or an appointment that may become one.

    Attributes:
        tool: Name of its tool.
        kind: Kind of the call.
        started_at: When its work began; for an appointment, when it is due.
        seqs: Its entry in each schedule.
    """

    __slots__ = ("kind", "seqs", "started_at", "tool")

    def __init__(self, tool: str, kind: CallKind, started_at: float) -> None:
        """Make a holder that stands in no schedule yet."""
        self.tool, self.kind, self.started_at = tool, kind, started_at
        self.seqs: dict[Schedule, int] = {}

    def gave(self, schedule: "Schedule") -> bool:
        """Return whether its moment in `schedule` was promised to somebody."""
        return self.seqs.get(schedule) == _GIVEN


class Schedule:
    """The moments of one pool."""

    __slots__ = ("_entries", "_in_order", "_most", "_seq")

    def __init__(self) -> None:
        """Start empty."""
        self._entries: list[tuple[float, int, Holder]] = []
        self._in_order = 0  # so many of them are a heap; those behind it are still to be put in order
        self._most = _SLACK
        self._seq = 0

    def __len__(self) -> int:
        """Return the number of entries held, those that no longer count included."""
        return len(self._entries)

    def enter(self, at: float, holder: Holder) -> None:
        """Enter `holder`'s moment, in place of the one it may have had."""
        self._seq = seq = self._seq + 1
        holder.seqs[self] = seq
        entries = self._entries
        entries.append((at, seq, holder))
        if len(entries) > self._most:
            self._forget_the_void()

    def _forget_the_void(self) -> None:
        """Drop the entries that no longer count; there may be twice what is left before it is done again."""
        self._entries = [entry for entry in self._entries if entry[2].seqs.get(self) == entry[1]]
        self._in_order = 0
        self._most = _SLACK + 2 * len(self._entries)

    def earliest(self) -> tuple[float, Holder] | None:
        """Return the earliest moment that can be promised, and who frees the slot; None if there is none."""
        entries = self._entries
        if len(entries) > self._in_order:
            self._put_in_order()
        while entries:
            at, seq, holder = entries[0]
            if holder.seqs.get(self) == seq:
                return at, holder
            heappop(entries)
            self._in_order -= 1
        return None

    def _put_in_order(self) -> None:
        """Push what was entered since the last time onto the heap."""
        entries, heaped = self._entries, self._in_order
        entered = entries[heaped:]
        del entries[heaped:]
        for entry in entered:
            heappush(entries, entry)
        self._in_order = len(entries)

    def promise(self, holder: Holder) -> None:
        """Note that `holder`'s moment was promised to somebody."""
        holder.seqs[self] = _GIVEN
