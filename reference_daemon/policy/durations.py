"""How long calls take: a sliding window per tool and kind of call, and what follows from it.

A window holds the last `SIZE` calls that succeeded or were cut (late or fenced). A cut call counts with the time it
had: it would have taken at least as long, and without it fencing would shorten the very TTL that causes it. Calls that
failed or were cancelled say nothing about how long the work takes.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import Final

from reference_daemon.policy.events import CallKind

SIZE: Final = 256
"""Durations remembered per window; at one call a minute, four hours."""

ENOUGH: Final = 20
"""Durations before a quantile counts: below, the P95 is the longest of a handful."""


class DurationWindow:
    """The last durations of one tool and kind, in order of arrival and in order of size."""

    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        """Start empty."""
        self._arrived: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        """Return the number of durations held."""
        return len(self._sorted)

    def add(self, duration_s: float) -> None:
        """Remember a duration, in seconds, and forget the oldest beyond `SIZE`."""
        arrived, ordered = self._arrived, self._sorted
        if len(arrived) == SIZE:
            del ordered[bisect_left(ordered, arrived.popleft())]
        arrived.append(duration_s)
        insort(ordered, duration_s)

    def quantile_s(self, quantile: float, *, beyond_s: float = -1.0) -> float | None:
        """Return the smallest duration that `quantile` of those longer than `beyond_s` do not exceed.

        Args:
            quantile: Between 0 and 1.
            beyond_s: Only durations above this count: the age that a running call has reached.

        Returns:
            The duration in seconds; None if none is that long.
        """
        ordered = self._sorted
        longer = len(ordered)
        if beyond_s < 0.0:
            return ordered[ceil(quantile * longer) - 1] if longer else None
        first = bisect_right(ordered, beyond_s)
        longer -= first
        return ordered[first + ceil(quantile * longer) - 1] if longer else None


@dataclass(frozen=True, slots=True)
class Guess:
    """What stands in for a window before enough durations were seen: any between two bounds is as likely.

    Attributes:
        shortest_s: The shortest that is expected, in seconds.
        longest_s: The longest.
    """

    shortest_s: float
    longest_s: float

    def quantile_s(self, quantile: float, *, beyond_s: float = -1.0) -> float | None:
        """Return the duration that `quantile` of those longer than `beyond_s` do not exceed; see `DurationWindow`."""
        shortest_s = max(self.shortest_s, beyond_s)
        return shortest_s + quantile * (self.longest_s - shortest_s) if shortest_s < self.longest_s else None


class Durations:
    """The windows of all tools and kinds. Tools come from the server's registry, so their number is bounded."""

    def __init__(self) -> None:
        """Start with no durations."""
        self._short: dict[tuple[str, CallKind], DurationWindow] = {}  # those that hold fewer than `ENOUGH`
        self._counting: dict[tuple[str, CallKind], DurationWindow] = {}

    def add(self, tool: str, kind: CallKind, duration_s: float) -> None:
        """Remember that a call of `tool` and `kind` took `duration_s` seconds."""
        counting = self._counting.get((tool, kind))
        if counting is not None:
            counting.add(duration_s)
            return
        window = self._short.setdefault((tool, kind), DurationWindow())
        window.add(duration_s)
        if len(window) == ENOUGH:
            self._counting[tool, kind] = self._short.pop((tool, kind))

    def window(self, tool: str, kind: CallKind) -> DurationWindow | None:
        """Return the window of `tool` and `kind`; None while it holds fewer than `ENOUGH`."""
        return self._counting.get((tool, kind))
