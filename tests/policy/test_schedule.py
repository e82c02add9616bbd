"""Moments to be promised, earliest first."""

from reference_daemon.policy.events import CallKind
from reference_daemon.policy.schedule import Holder, Schedule


def a_holder() -> Holder:
    """Return a holder of some call."""
    return Holder("analyze", CallKind.STEP, 0.0)


def test_an_empty_schedule_promises_nothing() -> None:
    """There is no earliest moment."""
    assert Schedule().earliest() is None


def test_the_earliest_comes_first_and_stays() -> None:
    """Looking does not promise; of equal moments the one that was entered first counts."""
    schedule, first, second, third = Schedule(), a_holder(), a_holder(), a_holder()
    schedule.enter(2.0, first)
    schedule.enter(1.0, second)
    schedule.enter(1.0, third)
    assert schedule.earliest() == (1.0, second)
    assert schedule.earliest() == (1.0, second)


def test_a_promised_moment_is_not_promised_again() -> None:
    """Its holder remembers that, until it is entered anew."""
    schedule, first, second = Schedule(), a_holder(), a_holder()
    schedule.enter(1.0, first)
    schedule.enter(2.0, second)
    assert not first.gave(schedule)
    schedule.promise(first)
    assert first.gave(schedule)
    assert schedule.earliest() == (2.0, second)
    schedule.enter(1.5, first)
    assert not first.gave(schedule)
    assert schedule.earliest() == (1.5, first)


def test_a_holder_has_one_moment() -> None:
    """A new one replaces the old one, whether it is later or earlier."""
    schedule, holder = Schedule(), a_holder()
    schedule.enter(1.0, holder)
    schedule.enter(3.0, holder)
    assert schedule.earliest() == (3.0, holder)
    schedule.enter(2.0, holder)
    assert schedule.earliest() == (2.0, holder)


def test_schedules_do_not_know_each_other() -> None:
    """A moment that is promised in one can still be promised in another."""
    one, other, holder = Schedule(), Schedule(), a_holder()
    one.enter(1.0, holder)
    other.enter(1.0, holder)
    one.promise(holder)
    assert one.earliest() is None
    assert other.earliest() == (1.0, holder)


def test_entries_that_do_not_count_are_bounded() -> None:
    """However many calls come and go, the heap holds at most twice those that count, and a few."""
    schedule, stands = Schedule(), [a_holder() for _ in range(100)]
    for holder in stands:
        schedule.enter(1e9, holder)
    for number in range(1_000):
        gone = a_holder()
        schedule.enter(float(number), gone)
        gone.seqs.clear()
        assert len(schedule) <= 64 + 2 * 101
    assert schedule.earliest() == (1e9, stands[0])
