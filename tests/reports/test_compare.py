"""A run against a baseline: chance is not called a regression, a worse provider is."""

import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.charts.against import draw_against
from reports.charts.style import Layout
from reports.compare import NoComparisonError, compare
from reports.comparison import DEFAULT_LIMITS, Comparison, change, limits_of, percent
from reports.dependence import Blocks, blocks_of
from reports.intervals import Interval, difference, quantile_interval, ratio, share_interval
from reports.judging import Change, Numbers, judged
from reports.story import story_of
from reports.summary import summarize
from reports.table import CallTable, table_of
from reports.write import Against, write_report
from scenarios.history import Body, Call, Outcome
from scenarios.model import Scenario
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import Judgement, Verdict
from simulator.model.engine import simulate
from simulator.model.settings import model_settings

Side = tuple[Run, CallTable]


def loaded(median_s: float, errors: float = 0.0) -> Scenario:
    """Return a scenario whose calls depend on each other: users who wait, bursts over the caps, retries."""
    return Scenario.model_validate(
        {
            "name": "crowded",
            "title": "Users who wait for their answers, and bursts that are over the caps",
            "seed": 1,
            "providers": {
                "GLM": {
                    "latency": {"lognormal": {"median": median_s, "sigma": 0.4}},
                    "errors": {"rate": errors, "status": 500},
                },
                "KIMI": {"latency": {"lognormal": {"median": 20, "sigma": 0.4}}},
            },
            "load": [
                {
                    "phase": "users",
                    "duration": 1800,
                    "clients": 4,
                    "arrivals": {"closed": {"users": 6, "think": 10}},
                    "mix": {"analyze": 2, "codereview": 2, "kimi_chat_with_tools": 1},
                },
                {
                    "phase": "bursts",
                    "start": 100,
                    "duration": 1700,
                    "clients": 2,
                    "arrivals": {"burst": {"size": 10, "every": 200}},
                    "sequence": ["analyze", "chat"],
                },
            ],
            "expect": [{"metric": "success_rate", "min": 0.5}],
        }
    )


@cache
def simulated(seed: int, median_s: float = 20.0, errors: float = 0.0) -> Record:
    """Return a run of that scenario in the model."""
    scenario = loaded(median_s, errors)
    model = simulate(scenario, model_settings(scenario).config, seed=seed)
    run = Run(
        scenario="crowded",
        title="Crowded",
        body=Body.SIMULATED,
        started_at="2026-01-02T03:04:05Z",
        wall_s=1.0,
        time_scale=1.0,
        seed=seed,
        timeouts_s={},
    )
    return Record(run, model.calls, [])


def side(record: Record) -> Side:
    """Return what is compared of a run."""
    return record.run, table_of(record.calls)


def verdicts(comparison: Comparison) -> dict[str, Verdict]:
    """Return the verdict of each measure that was decided."""
    return {each.name: each.verdict for each in comparison.results if each.verdict is not Verdict.UNDECIDED}


@pytest.mark.parametrize("pair", range(20))
def test_two_runs_of_the_same_thing_are_not_told_apart(pair: int) -> None:
    """Other seeds, the same conditions: whatever came out differently is chance, and is not called worse."""
    comparison = compare(side(simulated(2 * pair + 1)), side(simulated(2 * pair)))
    assert comparison.verdict is Verdict.HELD
    assert set(verdicts(comparison).values()) == {Verdict.HELD}


@pytest.mark.parametrize("seed", range(5))
def test_a_slower_provider_is_told_with_its_interval(seed: int) -> None:
    """Almost twice as slow: the median of all calls is worse, by at least the interval's lower end."""
    comparison = compare(side(simulated(100 + seed, 36.0)), side(simulated(200 + seed)))
    assert comparison.verdict is Verdict.VIOLATED
    (median,) = [each for each in comparison.results if each.name == "p50 (all tools)"]
    assert median.verdict is Verdict.VIOLATED
    assert median.low is not None
    assert median.change is not None
    assert 0 < median.low < median.change
    assert median.reason.endswith(f"worse by {percent(median.change, 'p50')}, at least {percent(median.low, 'p50')}")


