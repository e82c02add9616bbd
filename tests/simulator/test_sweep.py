"""A sweep: equal seeds for every setting, a best one only where it is sure, and a failure that costs only itself."""

import csv
import dataclasses
import io
import json
from concurrent.futures import Executor, Future
from typing import Any

import pytest

import simulator.replication.workers
from reports.study import Bars, HeatMap, Lines, Study
from reports.study_page import study_to_json
from scenarios.checks.intervals import wilson
from simulator.replication.metrics import FIGURES, Figures
from simulator.replication.replications import Task, figures_and_gaps, replicate
from simulator.result_table import with_interval
from simulator.sweep.study import comparison, costs, headline, remark, study_of, to_csv
from simulator.sweep.sweep import Row, Swept, run_sweep
from simulator.sweep.values import Point, points, read_vary
from tests.simulator.small import a_scenario

SEEDS = (3, 4, 5, 6)


class Here(Executor):
    """An executor that runs a task at once, in this thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it, and keep result or exception."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except RuntimeError as error:
            future.set_exception(error)
        return future


def swept(*texts: str, by: str = "success_rate", one_at_a_time: bool = False, seeds: tuple[int, ...] = SEEDS) -> Swept:
    """Sweep the small scenario here."""
    varied = tuple(read_vary(text) for text in texts)
    made = points(a_scenario(), varied, one_at_a_time=one_at_a_time)
    rows, cpu_s, gaps = run_sweep(
        made, seeds=seeds, warm_up_s=100.0, executor=Here(), workers=2, watch=lambda done: None
    )
    return Swept(
        name="tiny",
        varied=varied,
        one_at_a_time=one_at_a_time,
        rows=rows,
        seeds=seeds,
        warm_up_s=100.0,
        by=by,
        workers=2,
        wall_s=2.0,
        cpu_s=cpu_s,
        not_carried=gaps,
    )


CAPS = "EXAI_WS_GLOBAL_MAX_INFLIGHT=1,12"
SAME = "EXAI_WS_GLOBAL_MAX_INFLIGHT=12,14"
MODES = "EXAI_WS_RETRY_AFTER=fixed:1,appointment"


class TestRun:
    def test_every_setting_has_the_same_seeds(self) -> None:
        """Each row is what its setting gives by itself with these very seeds."""
        result = swept(CAPS)
        for row in result.rows:
            assert list(row.figures) == replicate(a_scenario(), row.point.config, seeds=SEEDS, warm_up_s=100.0)

    def test_every_end_is_told(self) -> None:
        """Who watches hears of each replication, by its number."""
        told: list[int] = []
        made = points(a_scenario(), [read_vary(CAPS)])
        run_sweep(made, seeds=SEEDS, warm_up_s=0.0, executor=Here(), workers=1, watch=told.append)
        assert told == list(range(1, 9))

    def test_one_that_fails_is_named_and_the_rest_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A setting that cannot be simulated costs its own row alone."""

        def broken(task: Task) -> tuple[Figures, tuple[str, ...]]:
            if task.config.caps.total == 1:
                raise RuntimeError("the model broke")
            return figures_and_gaps(task)

        monkeypatch.setattr(simulator.replication.workers, "figures_and_gaps", broken)
        result = swept(CAPS)
        assert [row.label for row in result.failed] == ["EXAI_WS_GLOBAL_MAX_INFLIGHT=1"]
        assert result.runs == len(SEEDS)
        assert remark(result.rows[0], result.best) == "failed: RuntimeError: the model broke"
        failed, kept = csv.DictReader(io.StringIO(to_csv(result).decode()))
        assert (failed["failed"], failed["success_rate"]) == ("RuntimeError: the model broke", "")
        assert float(kept["success_rate"]) > 0.5

    def test_what_the_model_leaves_out_is_told(self) -> None:
        """A fault that the model does not carry stands in the study."""
        made = points(a_scenario(faults=[{"at": 1, "for": 5, "signal": "SIGSTOP"}]), [read_vary(CAPS)])
        _, _, gaps = run_sweep(made, seeds=(1,), warm_up_s=0.0, executor=Here(), workers=1, watch=lambda done: None)
        assert gaps == ("fault sigstop: the model does not carry it",)


