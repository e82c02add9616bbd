"""Tuning: from bad settings back to good ones, no advice where there is none, and none from a model that is wrong."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reference_daemon.checklist import read as read_checklist
from reference_daemon.settings import read_settings
from scenarios.model import Daemon, Scenario
from scenarios.version import version
from simulator.calibrate import scenario as calibrate_scenario
from simulator.model.settings import model_settings
from simulator.replication.metrics import Figures
from simulator.tune.env_file import env_text
from simulator.tune.gate import NotValidatedError, check_validation, expected_facts
from simulator.tune.limits import read_limits
from simulator.tune.order import Order
from simulator.tune.rule import AIMS, better
from simulator.tune.search import Trial, for_sampler, pareto_front
from simulator.tune.space import Point, SeedSets, Space, UnknownConcurrencyError
from simulator.tune.study import headline, study_of
from simulator.tune.tune import Tuning, tune
from simulator.validate.study import about_of

BAD = {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "1", "EXAI_WS_RETRY_AFTER": "fixed:1"}


def a_scenario(**changes: Any) -> Scenario:
    """Return nine `analyze` at once; the provider allows three."""
    burst = {"burst": {"size": 9}}
    values: dict[str, Any] = {
        "name": "nine",
        "title": "Nine at once",
        "providers": {"GLM": {"latency": {"uniform": {"low": 35, "high": 55}}, "concurrency": 3}},
        "load": [{"phase": "rush", "duration": 10, "clients": 9, "arrivals": burst, "sequence": ["analyze"]}],
        "expect": [{"metric": "calls", "min": 1}],
    }
    return Scenario.model_validate(values | changes)


def an_order(scenario: Scenario, *limits: str, trials: int = 16, start: Mapping[str, str] | None = None) -> Order:
    """Return a small order."""
    begun = model_settings(scenario, given=start)
    return Order(
        scenario=scenario, start=begun, trials=trials, replications=4, seed=1, limits=read_limits(limits, scenario)
    )


def tuned(order: Order) -> Tuning:
    """Tune in this process, without a word."""
    return tune(order, None, lambda _: None)


@cache
def from_bad() -> Tuning:
    """Return the tuning from the bad settings; made once, and never changed."""
    return tuned(an_order(a_scenario(), start=BAD))


class TestFromBadSettings:
    def test_it_comes_back_to_what_is_good(self) -> None:
        """From a cap of one and a fixed second: better in success, outside the interval, on fresh seeds."""
        tuning = from_bad()
        new, old = (tuning.proof[point] for point in (tuning.recommended, tuning.start))
        assert tuning.advised
        assert better(new, old, AIMS[0])
        assert tuning.space.values(tuning.recommended)["EXAI_WS_GLOBAL_MAX_INFLIGHT"] != "1"

    def test_fresh_seeds_took_no_part(self) -> None:
        """The figures that are told come from seeds that nothing was chosen by."""
        tuning = from_bad()
        seeds = {figures.seed for figures in tuning.proof[tuning.recommended]}
        assert seeds == set(tuning.seeds.proof)
        assert seeds.isdisjoint({*tuning.seeds.search, *tuning.seeds.choice})

    def test_each_change_does_something(self) -> None:
        """What did nothing was taken back; the others are told with what happens without them."""
        tuning = from_bad()
        assert set(tuning.taken_back) == {
            parameter.name for parameter in tuning.space.changed(tuning.start, tuning.recommended)
        }

    def test_the_same_order_gives_the_same_advice(self) -> None:
        """All chance comes from the seed."""
        again = tuned(an_order(a_scenario(), start=BAD))
        assert again.trials == from_bad().trials
        assert again.recommended == from_bad().recommended
        assert env_text(again) == env_text(from_bad())

    def test_the_start_and_the_shipped_settings_are_tried(self) -> None:
        """The search begins with both."""
        points = [trial.point for trial in from_bad().trials]
        assert points[0] == from_bad().start
        assert from_bad().shipped in points[:3]


class TestRecommendedEnv:
    def test_the_daemon_takes_it_as_it_is(self, tmp_path: Path) -> None:
        """The daemon's own reader reads what was recommended, and its checklist passes it."""
        path = tmp_path / "recommended.env"
        path.write_text(env_text(from_bad()), encoding="utf-8")
        tuning = from_bad()
        assert read_settings(path).policy() == tuning.space.settings(tuning.recommended, a_scenario()).config
        reading = read_checklist(path)
        assert reading is not None

    def test_each_changed_line_says_from_what_to_what_and_why(self) -> None:
        """A comment stands above each setting."""
        lines = env_text(from_bad()).splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("EXAI_WS_GLOBAL_MAX_INFLIGHT="))
        assert lines[at - 1].startswith("# from 1 to ")
        assert "Taken back alone: success rate" in lines[at - 1]

    def test_it_says_how_it_was_made(self) -> None:
        """The whole command and the version stand on top: with them the same advice comes out again."""
        order = replace(an_order(one_at_a_time(), trials=3), command="exai tune calm --limit global=2 --patience")
        assert env_text(tuned(order)).splitlines()[:2] == [f"# Made by exai tune {version()}", f"# {order.command}"]
        foot = study_of(tuned(order)).settings
        assert (foot["command"], foot["exai-harness"], foot["warm-up"]) == (order.command, version(), "0 s")

    def test_no_advice_gives_back_what_it_started_with(self) -> None:
        """Whoever tunes again from an earlier advice, and finds nothing better, keeps the earlier advice."""
        start = {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "12", "EXAI_WS_RETRY_AFTER": "fixed:5"}
        tuning = tuned(an_order(one_at_a_time(), trials=6, start=start))
        assert not tuning.advised
        lines = env_text(tuning).splitlines()
        assert [line for line in lines if line and not line.startswith("#")] == [
            "EXAI_WS_GLOBAL_MAX_INFLIGHT=12",
            "EXAI_WS_RETRY_AFTER=fixed:5",
        ]

    def test_comment_and_setting_say_the_same(self) -> None:
        """A provider's cap above the global one is recommended as the global one, in the comment and in the facts."""
        scenario = a_scenario(providers={"GLM": {"latency": {"constant": {"value": 40}}, "concurrency": 64}})
        for seed in range(1, 4):
            tuning = tuned(replace(an_order(scenario, start=BAD, trials=12), seed=seed))
            values = tuning.space.values(tuning.recommended)
            for parameter in tuning.space.changed(tuning.start, tuning.recommended):
                if parameter.tool is None:
                    assert tuning.space.value_at(tuning.recommended, parameter) == values[parameter.setting]

    def test_no_advice_is_a_file_that_says_so(self, tmp_path: Path) -> None:
        """A file without settings, where there were none: whoever uses it changes nothing."""
        tuning = tuned(an_order(one_at_a_time(), trials=6))
        text = env_text(tuning)
        assert not tuning.advised
        assert "Nothing is recommended" in text
        assert all(line.startswith("#") or not line for line in text.splitlines())
        path = tmp_path / "recommended.env"
        path.write_text(text, encoding="utf-8")
        assert read_settings(path).policy() == read_settings(tmp_path / "none.env").policy()


