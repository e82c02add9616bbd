"""The proof that a fault bit: physics, not statistics."""

from scenarios.run import BiteProof

FAST, SLOW, LEAST = (0.02, 0.9), (0.21, 0.4), 0.2


def proof(
    before: tuple[float, ...] = FAST, during: tuple[float, ...] = SLOW, after: tuple[float, ...] = FAST
) -> BiteProof:
    """Make a proof that holds, with parts of it changed."""
    return BiteProof(before_s=before, during_s=during, after_s=after, least_s=LEAST)


class TestBit:
    def test_a_link_that_was_fast_and_is_never_fast_any_more_shows_a_bite(self) -> None:
        """One fast round trip before it and none during it is the whole proof."""
        assert proof().bit

    def test_a_round_trip_at_exactly_the_least_time_is_slow(self) -> None:
        """The fault allows its own least delay."""
        assert proof(during=(LEAST,)).bit

    def test_one_fast_round_trip_during_the_fault_disproves_it(self) -> None:
        """What came faster than the fault allows did not pass through it."""
        assert not proof(during=(0.4, 0.199)).bit

    def test_a_link_that_was_slow_before_proves_nothing(self) -> None:
        """On a machine so busy that nothing was fast, slowness is no sign of the fault."""
        assert not proof(before=(0.3, LEAST)).bit

    def test_no_round_trips_prove_nothing(self) -> None:
        """Without a measurement there is no proof."""
        assert not proof(before=()).bit
        assert not proof(during=()).bit


class TestHealed:
    def test_one_fast_round_trip_shows_that_the_fault_is_gone(self) -> None:
        """A busy machine may slow the others down."""
        assert proof(after=(0.9, 0.199)).healed

    def test_a_link_that_stays_slow_has_not_healed(self) -> None:
        """At the least time of the fault, the fault may still be there."""
        assert not proof(after=(LEAST, 0.3)).healed

    def test_nothing_measured_is_nothing_healed(self) -> None:
        """Without a measurement there is no proof."""
        assert not proof(after=()).healed