def test_a_failing_provider_is_told_for_its_tools() -> None:
    """Failures are rates: they have a limit of their own, in points of a hundred calls."""
    comparison = compare(side(simulated(1, errors=0.3)), side(simulated(2)))
    assert verdicts(comparison)["failed (all tools)"] is Verdict.VIOLATED
    assert verdicts(comparison)["failed (analyze)"] is Verdict.VIOLATED
    assert verdicts(comparison)["failed (kimi_chat_with_tools)"] is Verdict.HELD


def test_what_got_better_is_not_worse() -> None:
    """A faster provider violates nothing, however sure the change is."""
    assert compare(side(simulated(1)), side(simulated(2, 40.0))).verdict is Verdict.HELD


def test_the_least_effect_must_be_passed_too() -> None:
    """A change that is no chance, but below the stated limit, is told and is no violation."""
    run, baseline = side(simulated(100, 36.0)), side(simulated(200))
    limits = dict.fromkeys(DEFAULT_LIMITS, 5.0)
    comparison = compare(run, baseline, limits)
    assert comparison.verdict is Verdict.HELD
    assert any(each.reason.endswith("worse, but by less than the limit") for each in comparison.results)


def test_a_change_that_nobody_notices_is_no_regression(calls: list[Call], a_run: Callable[..., Run]) -> None:
    """Twice as long is nothing if it is a tenth of a second."""

    def quick(latency_s: float) -> Side:
        many = [
            dataclasses.replace(calls[0], intended_at=float(n), latency_s=latency_s * (1 + n % 7 / 100))
            for n in range(600)
        ]
        return a_run(), table_of(many)

    assert compare(quick(0.2), quick(0.1)).verdict is Verdict.HELD
    assert compare(quick(20.0), quick(10.0)).verdict is Verdict.VIOLATED


def test_few_calls_decide_nothing(record: Record) -> None:
    """Six calls cannot tell a change from chance; that is neither held nor violated."""
    comparison = compare(side(record), side(record))
    assert comparison.verdict is Verdict.UNDECIDED
    assert {each.verdict for each in comparison.results} == {Verdict.UNDECIDED}
    assert "too few calls: 6, and 10 are needed" in [each.reason for each in comparison.results]


def test_what_makes_no_sense_is_refused(record: Record) -> None:
    """No calls, no tool in common, or a baseline that was cut off: there is nothing to compare, and it is said why."""
    run, table = side(record)
    other = [dataclasses.replace(call, tool="chat") for call in record.calls]
    for baseline, words in (
        ((run, table_of([])), "the baseline has no calls"),
        ((run, table_of(other)), "no tool is in both runs"),
        ((dataclasses.replace(run, stopped_by="Ctrl-C"), table), "did not come to its end: Ctrl-C"),
    ):
        with pytest.raises(NoComparisonError, match=words) as caught:
            compare((run, table), baseline)
        assert caught.value.exit_code == 2


def test_what_else_differs_is_said(record: Record) -> None:
    """A change may come from another scenario, seed, setting, cap or fault; equal ones are not named."""
    run, table = side(record)
    changed = dataclasses.replace(run, scenario="other", seed=8, caps={"global": 12}, settings={"A": "1"}, faults=())
    assert compare((changed, table), (run, table)).differs == (
        "scenario: smoke-sequential, now other",
        "seed: 7, now 8",
        "A: none, now 1",
        "cap global: 24, now 12",
        "cap session: 5, now none",
        "cap tool:analyze: 2, now none",
        "faults: client-latency, now none",
    )
    assert compare((run, table), (run, table)).differs == ()