class TestBest:
    def test_one_that_is_clearly_better_is_marked(self) -> None:
        """A cap of 12 beats a cap of 1 in every replication."""
        result = swept(CAPS)
        assert result.best is not None
        assert result.best.sure
        assert result.best.row.point.values == {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "12"}
        assert [remark(row, result.best) for row in result.rows] == ["", "best"]
        assert "is best at EXAI_WS_GLOBAL_MAX_INFLIGHT=12" in headline(result)
        assert comparison(result, result.best).endswith("0 lies outside")

    def test_less_latency_is_better(self) -> None:
        """By a figure of which less is better, the smaller mean is the best one."""
        result = swept("providers.GLM.low=30,50", by="p50_s")
        assert result.best is not None
        assert result.best.row.point.values == {"providers.GLM.low": "30"}

    def test_two_that_cannot_be_told_apart_are_not(self) -> None:
        """Caps that nobody reaches give equal figures: none is marked, and the study says so."""
        result = swept(SAME)
        assert result.best is not None
        assert not result.best.sure
        assert {remark(row, result.best) for row in result.rows} == {""}
        assert "cannot be told apart" in headline(result)
        assert comparison(result, result.best).endswith("so neither is surely better")

    def test_one_replication_decides_nothing(self) -> None:
        """However large the difference: without a second replication nobody knows its interval."""
        result = swept(CAPS, seeds=(3,))
        assert result.best is not None
        assert not result.best.sure
        assert "give --replications" in comparison(result, result.best)

    def test_one_setting_has_no_other_to_beat(self) -> None:
        """A sweep of one value compares nothing."""
        result = swept("EXAI_WS_GLOBAL_MAX_INFLIGHT=4")
        assert result.best is None
        assert "nothing to compare" in headline(result)

    def test_a_value_that_is_there_already_is_no_rival(self) -> None:
        """The shipped cap of 16 said again is neither run twice nor compared with itself; its row and its line stay."""
        result = swept("EXAI_WS_GLOBAL_MAX_INFLIGHT=1,16", one_at_a_time=True)
        start, one, same = result.rows
        assert (start.repeats, one.repeats, same.repeats) == (False, False, True)
        assert same.figures == start.figures
        assert result.runs == 2 * len(SEEDS)
        assert result.best is not None
        assert (result.best.row, result.best.second, result.best.sure) == (start, one, True)
        assert [remark(row, result.best) for row in result.rows] == ["best", "", "as it is"]
        assert headline(result).startswith("2 settings × 4 replications: success_rate is best at as it is: ")
        (latency,) = [
            chart for chart in charts_of(study(result)) if isinstance(chart, Lines) and len(chart.series) == 3
        ]
        assert latency.series[0].x == (1.0, 16.0)

    def test_who_watches_hears_of_what_ran(self) -> None:
        """No replication of a repeated setting is counted."""
        told: list[int] = []
        made = points(a_scenario(), [read_vary("EXAI_WS_GLOBAL_MAX_INFLIGHT=1,16")], one_at_a_time=True)
        run_sweep(made, seeds=SEEDS, warm_up_s=0.0, executor=Here(), workers=1, watch=told.append)
        assert told == list(range(1, 9))

    @pytest.mark.parametrize(("more_s", "told"), [(4e-15, "differ by less than 0.5 s"), (0.6, "is best at")])
    def test_a_difference_that_nobody_notices_makes_none_best(self, more_s: float, told: str) -> None:
        """Rounding differs in the same direction in every replication, and is no reason to choose."""
        result = swept(SAME, by="p95_s")
        first, second = (
            tuple(dataclasses.replace(each, p95_s=20.0 + extra) for each in row.figures)
            for row, extra in zip(result.rows, (0.0, more_s), strict=True)
        )
        rows = tuple(Row(row.point, each) for row, each in zip(result.rows, (first, second), strict=True))
        assert told in headline(dataclasses.replace(result, rows=rows))

    def test_the_price_of_a_quick_setting_is_named(self) -> None:
        """By latency the smallest cap may be best, since it refuses most: how many calls are answered stands there."""
        result = swept("EXAI_WS_GLOBAL_MAX_INFLIGHT=1,12")
        quick = tuple(
            dataclasses.replace(each, p95_s=1.0 + 0.01 * number) for number, each in enumerate(result.rows[0].figures)
        )
        result = dataclasses.replace(result, rows=(Row(result.rows[0].point, quick), result.rows[1]), by="p95_s")
        assert result.best is not None
        here = with_interval(result.best.row.intervals["success_rate"], FIGURES["success_rate"])
        assert f"p95_s is best at EXAI_WS_GLOBAL_MAX_INFLIGHT=1: 1.0 ± 0.0 s, where {here} of the calls" in headline(
            result
        )
        assert "of the calls" not in headline(dataclasses.replace(result, by="success_rate"))

    def test_what_never_scattered_is_not_certain(self) -> None:
        """Four replications in which every call was answered show some hundred calls, and not that none ever fails."""
        row = swept(SAME).rows[0]
        sure = Row(row.point, tuple(dataclasses.replace(each, success_rate=1.0) for each in row.figures))
        found = sure.intervals["success_rate"]
        assert found.low == pytest.approx(wilson(calls := sum(each.calls for each in row.figures), calls)[0])
        assert with_interval(found, FIGURES["success_rate"]).startswith("100.00 −")


