"""From a scenario's toxics to Toxiproxy's: milliseconds and KB/s exist in this module only.

Toxiproxy takes whole numbers; they are rounded so that no toxic is weaker than the scenario says.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reference_daemon.clock import Clock
from scenarios.model_faults import (
    BandwidthToxic,
    Fault,
    LatencyToxic,
    LimitDataToxic,
    ResetPeerToxic,
    SlicerToxic,
    SlowCloseToxic,
    TimeoutToxic,
    Toxic,
)

Stream = Literal["upstream", "downstream"]
"""`upstream`: from the side that connects to the one that listens; `downstream`: back."""

STREAMS: Final[tuple[Stream, Stream]] = ("upstream", "downstream")
_MS_PER_S: Final = 1000.0
_US_PER_S: Final = 1_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireToxic:
    """A toxic as Toxiproxy takes it.

    Attributes:
        kind: Its type.
        stream: Its direction.
        toxicity: Share of the connections that it hits.
        attributes: Its numbers, in Toxiproxy's units.
    """

    kind: str
    stream: Stream
    toxicity: float
    attributes: Mapping[str, int]


def wire_toxics(fault: Fault, clock: Clock) -> list[WireToxic]:
    """Return the toxics of a fault: one for each direction."""
    if not isinstance(fault.toxic, Toxic):
        return []
    attributes = _attributes(fault.toxic, clock)
    streams = STREAMS if fault.stream == "both" else (fault.stream,)
    return [
        WireToxic(kind=fault.toxic.kind, stream=stream, toxicity=fault.toxicity, attributes=attributes)
        for stream in streams
    ]


def _attributes(toxic: Toxic, clock: Clock) -> dict[str, int]:
    """Return a toxic's numbers in Toxiproxy's units."""
    match getattr(toxic, toxic.kind):
        case LatencyToxic(latency=latency, jitter=jitter):
            return {"latency": math.ceil(_ms(clock, latency)), "jitter": math.floor(_ms(clock, jitter))}
        case BandwidthToxic(rate=rate):
            return {"rate": max(1, math.floor(rate / clock.scale))}
        case SlowCloseToxic(delay=delay):
            return {"delay": math.ceil(_ms(clock, delay))}
        case TimeoutToxic(timeout=timeout) | ResetPeerToxic(timeout=timeout):
            return {"timeout": math.ceil(_ms(clock, timeout))}
        case SlicerToxic(average_size=size, size_variation=variation, delay=delay):
            delay_us = math.ceil(round(clock.wall_s(delay) * _US_PER_S, 3))
            return {"average_size": size, "size_variation": variation, "delay": delay_us}
        case LimitDataToxic(bytes=number):
            return {"bytes": number}
    raise TypeError(f"{toxic.kind} is no toxic of this module")


def _ms(clock: Clock, duration_s: float) -> float:
    """Return wall milliseconds, without the last digits, in which floats differ from what was meant."""
    return round(clock.wall_s(duration_s) * _MS_PER_S, 6)
