"""What the naive model remembers: calls, results, and how long calls took."""

from dataclasses import dataclass, field
from math import ceil
from typing import Final

from reference_daemon.policy.config import Advice
from reference_daemon.policy.events import CallArrived, CallKind, Limit

WINDOW: Final = 256
ENOUGH: Final = 20


@dataclass(eq=False)
class ModelCall:
    """A call that was admitted, and all that became of it.

    Attributes:
        arrived: The event.
        admitted_at: When.
        timeout_s: Its budget.
        limit: Whose budget that is.
        fresh_s: How long its key is fresh.
        answer: How it was answered: "" while it is not.
        started_at: When its work began.
        ended: Whether its work has stopped, or never will start.
        waits_for: The call whose work must stop first.
        frees: Expected moment at which its slot of each scope becomes free.
    """

    arrived: CallArrived
    admitted_at: float
    timeout_s: float
    limit: Limit
    fresh_s: float
    answer: str = ""
    started_at: float | None = None
    ended: bool = False
    waits_for: "ModelCall | None" = None
    frees: dict[str, float] = field(default_factory=dict)

    @property
    def deadline_at(self) -> float:
        """When it is late."""
        return self.admitted_at + self.timeout_s

    @property
    def lapses_at(self) -> float:
        """When its key lapses."""
        return self.admitted_at + self.fresh_s


@dataclass
class Kept:
    """A result that may be replayed until a moment."""

    call: ModelCall
    size: int
    until: float


def window_of(durations: list[tuple[str, CallKind, float]], call: CallArrived) -> list[float]:
    """The last durations of the same tool and kind; none if too few were seen."""
    same = [took for tool, kind, took in durations if (tool, kind) == (call.tool, call.kind)]
    return same[-WINDOW:] if len(same) >= ENOUGH else []


def quantile(window: list[float], part: float) -> float:
    """The smallest of some durations that a part of them does not exceed."""
    return sorted(window)[ceil(part * len(window)) - 1]


def whole(
    durations: list[tuple[str, CallKind, float]], advice: Advice, call: CallArrived, age_s: float
) -> float | None:
    """How long a call is expected to take in all that has taken `age_s`: as those did that took longer."""
    window = window_of(durations, call)
    if window:
        longer = [took for took in window if took > age_s]
        return quantile(longer, advice.quantile) if longer else None
    slow = call.kind in (CallKind.EXPERT, CallKind.CHAT)
    typical_s = advice.expected_call_s if slow else advice.expected_short_s
    spread_s = typical_s * advice.expected_spread
    shortest_s, longest_s = max(typical_s - spread_s, age_s), typical_s + spread_s
    return shortest_s + advice.quantile * (longest_s - shortest_s) if shortest_s < longest_s else None
