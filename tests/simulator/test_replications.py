"""Replications: equal whoever runs them, and intervals that hold what they promise."""

import math
import random
from dataclasses import replace

import pytest

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.named import policy_config
from scenarios.checks.intervals import wilson
from simulator.replication.replications import (
    interval,
    interval_of,
    interval_of_share,
    intervals,
    paired,
    replicate,
    seeds_from,
    worker_pool,
)
from tests.simulator.small import a_scenario


class TestInterval:
    def test_students_t(self) -> None:
        """The textbook: mean 5, standard deviation 2, nine values, so 5 ± 2.306 × 2 / 3."""
        values = [5.0, 3.0, 7.0, 3.0, 7.0, 3.0, 7.0, 3.0, 7.0]
        found = interval(values)
        assert (found.mean, found.n) == (5.0, 9)
        assert found.high - found.mean == pytest.approx(2.306 * math.sqrt(32 / 8) / 3, rel=1e-3)
        assert found.mean - found.low == pytest.approx(found.high - found.mean)

    def test_one_value_says_nothing_about_its_spread(self) -> None:
        """With one replication the ends are infinite: nothing lies outside, and JSON has null."""
        found = interval([5.0])
        assert not found.known
        assert not found.above(-1e300)
        assert not found.below(1e300)
        assert found.as_dict() == {"mean": 5.0, "low": None, "high": None, "n": 1}

    def test_no_value_has_no_mean(self) -> None:
        """Replications without a value do not count, and none at all gives none."""
        assert interval([None, 2.0, 4.0]).n == 2
        assert math.isnan(interval([None]).mean)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, math.nan])
    def test_confidence_is_between_0_and_1(self, confidence: float) -> None:
        """A confidence that is none is refused, by its name."""
        with pytest.raises(ValueError, match="confidence"):
            interval([1.0, 2.0], confidence)

    def test_more_confidence_is_wider(self) -> None:
        """At 99 % the interval is wider than at 95 %."""
        wide, usual = interval([1.0, 2.0, 4.0], 0.99), interval([1.0, 2.0, 4.0])
        assert wide.low < usual.low < usual.high < wide.high

    def test_it_covers_the_mean_as_often_as_it_says(self) -> None:
        """Of 2,000 samples of ten normal values about 95 % have an interval with the true mean.

        The bound is four standard errors of that share; the seed is fixed, so the test cannot fail by chance later.
        """
        chance = random.Random(1)
        samples = [interval([chance.gauss(3.0, 2.0) for _ in range(10)]) for _ in range(2000)]
        share = sum(found.low <= 3.0 <= found.high for found in samples) / len(samples)
        assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / len(samples))


class TestPaired:
    def test_common_luck_drops_out(self) -> None:
        """Values that scatter widely, but together, differ by a sure 1."""
        luck = [0.0, 30.0, 5.0, 90.0]
        found = paired([value + 1.0 for value in luck], luck)
        assert (found.low, found.mean, found.high) == (1.0, 1.0, 1.0)

    def test_a_pair_without_a_side_does_not_count(self) -> None:
        """Where one setting gave no value, nothing can be compared."""
        assert paired([1.0, None, 3.0], [0.0, 0.0, None]).n == 1

    def test_as_many_of_each(self) -> None:
        """Pairs need two sides."""
        with pytest.raises(ValueError, match="argument 2"):
            paired([1.0], [])


class TestReplicate:
    def test_figures_are_in_the_order_of_the_seeds(self) -> None:
        """Each replication is its seed's, whatever the order."""
        there, back = (replicate(a_scenario(), PolicyConfig(), seeds=seeds) for seeds in ([1, 2], [2, 1]))
        assert [figures.seed for figures in there] == [1, 2]
        assert there == back[::-1]

    def test_seeds_differ(self) -> None:
        """Two seeds give two runs."""
        first, second = replicate(a_scenario(), PolicyConfig(), seeds=seeds_from(4, 2))
        assert first.p50_s != second.p50_s

    def test_processes_find_the_same(self) -> None:
        """Worker processes give what this process gives, with the shipped settings and with others."""
        for config in (PolicyConfig(), policy_config({"EXAI_WS_TOOL_MAX_INFLIGHT": "analyze=1"})):
            with worker_pool(2) as executor:
                far = replicate(a_scenario(), config, seeds=(1, 2, 3), warm_up_s=300.0, executor=executor)
            assert far == replicate(a_scenario(), config, seeds=(1, 2, 3), warm_up_s=300.0)

    def test_patience_of_the_client_counts(self) -> None:
        """A client that waits 20 seconds for a chat that takes 35 gets nothing."""
        (phase,) = a_scenario().model_dump(mode="json", by_alias=True)["load"]
        chats = a_scenario(load=[phase | {"sequence": ["chat"]}])
        (figures,) = replicate(chats, PolicyConfig(), seeds=(1,), client_timeout_s=20.0)
        assert figures.success_rate == 0.0
        assert figures.timeouts > 0

    def test_no_interval_leaves_what_can_be(self) -> None:
        """A share stays between 0 and 1, and nothing is below 0, however few the replications."""
        figures = replicate(a_scenario(), PolicyConfig(), seeds=range(2))
        told = zip(figures, (1.0, 0.8), (1.0, 50.0), strict=True)
        wide = [replace(each, success_rate=rate, p95_s=p95_s) for each, rate, p95_s in told]
        found = {name: interval_of(wide, name) for name in ("success_rate", "p95_s")}
        assert (found["success_rate"].low, found["success_rate"].high) == (0.0, 1.0)
        assert found["p95_s"].low == 0.0
        assert found["p95_s"].high > 50.0

    def test_shares_that_are_all_one_are_not_certain(self) -> None:
        """Where no replication saw a failure the lower end is Wilson's over all calls, as for any share."""
        found = interval_of_share([1.0, 1.0, 1.0], 100)
        assert found.low == pytest.approx(wilson(100, 100)[0])
        assert found.high == 1.0
        none = interval_of_share([0.0, 0.0], 50)
        assert none.low == 0.0
        assert none.high == pytest.approx(wilson(0, 50)[1])
        assert interval_of_share([0.5, 0.5], 50) == interval([0.5, 0.5])

    def test_every_figure_gets_its_interval(self) -> None:
        """A table of a run has all figures, with as many values as replications."""
        found = intervals(replicate(a_scenario(), PolicyConfig(), seeds=(1, 2, 3)))
        assert found["success_rate"].n == 3
        assert found["calls"].low < found["calls"].mean < found["calls"].high
