"""Quantiles of the last durations, and what stands in for them."""

import pytest

from reference_daemon.policy.durations import ENOUGH, SIZE, Durations, DurationWindow, Guess
from reference_daemon.policy.events import CallKind


def window_of(*durations_s: float) -> DurationWindow:
    """Return a window that holds these."""
    window = DurationWindow()
    for duration_s in durations_s:
        window.add(duration_s)
    return window


class TestWindow:
    @pytest.mark.parametrize(
        ("quantile", "expected_s"), [(0.5, 50.0), (0.9, 90.0), (0.95, 95.0), (0.991, 100.0), (0.001, 1.0)]
    )
    def test_a_quantile_is_a_duration_that_was_seen(self, quantile: float, expected_s: float) -> None:
        """Of 1 to 100 s, the P95 is 95 s: the smallest that 95 % do not exceed."""
        assert window_of(*map(float, range(100, 0, -1))).quantile_s(quantile) == expected_s

    def test_the_p95_of_twenty_is_the_nineteenth(self) -> None:
        """One of twenty is longer than the P95."""
        assert window_of(*map(float, range(1, 21))).quantile_s(0.95) == 19.0

    def test_only_longer_ones_count_beyond_an_age(self) -> None:
        """A call that has taken 10 s is compared with those that took longer than 10 s."""
        window = window_of(*map(float, range(1, 21)))
        assert window.quantile_s(0.5, beyond_s=9.9) == 15.0  # of 10 to 20
        assert window.quantile_s(0.5, beyond_s=10.0) == 15.0  # of 11 to 20
        assert window.quantile_s(0.9, beyond_s=19.0) == 20.0

    def test_nothing_is_longer_than_the_longest(self) -> None:
        """Beyond the longest duration there is no quantile."""
        assert window_of(1.0, 20.0).quantile_s(0.5, beyond_s=20.0) is None
        assert window_of().quantile_s(0.5) is None

    def test_the_oldest_is_forgotten_beyond_the_size(self) -> None:
        """A window of 256 holds the last 256, equal ones apart."""
        window = window_of(9.0, 5.0, *[5.0] * (SIZE - 2))
        assert (len(window), window.quantile_s(0.9999)) == (SIZE, 9.0)
        window.add(5.0)
        assert (len(window), window.quantile_s(0.9999)) == (SIZE, 5.0)


class TestGuess:
    def test_any_duration_between_the_bounds_is_as_likely(self) -> None:
        """Of 30 to 60 s, the median is 45 s, and the P90 57 s."""
        guess = Guess(30.0, 60.0)
        assert guess.quantile_s(0.5) == 45.0
        assert guess.quantile_s(0.9) == 57.0

    def test_an_age_within_the_bounds_moves_the_lower_one(self) -> None:
        """A call that has taken 50 s will end between 50 and 60 s."""
        assert Guess(30.0, 60.0).quantile_s(0.5, beyond_s=20.0) == 45.0
        assert Guess(30.0, 60.0).quantile_s(0.5, beyond_s=50.0) == 55.0

    def test_beyond_the_longest_nothing_is_known(self) -> None:
        """At exactly the longest, too."""
        assert Guess(30.0, 60.0).quantile_s(0.5, beyond_s=59.0) == 59.5
        assert Guess(30.0, 60.0).quantile_s(0.5, beyond_s=60.0) is None


class TestDurations:
    def test_a_window_counts_from_twenty_durations(self) -> None:
        """Below, the P95 would be the longest of a handful."""
        durations = Durations()
        for _ in range(ENOUGH - 1):
            durations.add("analyze", CallKind.STEP, 3.0)
        assert durations.window("analyze", CallKind.STEP) is None
        durations.add("analyze", CallKind.STEP, 3.0)
        window = durations.window("analyze", CallKind.STEP)
        assert window is not None
        assert window.quantile_s(0.95) == 3.0

    def test_tools_and_kinds_are_kept_apart(self) -> None:
        """An expert step says nothing about an intermediate one, nor one tool about another."""
        durations = Durations()
        for _ in range(ENOUGH):
            durations.add("analyze", CallKind.EXPERT, 50.0)
        assert durations.window("analyze", CallKind.STEP) is None
        assert durations.window("codereview", CallKind.EXPERT) is None
        assert durations.window("analyze", CallKind.EXPERT) is not None
