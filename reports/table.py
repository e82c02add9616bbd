"""A history as columns: what a million calls need to be summed up and drawn in seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from scenarios.history import Call, Outcome

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

NOBODY: Final = -1
"""Code of a value that nobody saw."""


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of names, of which few are different.

    Attributes:
        codes: For each call the place of its name in `names`; `NOBODY` where it has none.
        names: The different names, in the order in which they first occur.
    """

    codes: Codes
    names: tuple[str, ...]

    def mask(self, name: str) -> Mask:
        """Return which calls have that name."""
        code = self.names.index(name) if name in self.names else len(self.names)
        chosen: Mask = self.codes == code
        return chosen

    def of(self, chosen: Mask) -> Self:
        """Return the column of the chosen calls; a name that none of them has stays."""
        return type(self)(self.codes[chosen], self.names)

    def counts(self) -> dict[str, int]:
        """Return how many calls have each name, by name."""
        numbers = np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))
        return {name: int(number) for name, number in sorted(zip(self.names, numbers, strict=True)) if number}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTable:
    """The columns that reports read, in the order of the calls; NaN where nothing was seen.

    Attributes:
        calls: The calls themselves, for the few that are named one by one.
        phase: Name of the phase.
        session: The client's label of its session.
        tool: Name of the tool.
        provider: Name of the provider.
        outcome: How the call ended.
        layer: Who gave up first.
        attempts: How often it was sent.
        intended_at: When it should have started.
        acked_at: When it was admitted.
        finished_at: When it ended.
        latency_s: From the intended start to the end.
        retry_wait_s: Time between its attempts.
        gap_s: Longest silence while it ran.
    """

    calls: Sequence[Call]
    phase: Labels
    session: Labels
    tool: Labels
    provider: Labels
    outcome: Labels
    layer: Labels
    attempts: npt.NDArray[np.int64]
    intended_at: Floats
    acked_at: Floats
    finished_at: Floats
    latency_s: Floats
    retry_wait_s: Floats
    gap_s: Floats

    def __len__(self) -> int:
        return len(self.calls)

    @property
    def ended(self) -> Mask:
        """Which calls have an end, and with it a latency."""
        return ~np.isnan(self.latency_s)

    @property
    def succeeded(self) -> Mask:
        """Which calls got their answer."""
        return self.outcome.mask(Outcome.OK) | self.outcome.mask(Outcome.REPLAYED)


def table_of(calls: Sequence[Call]) -> CallTable:
    """Turn calls into columns."""
    return CallTable(
        calls=calls,
        phase=_labels(calls, "phase"),
        session=_labels(calls, "session"),
        tool=_labels(calls, "tool"),
        provider=_labels(calls, "provider"),
        outcome=_labels(calls, "outcome"),
        layer=_labels(calls, "timeout_layer"),
        attempts=np.fromiter(map(attrgetter("attempts"), calls), dtype=np.int64, count=len(calls)),
        intended_at=_floats(calls, "intended_at"),
        acked_at=_floats(calls, "acked_at"),
        finished_at=_floats(calls, "finished_at"),
        latency_s=_floats(calls, "latency_s"),
        retry_wait_s=_floats(calls, "retry_wait_s"),
        gap_s=_floats(calls, "max_heartbeat_gap_s"),
    )


def _floats(calls: Sequence[Call], column: str) -> Floats:
    values = map(attrgetter(column), calls)
    return np.fromiter((np.nan if value is None else value for value in values), dtype=np.float64, count=len(calls))


def _labels(calls: Iterable[Call], column: str) -> Labels:
    return labels_of(map(attrgetter(column), calls))


def labels_of(names: Iterable[str | None]) -> Labels:
    """Turn names into a column."""
    known: dict[str | None, int] = {None: NOBODY}
    # One pass without a copy of the names: of a million there are few different ones.
    codes = np.fromiter((known.setdefault(name, len(known) - 1) for name in names), dtype=np.int32)
    return Labels(codes, tuple(str(name) for name in known if name is not None))