class TestStudy:
    def test_one_number_is_drawn_as_lines_with_bands(self) -> None:
        """Each figure over the setting, with the ends of its intervals; latencies together."""
        charts = charts_of(study(swept(CAPS)))
        assert all(isinstance(chart, Lines) for chart in charts)
        (latency,) = [chart for chart in charts if isinstance(chart, Lines) and len(chart.series) == 3]
        assert [series.label for series in latency.series] == ["p50", "p95", "p99"]
        assert latency.series[0].x == (1.0, 12.0)
        assert len(latency.series[0].low) == len(latency.series[0].high) == 2

    def test_words_are_drawn_as_bars(self) -> None:
        """Names have no order and no distance."""
        charts = charts_of(study(swept(MODES)))
        assert {type(chart) for chart in charts} == {Bars}

    def test_two_settings_are_drawn_as_a_map(self) -> None:
        """A cell for each pair: rows of the first, columns of the second."""
        charts = charts_of(study(swept(CAPS, MODES)))
        assert {type(chart) for chart in charts} == {HeatMap}
        (success,) = [chart for chart in charts if isinstance(chart, HeatMap) and "success" in chart.name]
        assert (success.y, success.x, success.unit) == (("1", "12"), ("fixed:1", "appointment"), "%")
        assert success.values[0][0] < success.values[1][0] <= 100.0

    def test_one_at_a_time_draws_each(self) -> None:
        """Each setting has its own charts, and the table starts with what is."""
        result = study(swept(CAPS, MODES, one_at_a_time=True))
        assert {type(chart) for chart in charts_of(result)} == {Lines, Bars}
        (table,) = [table for section in result.sections for table in section.tables]
        assert table.rows[0][:2] == ("as it is", "as it is")
        assert table.rows[1][:2] == ("1", "as it is")

    def test_three_settings_have_a_table(self) -> None:
        """More than two dimensions cannot be drawn; the table has them."""
        result = study(swept(CAPS, MODES, "load.0.rate=0.05", seeds=(1, 2)))
        assert charts_of(result) == []
        assert [len(table.rows) for section in result.sections for table in section.tables] == [4]

    def test_its_facts_are_json(self) -> None:
        """What a machine reads holds every figure of every setting, with null where nothing is known."""
        facts = json.loads(study_to_json(study(swept(CAPS, seeds=(3,)))))["facts"]
        assert [row["values"] for row in facts["rows"]] == [
            {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "1"},
            {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "12"},
        ]
        assert facts["rows"][0]["figures"]["success_rate"]["low"] is None
        assert set(facts["rows"][0]["figures"]) == set(FIGURES)

    def test_csv_has_every_figure_with_its_ends(self) -> None:
        """Who calculates on finds all of it, unrounded."""
        result = swept(CAPS)
        rows = list(csv.DictReader(io.StringIO(to_csv(result).decode())))
        assert [row["EXAI_WS_GLOBAL_MAX_INFLIGHT"] for row in rows] == ["1", "12"]
        for name in FIGURES:
            assert float(rows[0][f"{name}_low"]) == result.rows[0].intervals[name].low

    def test_costs(self) -> None:
        """Runs, calls, seconds and how many cores were busy."""
        result = dataclasses.replace(swept(CAPS), wall_s=2.0, cpu_s=3.0)
        assert result.speed_up == 1.5
        assert costs(result).startswith(f"8 runs, {result.calls:,} calls in 2.0 s on 2 workers")

    def test_incomplete_rows_are_no_best(self) -> None:
        """A setting without the figure in some replication is not ranked."""
        result = swept(CAPS)
        bad = Row(a_point(result), (*result.rows[1].figures[:3], without_latency(result.rows[1].figures[3])))
        odd = dataclasses.replace(result, rows=(result.rows[0], bad), by="p95_s")
        assert odd.best is None


def study(result: Swept) -> Study:
    """Return the study of a sweep."""
    return study_of(result, version="1.0")


def charts_of(result: Study) -> list[object]:
    """Return all charts of a study."""
    return [chart for section in result.sections for chart in section.charts]


def a_point(result: Swept) -> Point:
    """Return the second setting of a sweep."""
    return result.rows[1].point


def without_latency(figures: Figures) -> Figures:
    """Return figures of a replication in which no call succeeded."""
    return dataclasses.replace(figures, p50_s=None, p95_s=None, p99_s=None)
