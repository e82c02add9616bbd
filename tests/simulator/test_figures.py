"""Figures of one model run: what they count, and what they leave out."""

import json
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from reference_daemon.policy.config import Caps, PolicyConfig
from scenarios.history import Call, Outcome, TimeoutLayer
from scenarios.model import Scenario
from simulator.model.census import Census
from simulator.model.daemon import Counts
from simulator.model.engine import ModelRun, simulate
from simulator.model.logical_call import LogicalCall
from simulator.replication.metrics import FIGURES, Figures, figures_of
from tests.simulator.small import a_call, a_scenario


def run_of(*calls: Call, refused: Sequence[int] = (), thrown_away_s: float = 0.0) -> ModelRun:
    """Return a run with these calls, so many attempts of each refused with 429; who was admitted had a slot."""
    daemon = Census()
    for call in calls:
        if call.acked_at is not None:
            daemon.enter(call.acked_at)
            daemon.leave(math.inf if call.finished_at is None else call.finished_at, call.acked_at)
    ended = [SimpleNamespace(refused=number) for number in refused or [0] * len(calls)]
    return ModelRun(
        calls=list(calls),
        counts=Counts(thrown_away_s=thrown_away_s),
        censuses={"daemon": daemon},
        ended=cast("list[LogicalCall]", ended),
    )


def ended_by(signal: str) -> Scenario:
    """Return a load whose daemon is ended, and started again, while calls are in flight."""
    return a_scenario(faults=[{"at": 300, "for": 100, "signal": signal}])


HEAVY = a_scenario(
    load=[{"phase": "all", "duration": 900, "clients": 9, "arrivals": {"uniform": {"gap": 5}}, "sequence": ["chat"]}]
)
"""More calls than four slots can take."""


class TestShares:
    def test_refused_calls_fail(self) -> None:
        """Of four calls one ended refused: a success rate of 3 in 4, and its share beside it."""
        refused = a_call(30.0, 0.0, Outcome.OVER_CAPACITY, acked_at=None)
        figures = figures_of(run_of(*(a_call(at, 40.0) for at in (0.0, 10.0, 20.0)), refused))
        assert (figures.calls, figures.success_rate, figures.over_capacity_rate) == (4, 0.75, 0.25)

    def test_attempts_are_counted_one_by_one(self) -> None:
        """Two refusals and a success are three attempts of one call, two of them refused."""
        figures = figures_of(run_of(a_call(0.0, 90.0, attempts=3), refused=[2]))
        assert (figures.attempts_per_call, figures.refusal_rate) == (3.0, 2 / 3)

    def test_other_refusals_are_no_429(self) -> None:
        """A draining daemon answers 503 and a client tries again: more attempts, and not one refused with 429."""
        figures = figures_of(run_of(a_call(0.0, 90.0, attempts=3), refused=[0]))
        assert (figures.attempts_per_call, figures.refusal_rate) == (3.0, 0.0)

    def test_no_429_in_a_run_whose_daemon_drained(self) -> None:
        """By the daemon's own count nobody found a cap reached; what was refused met a daemon that was ending."""
        room = Caps(total=100, session=100, tools={}, providers={})
        run = simulate(ended_by("SIGTERM"), PolicyConfig(caps=room), seed=5)
        assert run.counts.refused.keys() == {"draining"}
        assert figures_of(run).refusal_rate == 0.0

    def test_they_are_those_that_the_daemon_counted(self) -> None:
        """The calls and the daemon's own count agree on the refusals of a whole run."""
        caps = Caps(total=3, session=8, tools={}, providers={})
        run = simulate(a_scenario(), PolicyConfig(caps=caps), seed=5)
        assert run.counts.refused["global"] > 0
        attempts = sum(call.attempts for call in run.calls)
        assert figures_of(run).refusal_rate == sum(run.counts.refused.values()) / attempts

    def test_without_calls_there_is_no_share(self) -> None:
        """No data is no value: neither zero nor one."""
        figures = figures_of(run_of())
        assert (figures.success_rate, figures.refusal_rate, figures.p95_s, figures.goodput_per_s) == (None,) * 4


