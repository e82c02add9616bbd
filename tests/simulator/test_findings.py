"""The findings: each experiment shows what its document says, and the document is what the command wrote."""

import re
from pathlib import Path

import pytest

from simulator.findings import caps, retry_advice, retry_storm, ttl
from simulator.findings.catalogue import FINDINGS
from simulator.findings.document import NoPlaceError, block, replaced
from simulator.findings.experiment import Conditions, share, written
from simulator.replication.replications import Interval

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "findings.md"


class TestRetryAdvice:
    def nine(self, name: str, *, past: bool = True, replications: int = 30) -> float:
        """Return the share of nine calls at once that succeeds with an advice."""
        figures = Conditions().figures(
            retry_advice.burst(retry_advice.BURST, past=past),
            retry_advice.config_with(retry_advice.ADVICE[name]),
            range(1, replications + 1),
            warm_up_s=2400.0 if past else 0.0,
        )
        return sum(each.success_rate or 0.0 for each in figures) / replications

    def test_a_fixed_second_lets_none_of_the_refused_in(self) -> None:
        """Three of nine succeed, in every run: 0.33, as the strategy says."""
        assert self.nine("fixed:1", replications=5) == pytest.approx(1 / 3)

    def test_appointments_by_the_median_and_by_the_p90(self) -> None:
        """0.80 to 0.92 by the median, and 0.99 by the P90, as the strategy says, within what 30 runs can tell."""
        assert 0.80 <= self.nine("appointment, median") <= 0.96
        assert self.nine("appointment, P90 (shipped)") >= 0.98


class TestCaps:
    def test_beyond_the_provider_more_cap_brings_fewer_answers(self) -> None:
        """At its concurrency nothing fails there; two above it, calls do, and the daemon refuses none."""
        load = caps.scenario()
        both = [caps.at_provider(cap) for cap in (caps.CONCURRENCY, caps.CONCURRENCY + 2)]
        at, beyond = (Conditions().figures(load, config, [1, 2], warm_up_s=500.0) for config in both)
        assert all((caps.failures(each) or 0.0) < 1e-9 for each in at)
        assert all((caps.failures(each) or 0.0) > 0.1 for each in beyond)
        assert all(
            (each.goodput_per_s or 0) > (other.goodput_per_s or 0) for each, other in zip(at, beyond, strict=True)
        )


class TestTtl:
    def test_short_ones_cut_living_work_long_ones_keep_retries_waiting(self) -> None:
        """0.25 throws living work away; 2 throws next to none away, and blocks the retries of the dead."""
        slow, dead = ttl.scenario(0), ttl.scenario(ttl.RARE)
        short, long = (
            [Conditions().measures(load, ttl.config_with(multiplier), [1, 2], ttl.measure) for load in (slow, dead)]
            for multiplier in (0.25, 2.0)
        )
        assert min(each["thrown_away_s"] or 0.0 for each in short[0]) > 1000.0
        assert max(each["thrown_away_s"] or 0.0 for each in long[0]) < 200.0
        assert max(each["blocked"] or 0.0 for each in short[1]) < 1.0
        assert min(each["blocked"] or 0.0 for each in long[1]) >= 4.0


class TestRetryStorm:
    def test_appointments_need_fewer_attempts_for_as_many_answers(self) -> None:
        """Sent about twice instead of seven times, as many calls of the storm succeed."""
        found = {}
        for name, (advice, attempts) in retry_storm.VARIANTS.items():
            load = retry_storm.scenario(attempts)
            (found[name],) = Conditions().measures(load, retry_storm.config_with(advice), [1], retry_storm.measure)
        shipped, many = found["appointment, 3 attempts (shipped)"], found["fixed:1, 40 attempts"]
        assert (shipped["amplification"] or 0) < 2.5
        assert (many["amplification"] or 0) > 6.0
        assert shipped["success_storm"] == pytest.approx(
            many["success_storm"], abs=0.1
        )  # 160 calls: 8 points are 2 sigma


class TestDocument:
    TEXT = DOCUMENT.read_text("utf-8")

    @pytest.mark.parametrize("name", list(FINDINGS))
    def test_each_finding_stands_there_with_command_table_and_plot(self, name: str) -> None:
        """What was measured stands between the finding's marks, and its plots lie beside the document."""
        between = re.search(f"<!-- exai findings {name} -->(.*?)<!-- end -->", self.TEXT, re.DOTALL)
        assert between is not None
        assert f"`exai findings {name}`" in between[1]
        assert "| --- |" in between[1]
        plots = re.findall(r"\]\((findings/[\w.-]+\.svg)\)", between[1])
        assert plots
        assert [plot for plot in plots if not (DOCUMENT.parent / plot).is_file()] == []

    def test_no_plot_lies_there_unused(self) -> None:
        """Each file in the folder is shown in the document."""
        shown = set(re.findall(r"\]\(findings/([\w.-]+\.svg)\)", self.TEXT))
        assert {path.name for path in DOCUMENT.with_suffix("").glob("*")} == shown

    @pytest.mark.slow
    def test_the_same_seeds_give_the_text_that_stands_there(self) -> None:
        """The model is run again, all 40 seeds of it: about ten seconds."""
        text = block(retry_storm.study(Conditions()), "exai findings retry-storm", "findings")
        assert text in self.TEXT

    def test_only_the_place_between_the_marks_changes(self) -> None:
        """The words around it are a person's."""
        document = "before\n<!-- exai findings caps -->\nold\n<!-- end -->\nafter\n"
        assert replaced(document, "caps", "new") == (
            "before\n<!-- exai findings caps -->\n\nnew\n\n<!-- end -->\nafter\n"
        )
        with pytest.raises(NoPlaceError, match="no place for ttl"):
            replaced(document, "ttl", "new")


class TestTables:
    def test_numbers_have_their_interval(self) -> None:
        """A mean stands with both ends; minus zero is zero, and a share stays between 0 and 1."""
        assert written(Interval(0.5, 0.4, 0.6, 3)) == "0.50 (0.40 to 0.60)"
        assert written(Interval(-0.0001, -0.0001, 0.0, 3)) == "0.00 (0.00 to 0.00)"
        assert share(Interval(0.99, 0.95, 1.03, 3)) == "0.99 (0.95 to 1.00)"

    def test_what_was_not_seen_is_not_told(self) -> None:
        """No value is a dash, one value has no interval."""
        assert written(Interval(float("nan"), 0.0, 0.0, 0)) == "–"
        assert written(Interval(0.5, float("-inf"), float("inf"), 1)) == "0.50"

    def test_the_same_seeds_give_the_same_study(self) -> None:
        """All chance comes from the seeds."""
        few = Conditions(replications=2)
        assert retry_storm.study(few) == retry_storm.study(few)