class TestDependence:
    def test_calls_that_fail_together_are_worth_less(self) -> None:
        """Ten failures in one stretch say less than ten that are spread; independent ones say what they are."""
        blocks = Blocks(10, np.repeat(np.arange(10), 10), np.repeat(np.arange(10), 10))
        every, none = np.ones(100, dtype=bool), np.zeros(100, dtype=bool)
        together, spread = none.copy(), none.copy()
        together[:10], spread[::10] = True, True
        assert blocks.design_effect((every, together), (every, none)) > 8
        assert blocks.design_effect((every, spread), (every, none)) == 1.0

    def test_what_happens_in_both_runs_is_no_chance(self) -> None:
        """A fault that fails all calls of one stretch in both runs widens nothing."""
        blocks = Blocks(10, np.repeat(np.arange(10), 10), np.repeat(np.arange(10), 10))
        every, failed = np.ones(100, dtype=bool), np.zeros(100, dtype=bool)
        failed[:10] = True
        assert blocks.design_effect((every, failed), (every, failed)) == 1.0

    def test_few_stretches_make_intervals_wide(self) -> None:
        """The penalty is that of Student's t, and goes with the number of stretches."""
        few, many = (Blocks(n, np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)) for n in (4, 30))
        assert few.penalty(0.025) == pytest.approx((3.182 / 1.960) ** 2, rel=1e-3)
        assert 1.0 < many.penalty(0.025) < few.penalty(0.025)

    def test_a_stretch_is_at_least_a_usual_call_long(self, calls: list[Call]) -> None:
        """Calls of 40 s over 400 s make ten stretches at most, those of 1 s the most that there are."""

        def number(latency_s: float) -> int:
            table = table_of(
                [dataclasses.replace(calls[0], intended_at=float(n), latency_s=latency_s) for n in range(401)]
            )
            return blocks_of(table, table).number

        assert (number(40.0), number(1.0), number(500.0)) == (10, 30, 1)


class TestIntervals:
    def test_share_is_wilsons(self) -> None:
        """The published example: 81 of 263."""
        found = share_interval(81, 263, 1.0, 0.025)
        assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)

    def test_difference_is_newcombes(self) -> None:
        """The published example: 56 of 70 against 48 of 80."""
        found = difference(share_interval(56, 70, 1.0, 0.025), share_interval(48, 80, 1.0, 0.025))
        assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)

    def test_dependent_calls_are_counted_as_fewer(self) -> None:
        """Four times the variance doubles a share's interval, and moves a quantile's ends outward."""
        ordered = np.arange(1000, dtype=np.float64)
        one, four = (quantile_interval(ordered, 0.5, divisor, 0.025) for divisor in (1.0, 4.0))
        assert one.value == four.value == 499.0
        assert four.high - four.low == pytest.approx(2 * (one.high - one.low), rel=0.1)

    def test_an_end_that_is_not_shown_is_open(self) -> None:
        """The highest of few values bounds nothing, and no change can be told from it."""
        found = quantile_interval(np.arange(20, dtype=np.float64), 0.95, 1.0, 0.025)
        assert found.high == np.inf
        assert ratio(Interval(2.0, 1.9, 2.1), Interval(1.0, 0.9, np.inf)).low == -1.0


class TestFromNothing:
    """A model's local tools and refusals take exactly 0 s."""

    def test_a_rise_from_0_s_is_worse(self) -> None:
        """A median of 0 s that became 19.6 s is the worst change of all, and is not left out as undecided."""
        before, now = Interval(0.0, 0.0, 0.0), Interval(19.6, 18.0, 21.0)
        found = judged("", "p50", Change(now, before, ratio(now, before)), 0.1, Numbers(1000, 1000, 1.0, ""))
        assert found.verdict is Verdict.VIOLATED
        assert found.reason == "0 s before, 19.6 s now; worse by over 1000 %, at least 1000 %"
        assert change(found) == "over 1000 % (over 1000 to over 1000)"

    @pytest.mark.parametrize(("before_s", "now_s"), [(0.0, 0.0), (0.0, 0.0004), (0.02, 0.0)])
    def test_none_or_a_fall_is_not(self, before_s: float, now_s: float) -> None:
        """Nothing that stays nothing, or becomes it, is decided, and held."""
        before, now = Interval(before_s, before_s, before_s), Interval(now_s, now_s, now_s)
        found = judged("", "p50", Change(now, before, ratio(now, before)), 0.1, Numbers(1000, 1000, 1.0, ""))
        assert found.verdict is Verdict.HELD

    def test_a_rise_to_0_3_s_is_within_the_least_effect(self) -> None:
        """However big its share: nobody notices less than half a second."""
        before, now = Interval(0.0, 0.0, 0.0), Interval(0.3, 0.2, 0.4)
        found = judged("", "p50", Change(now, before, ratio(now, before)), 0.1, Numbers(1000, 1000, 1.0, ""))
        assert (found.verdict, found.reason.endswith("worse, but by less than the limit")) == (Verdict.HELD, True)

    def test_runs_of_the_model_are_decided(self) -> None:
        """Whole runs: of the calls that ended, most took no time before, and all wait now."""
        run, table = simulated(300).run, table_of(simulated(300).calls)
        quick = dataclasses.replace(table, latency_s=np.zeros_like(table.latency_s))
        found = compare((run, table), (run, quick))
        (median,) = [each for each in found.results if each.name == "p50 (all tools)"]
        assert (found.verdict, median.verdict) == (Verdict.VIOLATED, Verdict.VIOLATED)

    def test_an_upper_end_that_is_not_shown_is_open(self) -> None:
        """Such a change may be of any size; no number of 300 digits stands in its place."""
        assert ratio(Interval(2.0, 1.9, np.inf), Interval(1.0, 0.9, 1.1)).high == np.inf


