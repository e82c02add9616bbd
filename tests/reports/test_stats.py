"""Quantiles that claim no more than was seen."""

import dataclasses

import pytest

from reports.stats import by_phase_and_tool, quantile
from scenarios.history import Call


class TestQuantile:
    @pytest.mark.parametrize(("q", "value"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (1.0, 4.0)])
    def test_is_a_value_that_was_seen(self, q: float, value: float) -> None:
        """It is the smallest value that at least the share q does not exceed, never one between two."""
        assert quantile([4.0, 2.0, 1.0, 3.0], q) == value

    def test_of_few_values_p95_is_the_largest(self) -> None:
        """19 of 20 values are 95 %; of 19 values, only all of them are."""
        twenty = [float(number) for number in range(20)]
        assert quantile(twenty, 0.95) == 18.0
        assert quantile(twenty[:19], 0.95) == 18.0

    def test_of_nothing_is_nothing(self) -> None:
        """No data gives no number, not a zero."""
        assert quantile([], 0.5) is None


class TestByPhaseAndTool:
    def test_keeps_phases_and_tools_apart_in_their_order(self, calls: list[Call]) -> None:
        """A table reads in the order in which the drill ran."""
        rows = by_phase_and_tool(calls)
        assert [(row.phase, row.tool) for row in rows[:4]] == [
            ("plain", "analyze"),
            ("plain", "codereview"),
            ("plain", "testgen"),
            ("latency", "analyze"),
        ]

    def test_a_call_that_never_ended_is_counted_and_in_no_quantile(self, calls: list[Call]) -> None:
        """Left out silently, it would make the rest look complete."""
        lost = dataclasses.replace(calls[0], finished_at=None, latency_s=None)
        (row,) = by_phase_and_tool([calls[0], lost])
        assert (row.n, row.never_ended, row.max_s) == (1, 1, 40.0)

    def test_a_group_without_an_end_has_no_numbers(self, calls: list[Call]) -> None:
        """All lost: the counts say so, and the quantiles say nothing."""
        (row,) = by_phase_and_tool([dataclasses.replace(calls[0], finished_at=None, latency_s=None)])
        assert (row.n, row.never_ended, row.p50_s, row.max_s) == (0, 1, None, None)

    def test_a_timeout_is_in_the_quantiles(self, mixed: list[Call]) -> None:
        """A call that timed out took its time: without it, P95 would flatter."""
        (row,) = [row for row in by_phase_and_tool(mixed) if row.max_s == 180.0]
        assert (row.n, row.succeeded) == (1, 0)

    def test_no_calls_give_no_rows(self) -> None:
        """An empty history has no table."""
        assert by_phase_and_tool([]) == ()
