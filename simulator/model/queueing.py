"""What queueing theory says exactly, to hold the model against it.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges", 1917; J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from reference_daemon.policy.errors import HarnessError
from simulator.model.census import Census

ROUNDING: Final = 1e-9
"""Relative difference of two sums over the same moments that rounding alone makes, over millions of floats."""


class Little(NamedTuple):
    """Both sides of Little's law for one system.

    Attributes:
        inside: L, the mean number inside, from a count that was kept over time.
        through: λW, arrivals per second times the mean stay, from the two moments of each.
    """

    inside: float
    through: float

    @property
    def holds(self) -> bool:
        """Whether the two agree, but for rounding."""
        return math.isclose(self.inside, self.through, rel_tol=ROUNDING, abs_tol=ROUNDING)


class LittlesLawError(HarnessError):
    """A model run counted wrong: what is inside on average is not what arrived times how long it stayed.

    Attributes:
        system: Which system of the run.
        little: Both sides.
    """

    exit_code = 70

    def __init__(self, system: str, little: Little) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(system, little)
        self.system, self.little = system, little

    def __str__(self) -> str:
        """Name the system and both sides."""
        return f"{self.system}: L = {self.little.inside!r}, but λW = {self.little.through!r}"


def littles_law(census: Census, until: float) -> Little:
    """Return both sides of Little's law over [0, until], at whose end nothing is inside any more."""
    if until <= 0.0 or not census.left:
        return Little(census.area_s, census.stays_s)
    arrivals_per_s, mean_stay_s = census.left / until, census.stays_s / census.left
    return Little(census.area_s / until, arrivals_per_s * mean_stay_s)


def hold_littles_law(censuses: Mapping[str, Census], until: float) -> None:
    """Hold Little's law against every system of a run that has ended.

    Raises:
        LittlesLawError: It does not hold: an end was missed, or came twice, or at the wrong moment.
    """
    for system, census in censuses.items():
        little = littles_law(census, until)
        if census.inside or not little.holds:
            raise LittlesLawError(system, little)


def erlang_b(servers: int, offered: float) -> float:
    """Return the share of arrivals that a loss system refuses.

    Args:
        servers: Calls that it takes at once; at least 1.
        offered: Arrivals per second times mean duration in seconds: erlangs; above 0.

    Raises:
        ValueError: An argument is out of range.
    """
    _check(servers, offered)
    blocking = 1.0
    for busy in range(1, servers + 1):  # the stable recursion; the sum of powers overflows
        blocking = offered * blocking / (busy + offered * blocking)
    return blocking


def erlang_c(servers: int, offered: float) -> float:
    """Return the share of arrivals that must wait where they queue without end.

    Raises:
        ValueError: An argument is out of range, or the queue would grow for ever.
    """
    if offered >= servers:
        raise ValueError(f"offered = {offered!r}: must be below servers, {servers}")
    blocking = erlang_b(servers, offered)
    return servers * blocking / (servers - offered * (1.0 - blocking))


def erlang_c_wait_s(servers: int, offered: float, mean_s: float) -> float:
    """Return the mean wait of all arrivals, in the unit of `mean_s`, the mean duration."""
    return erlang_c(servers, offered) * mean_s / (servers - offered)


def _check(servers: int, offered: float) -> None:
    if servers < 1:
        raise ValueError(f"servers = {servers!r}: must be at least 1")
    if not 0.0 < offered < float("inf"):
        raise ValueError(f"offered = {offered!r}: must be finite and above 0")