class TestLimits:
    def test_shares_and_percents(self) -> None:
        """Both ways to write it mean the same; what is not given keeps its default."""
        assert limits_of(["p95=20%", "failed=0.01"]) == {**DEFAULT_LIMITS, "p95": 0.2, "failed": 0.01}

    @pytest.mark.parametrize("text", ["p95", "p95=", "p95=x", "p95=-1", "p95=nan", "p95=inf", "p42=1", ""])
    def test_mistakes_are_named(self, text: str) -> None:
        """A limit that cannot be read must not fall back to a default."""
        with pytest.raises(ValueError, match=r"none of p50|must be a share"):
            limits_of([text])


def test_the_report_shows_the_comparison(
    tmp_path: Path, make_judgement: Callable[..., Judgement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page, summary, Markdown and JUnit say the same: what got worse, by how much, and against what."""
    monkeypatch.setattr("reports.charts.gallery.CHARTS", {})  # only the plot of the comparison is looked at
    monkeypatch.setattr("reports.html._plots", only_baseline)
    worse = write_report(tmp_path, simulated(100, 36.0), make_judgement(), Against(simulated(200), DEFAULT_LIMITS))
    assert worse.verdict is Verdict.VIOLATED
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert (summary["verdict"], summary["baseline"]["verdict"]) == ("violated", "violated")
    first = summary["baseline"]["results"][0]
    assert first["verdict"] == "violated"
    assert worse.baseline is not None
    written = change(worse.baseline.results[0])
    for name in ("report.html", "summary.md"):
        text = (tmp_path / name).read_text()
        assert written in text
        assert "seed: 200, now 100" in text
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - written above
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert "p50 (all tools)" in failed
    assert (tmp_path / "plots" / "baseline.svg").exists()


def only_baseline(story: Any, drawn: Any, rows: Any) -> dict[str, dict[str, str]]:
    """Stand in for the other plots, which this test is not about."""
    names = ("latency", "p95", "failures", "in-flight", "heartbeats", "distribution", "baseline")
    return {name: {"wide": "", "narrow": ""} for name in names}


@pytest.mark.parametrize("layout", Layout)
def test_both_distributions_are_drawn(make_judgement: Callable[..., Judgement], layout: Layout) -> None:
    """The baseline is dashed, and both say of how many calls they are."""
    record, baseline = simulated(1), simulated(2)
    table = table_of(record.calls)
    story = story_of(record, summarize(record, make_judgement(), table), table, table_of(baseline.calls))
    labels = [line.get_label() for line in draw_against(story, layout).axes[0].lines]
    assert labels == [f"this run (n = {len(record.calls)})", f"baseline (n = {len(baseline.calls)})"]


def test_calls_that_never_ended_are_failures(calls: list[Call], a_run: Callable[..., Run]) -> None:
    """They are in no quantile, so the rate must tell them."""
    many = [dataclasses.replace(calls[0], intended_at=10.0 * n) for n in range(200)]
    lost = [
        dataclasses.replace(call, outcome=Outcome.UNKNOWN, latency_s=None, finished_at=None) if n % 3 else call
        for n, call in enumerate(many)
    ]
    found = verdicts(compare((a_run(), table_of(lost)), (a_run(), table_of(many))))
    assert found["failed (all tools)"] is Verdict.VIOLATED
    assert found["p50 (all tools)"] is Verdict.HELD
