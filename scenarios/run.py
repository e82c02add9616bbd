"""A run besides its calls: its conditions, which faults were active and bit, and what was judged.

Together with the history of calls this is all that a report needs, whichever body made the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scenarios.verdict import ExpectationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class BiteProof:
    """Round trips on the link that a fault names, before, during and after it, in unscaled seconds.

    Attributes:
        before_s: Round trips without the fault.
        during_s: Round trips while the fault was active.
        after_s: Round trips after its removal.
        least_s: The fastest round trip that the fault allows; only a missing fault lets a faster one through.
    """

    before_s: tuple[float, ...]
    during_s: tuple[float, ...]
    after_s: tuple[float, ...]
    least_s: float

    @property
    def bit(self) -> bool:
        """Whether the link was faster than the fault allows before it, and never while it was active."""
        return bool(self.before_s and self.during_s) and min(self.before_s) < self.least_s <= min(self.during_s)

    @property
    def healed(self) -> bool:
        """Whether the link was faster than the fault allows again, after it."""
        return bool(self.after_s) and min(self.after_s) < self.least_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultWindow:
    """One fault of a run.

    Attributes:
        name: What the `faults` column of the calls calls it.
        title: The same for people, with its numbers.
        link: The link that it was put on.
        started_at: Moment from which it was active, in unscaled seconds since the start of the load.
        ended_at: Moment of its removal; None if the run ended before.
        proof: That it bit and healed; None if nobody measured.
    """

    name: str
    title: str
    link: str
    started_at: float
    ended_at: float | None
    proof: BiteProof | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is known of a run besides its calls.

    Attributes:
        scenario: Name of the scenario.
        title: What it shows, in words.
        started_at: Start of the run by the wall clock, ISO 8601 in UTC.
        wall_s: How long it took on the wall, in seconds.
        time_scale: Wall seconds per second of the run.
        seed: Start of every source of chance.
        timeouts_s: The timeouts that were in force, in unscaled seconds, by what they limit.
        versions: Version of everything that took part, by name.
        faults: The faults, in the order of their start.
        expectations: What was expected and judged.
        stopped_by: Why the run ended before its end; None if it did not.
    """

    scenario: str
    title: str
    started_at: str
    wall_s: float
    time_scale: float
    seed: int
    timeouts_s: Mapping[str, float]
    versions: Mapping[str, str]
    faults: tuple[FaultWindow, ...]
    expectations: tuple[ExpectationResult, ...]
    stopped_by: str | None
