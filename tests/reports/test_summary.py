"""The summary that machines read."""

import json
from collections.abc import Callable

import pytest

from reports.summary import SCHEMA_VERSION, summarize, to_json
from scenarios.history import Call
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, Verdict

MakeRun = Callable[..., Run]


def judged(verdict: Verdict) -> ExpectationResult:
    """Make an expectation with that verdict."""
    return ExpectationResult(name="x", value=None, limit="0", verdict=verdict, reason="because")


class TestVerdict:
    def test_is_that_of_the_worst_expectation(self, a_run: MakeRun) -> None:
        """One violated expectation is a violated run."""
        run = a_run(expectations=(judged(Verdict.HELD), judged(Verdict.VIOLATED), judged(Verdict.UNDECIDED)))
        assert summarize(run, []).verdict is Verdict.VIOLATED

    def test_a_run_that_was_stopped_has_not_held(self, a_run: MakeRun) -> None:
        """What was seen until then may all be good; the rest nobody saw."""
        assert summarize(a_run(stopped_by="interrupted"), []).verdict is Verdict.UNDECIDED

    def test_a_run_that_was_stopped_after_a_violation_is_violated(self, a_run: MakeRun) -> None:
        """A violation stays one, however the run went on."""
        run = a_run(expectations=(judged(Verdict.VIOLATED),), stopped_by="interrupted")
        assert summarize(run, []).verdict is Verdict.VIOLATED

    def test_a_run_without_expectations_is_undecided(self, a_run: MakeRun) -> None:
        """Who expects nothing learns nothing."""
        assert summarize(a_run(expectations=()), []).verdict is Verdict.UNDECIDED


class TestJson:
    @pytest.fixture
    def document(self, a_run: MakeRun, mixed: list[Call]) -> dict[str, object]:
        """Return the summary of a mixed run, read back."""
        read: dict[str, object] = json.loads(to_json(summarize(a_run(), mixed)))
        return read

    def test_has_exactly_these_fields(self, document: dict[str, object]) -> None:
        """The fields are a contract; whoever changes one thinks of the version."""
        assert list(document) == [
            "schema_version",
            "verdict",
            "scenario",
            "title",
            "started_at",
            "wall_s",
            "time_scale",
            "seed",
            "timeouts_s",
            "versions",
            "faults",
            "expectations",
            "stopped_by",
            "outcomes",
            "quantiles",
        ]
        assert document["schema_version"] == SCHEMA_VERSION == 1

    def test_counts_every_outcome(self, document: dict[str, object]) -> None:
        """The counts add up to the calls, those without an end included."""
        assert document["outcomes"] == {
            "connection_lost": 1,
            "ok": 2,
            "provider_error": 1,
            "timeout": 1,
            "unknown": 1,
        }

    def test_carries_the_proof_that_a_fault_bit(self, document: dict[str, object]) -> None:
        """The round trips themselves are kept, so that the proof can be checked again."""
        assert isinstance(document["faults"], list)
        assert document["faults"][0]["proof"] == {
            "before_s": [0.02],
            "during_s": [0.31],
            "after_s": [0.03],
            "least_s": 0.2,
        }
