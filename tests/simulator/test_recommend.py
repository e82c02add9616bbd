"""The rule by which a setting is recommended, on figures that are made up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from simulator.model.engine import ModelRun
from simulator.replication.metrics import Figures, figures_of
from simulator.tune.rule import AIMS, better, choose, improves, take_back, worse
from simulator.tune.space import Parameter, Point, Space

NONE = figures_of(ModelRun())
SUCCESS, P95, THROWN = AIMS
A = Parameter(name="A", setting="A", options=("1", "2", "3"), meaning="a")
B = Parameter(name="B", setting="B", options=("1", "2", "3"), meaning="b")
SPACE = Space((A, B), {})


def seen(success: Sequence[float], p95: float = 50.0, thrown: float = 0.0) -> list[Figures]:
    """Return figures, one for each success rate."""
    return [
        replace(NONE, seed=seed, success_rate=rate, p95_s=p95 + 0.01 * seed, thrown_away_s=thrown)
        for seed, rate in enumerate(success)
    ]


def measured(known: Mapping[Point, list[Figures]], point: Point) -> list[Figures]:
    """Return what is known of a point; of others, nothing succeeds."""
    return known.get(point, seen([0.0, 0.0, 0.0]))


class TestOutsideTheInterval:
    def test_a_difference_that_all_seeds_share_counts(self) -> None:
        """The pairs have the same seeds: what they share is no luck."""
        assert better(seen([0.7, 0.9, 0.8]), seen([0.6, 0.8, 0.7]), SUCCESS)
        assert worse(seen([0.6, 0.8, 0.7]), seen([0.7, 0.9, 0.8]), SUCCESS)

    def test_a_difference_that_scatters_does_not(self) -> None:
        """Better on average is not enough."""
        new, old = seen([0.9, 0.5, 0.9]), seen([0.6, 0.8, 0.6])
        assert not better(new, old, SUCCESS)
        assert not worse(new, old, SUCCESS)

    @pytest.mark.parametrize(("p95", "counts"), [(49.6, False), (49.4, True)])
    def test_nobody_notices_half_a_second(self, p95: float, counts: bool) -> None:
        """A difference below what anybody would notice is none, however sure it is."""
        assert better(seen([1, 1, 1], p95), seen([1, 1, 1]), P95) is counts

    def test_success_comes_before_speed(self) -> None:
        """Faster, but with fewer answers, is no improvement; with as many it is."""
        old = seen([0.9, 0.9, 0.9], 80.0)
        assert not improves(seen([0.5, 0.5, 0.5], 40.0), old)
        assert improves(seen([0.9, 0.9, 0.9], 40.0), old)
        assert improves(seen([0.9, 0.9, 0.9], 80.0, thrown=0.0), seen([0.9, 0.9, 0.9], 80.0, thrown=10.0))
        assert not improves(old, old)


class TestChoice:
    def test_success_first_then_speed_then_fewest_changes(self) -> None:
        """Each step leaves those that are not worse than the best one."""
        start: Point = ("1", "1")
        known: dict[Point, list[Figures]] = {
            start: seen([0.2, 0.2, 0.2], 10.0),
            ("2", "1"): seen([1, 1, 1], 90.0),
            ("2", "2"): seen([1, 1, 1], 60.0),
            ("3", "3"): seen([1, 1, 1], 60.2),
            ("1", "3"): seen([1, 1, 1], 60.3),
        }
        assert choose(known, lambda point: known[point], SPACE, start) == ("1", "3")

    def test_the_start_wins_against_its_equals(self) -> None:
        """Without a reason to change nothing is changed."""
        known: dict[Point, list[Figures]] = {("1", "1"): seen([1, 1, 1]), ("2", "3"): seen([1, 1, 1])}
        assert choose(known, lambda point: known[point], SPACE, ("1", "1")) == ("1", "1")


class TestTakingBack:
    KNOWN: Mapping[Point, list[Figures]] = {
        ("1", "1"): seen([0.2, 0.2, 0.2]),
        ("2", "1"): seen([1, 1, 1]),
        ("2", "2"): seen([1, 1, 1]),
        ("1", "2"): seen([0.2, 0.2, 0.2]),
    }

    def test_a_change_that_does_nothing_is_undone(self) -> None:
        """B did nothing, A did everything."""
        back = take_back(("2", "2"), lambda point: measured(self.KNOWN, point), SPACE, ("1", "1"), lambda _: True)
        assert back == ("2", "1")

    def test_a_limit_may_need_a_change(self) -> None:
        """A change stays if without it a limit is broken."""
        back = take_back(
            ("2", "2"), lambda point: measured(self.KNOWN, point), SPACE, ("1", "1"), lambda point: point[1] == "2"
        )
        assert back == ("2", "2")
