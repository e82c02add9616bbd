"""What shows that a toxic bit: trips before, while and after it, and what they must look like.

Each kind of fault has one rule. A rule answers None where it cannot see the fault at all, for example a limit on data
that the answer of a trip never reaches.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chaos.canary import Trip
from reference_daemon.clock import Clock
from scenarios.model_faults import Fault, Toxic

MOST_PADDING: Final = 60_000
"""Bytes by which a request may be made longer: what servers take in headers."""

_ENOUGH_S: Final = 0.1
"""Wall seconds that a slow transfer should take, so that it stands out from the machine's own noise."""

_SEEN_S: Final = 0.005
"""Wall seconds that a fault must add to a trip to be told from the machine's own noise."""

_SURE: Final = 0.6
"""Part of the computed time of a transfer that it takes at least: the proxy's first chunk passes at once."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How a fault is looked at.

    Attributes:
        patience_s: Wall seconds after which a trip is given up.
        padding: Bytes that the requests are made longer by.
    """

    patience_s: float
    padding: int = 0


def probe_of(fault: Fault, clock: Clock) -> Probe:  # noqa: PLR0911 - one for each kind
    """Return how to look at a fault on a link."""
    toxic = fault.toxic
    if not isinstance(toxic, Toxic):
        return Probe(patience_s=0.5)
    if toxic.latency is not None:
        most_s = 2 * clock.wall_s(toxic.latency.latency + toxic.latency.jitter)
        return Probe(patience_s=most_s + 1.0)
    if toxic.bandwidth is not None:
        padding = min(MOST_PADDING, max(2_000, int(_ENOUGH_S * _bytes_per_s(fault, clock))))
        return Probe(patience_s=2.0 + 3 * padding / _bytes_per_s(fault, clock), padding=padding)
    if toxic.slicer is not None and fault.stream != "downstream":
        delay_s = clock.wall_s(toxic.slicer.delay)
        slices = math.ceil(_ENOUGH_S / delay_s) if delay_s > 0.0 else 1
        padding = min(MOST_PADDING, max(2_000, slices * toxic.slicer.average_size))
        return Probe(patience_s=2.0 + 3 * delay_s * padding / toxic.slicer.average_size, padding=padding)
    if toxic.limit_data is not None:
        return Probe(patience_s=1.0, padding=min(MOST_PADDING, toxic.limit_data.bytes + 500))
    if toxic.slow_close is not None:
        return Probe(patience_s=clock.wall_s(toxic.slow_close.delay) * 2 + 1.0)
    if toxic.reset_peer is not None:
        return Probe(patience_s=clock.wall_s(toxic.reset_peer.timeout) + 0.5)
    if toxic.timeout is not None:
        return Probe(patience_s=min(0.5, max(0.1, clock.wall_s(fault.duration or 0.0) / 4)))
    return Probe(patience_s=2.0)


def has_bitten(  # noqa: PLR0911 - one rule for each kind
    fault: Fault, before: Sequence[Trip], during: Sequence[Trip], clock: Clock
) -> bool | None:
    """Return whether the trips show the fault; None if they could not."""
    if not before or not during or not all(trip.answered for trip in before):
        return None
    toxic = fault.toxic
    if toxic == "down":
        return all(not trip.answered for trip in during)
    if not isinstance(toxic, Toxic):
        return None
    if toxic.timeout is not None or toxic.reset_peer is not None:
        return any(not trip.answered for trip in during)
    if toxic.limit_data is not None:
        return _limited(fault, toxic.limit_data.bytes, before, during)
    if toxic.slicer is not None:
        return _sliced(fault, toxic.slicer.delay, before, during, clock)
    if toxic.slow_close is not None:
        if fault.stream == "upstream":
            return None  # it keeps the server waiting, not the one who makes the trip
        bound_s = clock.wall_s(toxic.slow_close.delay) * 0.9
        return min(map(_closing_s, before)) < bound_s <= min(map(_closing_s, during))
    return _slower(before, during, least_s(fault, before, clock))


def least_s(fault: Fault, before: Sequence[Trip], clock: Clock) -> float:
    """Return the wall seconds that a trip takes at least while latency, bandwidth or an upstream slicer is on."""
    assert isinstance(fault.toxic, Toxic)  # noqa: S101 - the callers looked
    ways = 2 if fault.stream == "both" else 1
    if fault.toxic.latency is not None:
        return ways * clock.wall_s(fault.toxic.latency.latency - fault.toxic.latency.jitter)
    sent = 0 if fault.stream == "downstream" else probe_of(fault, clock).padding
    if fault.toxic.slicer is not None:
        return _SURE * clock.wall_s(fault.toxic.slicer.delay) * sent / fault.toxic.slicer.average_size
    received = 0 if fault.stream == "upstream" else min((trip.received for trip in before), default=0)
    return _SURE * (sent + received) / _bytes_per_s(fault, clock)


def _sliced(fault: Fault, delay_s: float, before: Sequence[Trip], during: Sequence[Trip], clock: Clock) -> bool | None:
    """Return whether the pieces of the answer, or the time that those of the request take, show a slicer."""
    if fault.stream != "upstream" and max(trip.pieces for trip in during) > max(trip.pieces for trip in before):
        return True
    if delay_s == 0.0:
        return None  # without a delay the kernel joins pieces
    return fault.stream != "downstream" and _slower(before, during, least_s(fault, before, clock))


def _bytes_per_s(fault: Fault, clock: Clock) -> float:
    """Return what a narrow link lets through, in bytes per wall second."""
    assert isinstance(fault.toxic, Toxic)  # noqa: S101 - the callers looked
    assert fault.toxic.bandwidth is not None  # noqa: S101 - the same
    return max(1.0, fault.toxic.bandwidth.rate / clock.scale) * 1000


def _slower(before: Sequence[Trip], during: Sequence[Trip], bound_s: float) -> bool | None:
    """Return whether every trip took what the fault takes; None if the link was as slow before."""
    if bound_s == 0.0:
        return False  # it adds nothing
    if bound_s < _SEEN_S or min(_time_s(trip) for trip in before) >= bound_s:
        return None
    return min(_time_s(trip) for trip in during) >= bound_s


def _limited(fault: Fault, limit: int, before: Sequence[Trip], during: Sequence[Trip]) -> bool | None:
    whole = min(trip.received for trip in before)
    if fault.stream == "downstream" and whole <= limit:
        return None  # the answer of a trip never reaches the limit
    return all(trip.received < whole for trip in during)


def _time_s(trip: Trip) -> float:
    return trip.last_s if trip.last_s is not None else trip.end_s


def _closing_s(trip: Trip) -> float:
    return trip.end_s - (trip.last_s or 0.0)


def describe(trips: Sequence[Trip]) -> str:
    """Return the trips in a few words, for a person."""
    if not trips:
        return "not measured"
    answered = [trip.first_s for trip in trips if trip.first_s is not None]
    if not answered:
        return f"no answer ({', '.join(sorted({trip.end for trip in trips}))})"
    times = f"{min(answered) * 1000:.0f}-{max(answered) * 1000:.0f} ms"
    lost = len(trips) - len(answered)
    return f"answered in {times}, {trips[-1].pieces} pieces" + (f", {lost} of {len(trips)} unanswered" if lost else "")
