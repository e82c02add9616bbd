"""Quantiles and intervals, against values from tables."""

import pytest
from scipy import stats

from scenarios.checks.intervals import of_quantile, quantile, wilson


class TestQuantile:
    @pytest.mark.parametrize(("q", "value"), [(0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.99, 4.0), (0.0, 1.0)])
    def test_it_is_a_value_that_was_seen(self, q: float, value: float) -> None:
        """Of four values the second is their P50, and the third already their P51."""
        assert quantile([4.0, 2.0, 1.0, 3.0], q) == value

    def test_no_values_have_none(self) -> None:
        """Better an error than a zero."""
        with pytest.raises(ValueError, match="no values"):
            quantile([], 0.5)


class TestWilson:
    @pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (950, 1000)])
    def test_it_agrees_with_scipy(self, hits: int, n: int) -> None:
        """The closed form is the published one."""
        known = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert wilson(hits, n) == pytest.approx((known.low, known.high), abs=1e-9)

    @pytest.mark.parametrize("tail", [0.025, 0.001])
    def test_dependent_cases_are_worth_fewer(self, tail: float) -> None:
        """Four cases that are worth one give the interval of a quarter of them."""
        assert wilson(40, 400, divisor=4.0, tail=tail) == pytest.approx(wilson(10, 100, tail=tail))
        known = stats.binomtest(10, 100).proportion_ci(confidence_level=1 - 2 * tail, method="wilson")
        assert wilson(10, 100, tail=tail) == pytest.approx((known.low, known.high), abs=1e-9)

    def test_nothing_seen_says_nothing(self) -> None:
        """Without a case the share may be anything."""
        assert wilson(0, 0) == (0.0, 1.0)


class TestOfQuantile:
    @pytest.mark.parametrize(("n", "q"), [(20, 0.5), (100, 0.5), (100, 0.95), (1000, 0.99), (5000, 0.95)])
    def test_it_holds_the_quantile_at_least_95_times_in_100(self, n: int, q: float) -> None:
        """By the binomial distribution, whatever the values' own."""
        low, high = of_quantile([float(rank) for rank in range(1, n + 1)], q)
        below = 0.0 if low is None else stats.binom.cdf(low - 1, n, q)
        above = 0.0 if high is None else stats.binom.sf(high - 1, n, q)
        assert below <= 0.025
        assert above <= 0.025

    def test_it_is_no_wider_than_it_must_be(self) -> None:
        """For 100 values the table gives the 40th and the 61st."""
        assert of_quantile([float(rank) for rank in range(1, 101)], 0.5) == (40.0, 61.0)

    def test_an_end_that_few_values_do_not_show_is_none(self) -> None:
        """Twenty values have none beyond their P95 for sure."""
        assert of_quantile([float(rank) for rank in range(20)], 0.95)[1] is None
        assert of_quantile([], 0.5) == (None, None)
