"""What page and plots are made of: a run's record and summary, and what is computed from them once."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reports.occupancy import Occupancy, occupancy_of
from reports.stats import Quantiles, by_tool_and_provider
from reports.summary import Summary
from reports.table import CallTable
from scenarios.record import Record
from scenarios.run import Run

MOST_LISTED: Final = 25
"""Calls that each list of the page names."""

_LIMITS: Final = ("timeout", "budget")
"""Words in the names of those settings that limit a call; the others (intervals, lifetimes) do not."""

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A run, ready to be told.

    Attributes:
        run: Its conditions.
        summary: Its summary.
        table: Its calls as columns.
        groups: Latencies by tool, then by provider.
        occupancy: How many calls were in flight, against the caps.
        slowest: Places of the slowest calls, slowest first.
        failed: Places of the first calls that did not get their answer.
        baseline: The calls of the run that it is compared with; None if there is none.
    """

    run: Run
    summary: Summary
    table: CallTable
    groups: tuple[Quantiles, ...]
    occupancy: Occupancy
    slowest: Places
    failed: Places
    baseline: CallTable | None = None

    @property
    def listed(self) -> Places:
        """Places of all calls that the page names."""
        return np.union1d(self.slowest, self.failed)

    def limits_up_to(self, top_s: float) -> list[tuple[float, str]]:
        """Return the timeouts of at most that length, shortest first; equal ones have one name together."""
        names: dict[float, list[str]] = {}
        for name, limit_s in self.run.timeouts_s.items():
            if limit_s <= top_s and any(word in name for word in _LIMITS):
                names.setdefault(limit_s, []).append(name)
        return [(limit_s, ", ".join(names[limit_s])) for limit_s in sorted(names)]


def story_of(record: Record, summary: Summary, table: CallTable, baseline: CallTable | None = None) -> Story:
    """Compute what page and plots share."""
    ended = np.flatnonzero(table.ended)
    slowest = ended[np.argsort(-table.latency_s[ended], kind="stable")[:MOST_LISTED]]
    return Story(
        run=record.run,
        summary=summary,
        table=table,
        groups=by_tool_and_provider(table),
        occupancy=occupancy_of(record, table),
        slowest=slowest,
        failed=np.flatnonzero(~table.succeeded)[:MOST_LISTED],
        baseline=baseline,
    )