class TestLatencies:
    def test_quantiles_are_latencies_that_were_seen(self) -> None:
        """Of 1 to 100 seconds the median is 50, P95 95 and P99 99: nothing is interpolated."""
        figures = figures_of(run_of(*(a_call(0.0, float(latency)) for latency in range(100, 0, -1))))
        assert (figures.p50_s, figures.p95_s, figures.p99_s) == (50.0, 95.0, 99.0)

    def test_failed_calls_are_no_fast_ones(self) -> None:
        """A refusal in no time does not make the median better."""
        refused = [a_call(0.0, 0.0, Outcome.OVER_CAPACITY, acked_at=None) for _ in range(9)]
        assert figures_of(run_of(a_call(0.0, 40.0), *refused)).p50_s == 40.0

    def test_calls_without_an_end_are_counted_apart(self) -> None:
        """A call that never ended has no latency, and the figures say that it is there."""
        figures = figures_of(run_of(a_call(0.0, 40.0), a_call(1.0, None, Outcome.UNKNOWN)))
        assert (figures.never_ended, figures.p99_s, figures.success_rate) == (1, 40.0, 0.5)

    def test_timeouts_of_any_layer_count(self) -> None:
        """Whoever gave up first, it is one timeout."""
        late = a_call(0.0, 180.0, Outcome.TIMEOUT, timeout_layer=TimeoutLayer.DAEMON)
        unknown = a_call(0.0, 180.0, Outcome.UNKNOWN, timeout_layer=TimeoutLayer.CLIENT)
        assert figures_of(run_of(late, unknown, a_call(0.0, 40.0))).timeouts == 2


class TestWarmUp:
    def test_calls_before_it_are_left_out(self) -> None:
        """A call counts from the moment of the warm-up's end on, by its intended start."""
        figures = figures_of(run_of(a_call(99.9, 10.0), a_call(100.0, 20.0), a_call(150.0, 30.0)), 100.0)
        assert (figures.calls, figures.p50_s) == (2, 20.0)

    def test_goodput_is_per_second_of_what_is_left(self) -> None:
        """Two answers in the 100 seconds after the warm-up."""
        run = run_of(a_call(50.0, 10.0), a_call(110.0, 20.0), a_call(150.0, 30.0))
        assert figures_of(run, 100.0, load_s=200.0).goodput_per_s == 0.02


class TestInFlight:
    def test_most_at_once(self) -> None:
        """Calls from 0 to 40, 10 to 50 and 40 to 80: two at once, since a slot given back can be taken at once."""
        figures = figures_of(run_of(a_call(0.0, 40.0), a_call(10.0, 40.0), a_call(40.0, 40.0)), load_s=100.0)
        assert (figures.max_in_flight, figures.mean_in_flight) == (2, 1.2)

    def test_refused_calls_are_not_in_the_daemon(self) -> None:
        """A call that was never admitted takes no slot."""
        refused = a_call(0.0, 40.0, Outcome.OVER_CAPACITY, acked_at=None)
        assert figures_of(run_of(refused, a_call(0.0, 40.0)), load_s=100.0).max_in_flight == 1

    def test_it_is_bounded_by_the_cap(self) -> None:
        """Under pressure the most at once is the cap, and never more."""
        caps = Caps(total=4, session=8, tools={}, providers={})
        busy = a_scenario(providers={"GLM": {"latency": {"constant": {"value": 80}}}})
        assert figures_of(simulate(busy, PolicyConfig(caps=caps), seed=1)).max_in_flight == 4

    @pytest.mark.parametrize("signal", ["SIGKILL", "SIGTERM"])
    def test_lost_calls_hold_no_slot(self, signal: str) -> None:
        """A client that looks for its lost call is in no daemon: the most at once is what the daemon counted."""
        caps = Caps(total=4, session=8, tools={}, providers={})
        busy = ended_by(signal).model_copy(update={"load": HEAVY.load})
        run = simulate(busy, PolicyConfig(caps=caps), seed=2)
        assert figures_of(run).max_in_flight == run.censuses["daemon"].most == 4

    def test_it_begins_again_after_the_warm_up(self) -> None:
        """The most of the warm-up is none of the figures': three at once in it, two after it."""
        early = [a_call(0.0, 10.0) for _ in range(3)]
        late = [a_call(100.0, 40.0), a_call(110.0, 40.0)]
        figures = figures_of(run_of(*early, *late), 50.0, load_s=200.0)
        assert (figures.max_in_flight, figures.mean_in_flight) == (2, 80.0 / 150.0)


class TestThrownAway:
    def test_share_of_all_work(self) -> None:
        """90 seconds that were cut, of 120 that were worked."""
        late = a_call(0.0, 90.0, Outcome.TIMEOUT, timeout_layer=TimeoutLayer.DAEMON)
        figures = figures_of(run_of(late, a_call(0.0, 30.0), thrown_away_s=90.0))
        assert (figures.thrown_away_s, figures.thrown_away_share) == (90.0, 0.75)


def test_they_are_plain_json() -> None:
    """Names and values of a replication go into a file and come back."""
    figures = figures_of(run_of(a_call(0.0, 40.0)), seed=9)
    assert json.loads(json.dumps(figures.as_dict())) == figures.as_dict()
    assert Figures(**figures.as_dict()) == figures  # type: ignore[arg-type]  # JSON knows no types of fields


def test_each_figure_says_what_it_is() -> None:
    """Unit, direction and meaning of every figure stand beside it; the seed is none."""
    assert "seed" not in FIGURES
    assert set(FIGURES) | {"seed"} == set(Figures.__slots__)
    assert all(figure.meaning for figure in FIGURES.values())
