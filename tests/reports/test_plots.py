"""The latency plot: the same run gives the same picture, whatever the run was like."""

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from matplotlib.axes import Axes

from reports import plots
from reports.plots import Layout, latency_png, latency_svg
from scenarios.history import Call, Outcome
from scenarios.run import Run

MakeRun = Callable[..., Run]


def axes_of(run: Run, calls: list[Call]) -> Axes:
    """Draw the plot and return its axes."""
    (axes,) = plots._figure(run, calls, Layout.WIDE).axes
    return axes


def texts_of(axes: Axes) -> list[str]:
    """Return what is written into the plot."""
    return [text.get_text() for text in axes.texts]


class TestBytes:
    @pytest.mark.parametrize("layout", Layout)
    def test_the_same_run_gives_the_same_svg(self, a_run: MakeRun, mixed: list[Call], layout: Layout) -> None:
        """No date and no random id: two reports can be compared byte by byte."""
        assert latency_svg(a_run(), mixed, layout) == latency_svg(a_run(), mixed, layout)

    def test_the_same_run_gives_the_same_png(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """The same holds for the picture in pixels."""
        assert latency_png(a_run(), mixed) == latency_png(a_run(), mixed)

    def test_svg_is_well_formed(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """Any viewer can read it."""
        assert ET.fromstring(latency_svg(a_run(), mixed)).tag.endswith("svg")  # noqa: S314 - our own drawing


class TestCalls:
    def test_every_call_with_an_end_is_a_mark(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """Five of six ended; each stands at its intended start and its latency."""
        collections = axes_of(a_run(), mixed).collections
        marks = [tuple(mark) for marks in collections for mark in marks.get_offsets().tolist()]  # type: ignore[union-attr]
        expected = [(call.intended_at, call.latency_s) for call in mixed if call.latency_s is not None]
        assert sorted(marks) == sorted(expected)

    def test_the_title_counts_those_that_never_ended(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """What cannot be drawn is told."""
        title = axes_of(a_run(), mixed).get_title(loc="left")
        assert title == "Latency of each call (n = 5)\n1 never ended and cannot be shown"

    def test_the_legend_names_each_outcome_with_its_count(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """Two calls that were answered are one entry; an outcome that did not occur is none."""
        labels = axes_of(a_run(), mixed).get_legend_handles_labels()[1]
        assert sorted(labels) == ["connection lost (1)", "ok (2)", "provider error (1)", "timeout (1)"]

    def test_an_empty_history_is_drawn_and_says_so(self, a_run: MakeRun) -> None:
        """A run without calls has a plot, not a crash."""
        assert "no call ended" in texts_of(axes_of(a_run(faults=()), []))

    def test_every_outcome_has_a_mark_of_its_own(self) -> None:
        """Colour and shape together tell any two outcomes apart."""
        assert set(plots._MARKS) == set(Outcome)
        assert len(set(plots._MARKS.values())) == len(Outcome)


class TestReferences:
    def test_a_fault_window_is_shaded_and_named(self, a_run: MakeRun, calls: list[Call]) -> None:
        """The reader sees when the fault was active, and what it was."""
        axes = axes_of(a_run(), calls)
        (window,) = axes.patches
        extents = window.get_extents().transformed(axes.transData.inverted())
        assert (extents.x0, extents.x1) == pytest.approx((118.0, 245.0))
        assert "200 ± 100 ms each way\nclient to daemon" in texts_of(axes)

    def test_a_fault_without_an_end_lasts_until_the_last_call(self, a_run: MakeRun, calls: list[Call]) -> None:
        """A run that was stopped during the fault is shaded to its end."""
        (fault,) = a_run().faults
        axes = axes_of(a_run(faults=(dataclasses.replace(fault, ended_at=None),)), calls)
        extents = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert extents.x1 == pytest.approx(245.0)

    def test_timeouts_far_above_all_calls_are_not_drawn(self, a_run: MakeRun, calls: list[Call]) -> None:
        """Calls of 40 to 45 s under a line at 180 s would be a flat ribbon."""
        assert not [text for text in texts_of(axes_of(a_run(), calls)) if "timeout" in text]

    def test_timeouts_that_calls_came_near_are_drawn(self, a_run: MakeRun, mixed: list[Call]) -> None:
        """A call of 180 s shows which limit it met."""
        texts = texts_of(axes_of(a_run(), mixed))
        assert {"call timeout 180 s", "expert budget 90 s"} <= set(texts)