class _OnlyThere:
    """Limits that are kept everywhere but on some seeds."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self.seeds = set(seeds)

    def __call__(self, order: Order, space: Space, point: Point, figures: Sequence[Figures]) -> bool:
        """Return whether the figures are not from these seeds."""
        return {each.seed for each in figures} != self.seeds


def one_at_a_time() -> Scenario:
    """Return a load that no shipped cap is in the way of."""
    load = [
        {"phase": "calm", "duration": 600, "arrivals": {"uniform": {"gap": 60}}, "sequence": ["analyze"]},
    ]
    return a_scenario(name="calm", load=load)


class TestLimits:
    def test_limits_that_nothing_keeps(self) -> None:
        """Then nothing is recommended, and it is said."""
        tuning = tuned(an_order(one_at_a_time(), "p95_s=20", trials=6))
        assert not tuning.feasible
        assert not tuning.advised
        assert "keeps the limits" in headline(tuning)
        assert pareto_front(tuning.trials) == []

    def test_a_recommendation_keeps_them(self) -> None:
        """A cap is never above its limit."""
        tuning = tuned(an_order(a_scenario(), "global=2", trials=12, start=BAD))
        assert int(tuning.space.values(tuning.recommended)["EXAI_WS_GLOBAL_MAX_INFLIGHT"]) <= 2

    def test_they_hold_on_fresh_seeds_too(self) -> None:
        """What keeps a limit on the seeds that it was chosen by, and not on fresh ones, is not recommended."""
        order = an_order(a_scenario(), start=BAD)
        fresh = SeedSets.of(order.seed, order.replications).proof
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("simulator.tune.tune._holds", _OnlyThere(fresh))
            tuning = tuned(order)
        assert tuning.found
        assert not tuning.feasible
        assert not tuning.advised
        assert "does not keep the limits on fresh seeds" in headline(tuning)
        assert "on fresh seeds" in env_text(tuning)

    @pytest.mark.parametrize(("limits", "refused"), [((), True), (("global=4",), True), (("provider:GLM=4",), False)])
    def test_a_concurrency_that_nobody_knows_needs_one(self, limits: tuple[str, ...], refused: bool) -> None:
        """A calibrated provider never refuses in the model, so the model would praise any cap: exit 3."""
        provider = {"latency": {"constant": {"value": 40}}, "concurrency": calibrate_scenario._UNSEEN_CONCURRENCY}
        order = an_order(a_scenario(providers={"GLM": provider}), *limits, trials=3)
        if not refused:
            tuned(order)
            return
        with pytest.raises(UnknownConcurrencyError, match="--limit provider:GLM=N") as raised:
            tuned(order)
        assert raised.value.exit_code == 3


class TestReport:
    def test_shipped_is_with_nothing_set(self) -> None:
        """The column leaves out what the start sets and the search never touches."""
        tuning = tuned(an_order(one_at_a_time(), trials=3, start={"EXPERT_ANALYSIS_TIMEOUT_SECS": "20"}))
        assert tuning.as_shipped[0].thrown_away_s == 0.0
        assert tuning.proof[tuning.start][0] != tuning.as_shipped[0]

    def test_it_has_the_table_the_pareto_plot_and_the_sensitivity(self) -> None:
        """Four sections; the facts hold the difference with its interval."""
        study = study_of(from_bad())
        charts = [chart.name for section in study.sections for chart in section.charts]
        assert charts == ["pareto", "sensitivity-success_rate", "sensitivity-p95_s"]
        difference = study.facts["difference"]
        assert isinstance(difference, dict)
        assert difference["success_rate"]["low"] > 0

    def test_what_the_model_leaves_out_is_told(self) -> None:
        """Advice that knows nothing of a fault says so."""
        scenario = one_at_a_time().model_copy(update={"daemon": Daemon(defect="duplicate-waits")})
        study = study_of(tuned(an_order(scenario, trials=3)))
        assert "defect duplicate-waits" in study.settings["left out by the model"]


class TestBelief:
    def summary(self, folder: Path, **changes: Any) -> Path:
        """Write what `exai validate` leaves."""
        facts = expected_facts(a_scenario()) | changes.pop("facts", {})
        values = {"kind": "validate", "name": "nine", "verdict": "held", "headline": "close", "facts": facts} | changes
        (folder / "summary.json").write_text(json.dumps(values), encoding="utf-8")
        return folder

    def test_a_validation_that_held_is_enough(self, tmp_path: Path) -> None:
        """Its directory or its file can be named."""
        folder = self.summary(tmp_path)
        assert check_validation(folder, a_scenario()) == check_validation(folder / "summary.json", a_scenario())

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"verdict": "violated", "headline": "P95 +9 %"}, r"says violated for nine: P95 \+9 %"),
            ({"verdict": "undecided"}, "says undecided"),
            ({"name": "other", "facts": {"scenario": "other"}}, "is about other, not about nine"),
            ({"facts": {"scenario_hash": "0"}}, "the scenario nine has changed since"),
            ({"facts": {"settings_hash": "0"}}, "the settings of nine have changed since"),
            ({"facts": {"version": "0.0"}}, "is by exai-harness 0.0, and this is"),
            ({"facts": {"version": None}}, r"does not say what it is about \(version\)"),
            ({"kind": "sweep"}, "is no result of exai validate"),
        ],
    )
    def test_no_advice_from_a_model_that_is_wrong(self, changes: dict[str, Any], why: str, tmp_path: Path) -> None:
        """A validation that failed, or that is of something else, ends the command with 3 and its reason."""
        with pytest.raises(NotValidatedError, match=why) as raised:
            check_validation(self.summary(tmp_path, **changes), a_scenario())
        assert raised.value.exit_code == 3

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """No validation is no reason to believe."""
        with pytest.raises(NotValidatedError, match="cannot be read"):
            check_validation(tmp_path / "nothing", a_scenario())

    def test_a_validation_says_what_it_is_compared_by(self) -> None:
        """What `exai validate` writes of a scenario, and what tuning expects of it, are the same facts."""
        scenario = a_scenario(settings={"EXAI_WS_TTL_MULTIPLIER": 3})
        told = about_of(scenario, model_settings(scenario).values, version())
        expected = expected_facts(scenario)
        assert {name: told[name] for name in expected} == expected


class TestFront:
    def test_it_is_what_nobody_beats(self) -> None:
        """Whoever another trial beats in all aims is left out, whatever the order in which they were tried."""
        means = [(0.9, 50.0, 0.0), (0.8, 40.0, 0.0), (0.8, 45.0, 0.0), (0.9, 50.0, 5.0), (0.7, math.nan, 0.0)]
        trials = [Trial((str(number),), each, feasible=True) for number, each in enumerate(means)]
        for order in (trials, trials[::-1]):
            assert [trial.point for trial in pareto_front(order)] == [("0",), ("1",)]

    def test_a_trial_without_a_call_is_the_worst(self) -> None:
        """The sampler is told that nothing succeeded, not that all did."""
        assert for_sampler([math.nan, math.nan, math.nan], 180.0) == [0.0, 180.0, 180.0]
        assert for_sampler([0.5, 60.0, 1.0], 180.0) == [0.5, 60.0, 1.0]
