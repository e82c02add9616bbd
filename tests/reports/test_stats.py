"""Quantiles that claim no more than was seen."""

import dataclasses

import numpy as np
import pytest

from reports.stats import by_phase_and_tool, by_tool_and_provider, estimate
from reports.table import Floats, table_of
from scenarios.checks.intervals import of_quantile
from scenarios.history import Call


def ordered(n: int) -> Floats:
    """Return the numbers from 0 to n - 1."""
    return np.arange(n, dtype=np.float64)


class TestEstimate:
    @pytest.mark.parametrize(("q", "value"), [(0.0, 0.0), (0.5, 1.0), (0.51, 2.0), (0.75, 2.0), (1.0, 3.0)])
    def test_is_a_value_that_was_seen(self, q: float, value: float) -> None:
        """It is the smallest value that at least the share q does not exceed, never one between two."""
        found = estimate(ordered(4), q)
        assert found is not None
        assert found.value_s == value

    @pytest.mark.parametrize("n", [19, 20])
    def test_of_few_values_p95_is_the_largest(self, n: int) -> None:
        """19 of 20 values are 95 %; of 19 values, only all of them are."""
        found = estimate(ordered(n), 0.95)
        assert found is not None
        assert found.value_s == 18.0

    def test_of_nothing_is_nothing(self) -> None:
        """No data gives no number, not a zero."""
        assert estimate(ordered(0), 0.5) is None

    @pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
    @pytest.mark.parametrize("n", [1, 5, 6, 30, 100, 400, 1000])
    def test_has_the_interval_that_the_judge_uses(self, n: int, q: float) -> None:
        """The page and an expectation must not show two intervals of one quantile."""
        found = estimate(ordered(n), q)
        assert found is not None
        assert (found.low_s, found.high_s) == of_quantile(ordered(n).tolist(), q)

    def test_an_end_that_few_values_do_not_show_is_open(self) -> None:
        """Of 100 values none is surely above P99: the chance that all lie below it is 37 %."""
        found = estimate(ordered(100), 0.99)
        assert found is not None
        assert found.high_s is None


class TestByPhaseAndTool:
    def test_keeps_phases_and_tools_apart_in_their_order(self, calls: list[Call]) -> None:
        """A table reads in the order in which the drill ran."""
        rows = by_phase_and_tool(table_of(calls))
        assert [(row.phase, row.tool) for row in rows[:4]] == [
            ("plain", "analyze"),
            ("plain", "codereview"),
            ("plain", "testgen"),
            ("latency", "analyze"),
        ]

    def test_a_call_that_never_ended_is_counted_and_in_no_quantile(self, calls: list[Call]) -> None:
        """Left out silently, it would make the rest look complete."""
        lost = dataclasses.replace(calls[0], finished_at=None, latency_s=None)
        (row,) = by_phase_and_tool(table_of([calls[0], lost]))
        assert (row.n, row.never_ended, row.max_s) == (1, 1, 40.0)

    def test_a_group_without_an_end_has_no_numbers(self, calls: list[Call]) -> None:
        """All lost: the counts say so, and the quantiles say nothing."""
        (row,) = by_phase_and_tool(table_of([dataclasses.replace(calls[0], finished_at=None, latency_s=None)]))
        assert (row.n, row.never_ended, row.p50, row.max_s) == (0, 1, None, None)

    def test_a_timeout_is_in_the_quantiles(self, mixed: list[Call]) -> None:
        """A call that timed out took its time: without it, P95 would flatter."""
        (row,) = [row for row in by_phase_and_tool(table_of(mixed)) if row.max_s == 180.0]
        assert (row.n, row.succeeded) == (1, 0)

    def test_no_calls_give_no_rows(self) -> None:
        """An empty history has no table."""
        assert by_phase_and_tool(table_of([])) == ()


def test_tools_come_before_providers_each_over_all_phases(calls: list[Call]) -> None:
    """The rows of the plot: every tool, then every provider that somebody named."""
    rows = by_tool_and_provider(table_of([*calls[1:], dataclasses.replace(calls[0], provider=None)]))
    assert [(row.tool, row.provider, row.n) for row in rows] == [
        ("analyze", "", 2),
        ("codereview", "", 2),
        ("testgen", "", 2),
        ("", "GLM", 5),
    ]
