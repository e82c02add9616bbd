"""Seconds and KB/s of a scenario become Toxiproxy's whole numbers, never weaker than what was said."""

from typing import Any

import pytest

from chaos.toxics import WireToxic, wire_toxics
from reference_daemon.clock import Clock
from scenarios.model_faults import Fault

CLOCK = Clock(0.05)


def a_fault(toxic: Any, **changes: Any) -> Fault:
    """Return a fault on the client link."""
    return Fault.model_validate({"at": 1, "for": 10, "link": "client-daemon", "toxic": toxic, **changes})


@pytest.mark.parametrize(
    ("toxic", "attributes"),
    [
        ({"latency": {"latency": 30, "jitter": 5}}, {"latency": 1500, "jitter": 250}),
        ({"latency": {"latency": 0.03, "jitter": 0.03}}, {"latency": 2, "jitter": 1}),
        ({"bandwidth": {"rate": 2.49}}, {"rate": 49}),
        ({"bandwidth": {"rate": 0.001}}, {"rate": 1}),
        ({"slow_close": {"delay": 2.01}}, {"delay": 101}),
        ({"timeout": {}}, {"timeout": 0}),
        ({"timeout": {"timeout": 10}}, {"timeout": 500}),
        ({"reset_peer": {"timeout": 0.001}}, {"timeout": 1}),
        ({"slicer": {"average_size": 3, "size_variation": 1, "delay": 0.1}}, None),
        ({"limit_data": {"bytes": 100}}, {"bytes": 100}),
    ],
)
def test_numbers_are_rounded_to_the_stronger_side(toxic: Any, attributes: dict[str, int] | None) -> None:
    """Delays are rounded up, rates and jitter down; sizes stay; a slicer's delay is in microseconds."""
    expected = attributes or {"average_size": 3, "size_variation": 1, "delay": 5000}
    (wired,) = wire_toxics(a_fault(toxic, stream="upstream"), CLOCK)
    assert wired == WireToxic(kind=next(iter(toxic)), stream="upstream", toxicity=1.0, attributes=expected)


def test_both_directions_are_two_toxics() -> None:
    """`both` is one toxic for each direction, each with the fault's toxicity."""
    wired = wire_toxics(a_fault({"timeout": {}}, toxicity=0.5), CLOCK)
    assert [(toxic.stream, toxic.toxicity) for toxic in wired] == [("upstream", 0.5), ("downstream", 0.5)]


def test_down_is_no_toxic() -> None:
    """A link that is down is its proxy switched off."""
    assert wire_toxics(a_fault("down"), CLOCK) == []
