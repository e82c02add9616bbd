"""What shows that a toxic bit: each rule with trips that show it, and trips that do not."""

from typing import Any

import pytest

from chaos.canary import Trip
from chaos.fault_proofs import describe, has_bitten, probe_of
from reference_daemon.clock import Clock
from scenarios.model_faults import Fault

CLOCK = Clock(0.1)


def a_fault(toxic: Any, **fields: Any) -> Fault:
    """Return a fault on the clients' link."""
    return Fault.model_validate({"at": 0, "for": 10, "link": "client-daemon", "toxic": toxic} | fields)


def a_trip(first_s: float | None = 0.001, **changes: Any) -> Trip:
    """Return a trip that was answered after `first_s` wall seconds, or not at all."""
    values: dict[str, Any] = {
        "end": "eof" if first_s is not None else "silent",
        "first_s": first_s,
        "last_s": first_s,
        "end_s": first_s if first_s is not None else 0.5,
        "received": 200 if first_s is not None else 0,
        "pieces": 1 if first_s is not None else 0,
    }
    return Trip(**(values | changes))


LATENCY = {"latency": {"latency": 1.0, "jitter": 0.2}}  # 80 to 120 ms on the wall, each way

SEEN: dict[str, tuple[Fault, Trip, Trip]] = {
    "latency": (a_fault(LATENCY), a_trip(0.170), a_trip(0.150)),
    "latency one way": (a_fault(LATENCY, stream="upstream"), a_trip(0.081), a_trip(0.079)),
    "down": (a_fault("down"), a_trip(None, end="refused"), a_trip()),
    "black hole": (a_fault({"timeout": {"timeout": 0}}), a_trip(None), a_trip()),
    "reset": (a_fault({"reset_peer": {"timeout": 0}}), a_trip(None, end="reset"), a_trip()),
    "limit": (a_fault({"limit_data": {"bytes": 100}}), a_trip(received=100), a_trip(received=200)),
    "slices": (a_fault({"slicer": {"average_size": 50, "delay": 0.1}}), a_trip(pieces=4), a_trip(pieces=1)),
    "slow close": (a_fault({"slow_close": {"delay": 1}}), a_trip(end_s=0.101), a_trip(end_s=0.05)),
}


@pytest.mark.parametrize(("fault", "bitten", "missed"), SEEN.values(), ids=SEEN.keys())
class TestRules:
    def test_what_it_does_is_seen(self, fault: Fault, bitten: Trip, missed: Trip) -> None:
        """Trips that show the fault prove it."""
        assert has_bitten(fault, [a_trip()], [bitten], CLOCK) is True

    def test_a_near_miss_is_none(self, fault: Fault, bitten: Trip, missed: Trip) -> None:
        """Trips that nearly show it do not."""
        assert has_bitten(fault, [a_trip()], [missed], CLOCK) is False

    def test_without_an_answer_before_nothing_is_known(self, fault: Fault, bitten: Trip, missed: Trip) -> None:
        """A link that did not work before the fault proves nothing."""
        assert has_bitten(fault, [a_trip(None)], [bitten], CLOCK) is None
        assert has_bitten(fault, [], [bitten], CLOCK) is None


def test_a_link_that_was_slow_before_proves_no_latency() -> None:
    """Where the link took as long without the fault, nobody can tell."""
    assert has_bitten(a_fault(LATENCY), [a_trip(0.3)], [a_trip(0.3)], CLOCK) is None


def test_slices_without_a_delay_may_be_joined_again() -> None:
    """The kernel may join the pieces: that they are not seen says nothing."""
    fault = a_fault({"slicer": {"average_size": 50}})
    assert has_bitten(fault, [a_trip()], [a_trip()], CLOCK) is None


def test_a_limit_that_no_answer_reaches_is_not_seen() -> None:
    """Downstream, an answer shorter than the limit passes whole."""
    fault = a_fault({"limit_data": {"bytes": 1000}}, stream="downstream")
    assert has_bitten(fault, [a_trip()], [a_trip()], CLOCK) is None


def test_a_narrow_link_is_asked_with_a_longer_request() -> None:
    """At 2 KB per second, 20 per wall second, 2,000 bytes take at least 0.06 s."""
    fault = a_fault({"bandwidth": {"rate": 2}})
    assert probe_of(fault, CLOCK).padding == 2_000
    assert has_bitten(fault, [a_trip()], [a_trip(0.1)], CLOCK) is True
    assert has_bitten(fault, [a_trip()], [a_trip(0.05)], CLOCK) is False


def test_patience_outlasts_the_fault_only_where_it_must() -> None:
    """A black hole of 2 s is looked at with a quarter of that, so that three looks fit into it."""
    fault = a_fault({"timeout": {"timeout": 0}}, **{"for": 20})
    assert probe_of(fault, CLOCK).patience_s == 0.5
    assert probe_of(a_fault({"timeout": {"timeout": 0}}, **{"for": 8}), CLOCK).patience_s == pytest.approx(0.2)


def test_trips_are_described_for_a_person() -> None:
    """Times where answers came, the end where none did."""
    assert describe([a_trip(0.001), a_trip(0.003)]) == "answered in 1-3 ms, 1 pieces"
    assert describe([a_trip(None, end="refused")]) == "no answer (refused)"
    assert describe([]) == "not measured"


def test_a_narrow_answer_is_measured_by_its_own_length() -> None:
    """A bandwidth that only the answer passes is seen by the answer's bytes; one too short for it shows nothing."""
    fault = a_fault({"bandwidth": {"rate": 1}}, stream="downstream")
    long, short = a_trip(0.001, received=3000), a_trip(0.001, received=10)
    slow = a_trip(0.3, received=3000)
    assert has_bitten(fault, [long], [slow], CLOCK) is True
    assert has_bitten(fault, [long], [long], CLOCK) is False
    assert has_bitten(fault, [short], [short], CLOCK) is None


def test_a_sliced_request_takes_its_time() -> None:
    """Pieces of a request are not seen at its sender; the delays between them are."""
    toxic = {"slicer": {"average_size": 50, "size_variation": 10, "delay": 0.01}}
    fault = a_fault(toxic, stream="upstream")
    assert probe_of(fault, CLOCK).padding >= 2_000
    assert has_bitten(fault, [a_trip()], [a_trip(0.3)], CLOCK) is True
    assert has_bitten(fault, [a_trip()], [a_trip()], CLOCK) is False


def test_a_server_kept_waiting_is_not_seen_by_its_client() -> None:
    """A slow close towards the server changes nothing for who makes the trip."""
    fault = a_fault({"slow_close": {"delay": 2}}, stream="upstream")
    assert has_bitten(fault, [a_trip()], [a_trip()], CLOCK) is None
