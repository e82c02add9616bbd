"""The verdict for CI services."""

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from reports.comparison import Comparison
from reports.judging import Numbers, judged
from reports.junit import to_junit
from reports.summary import summarize
from scenarios.record import Record
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict

Suite = Callable[..., ET.Element]


@pytest.fixture
def suite_of(record: Record, make_judgement: Callable[..., Judgement]) -> Suite:
    """Return a maker of suites, of a judgement with the given facts."""

    def make(**changes: object) -> ET.Element:
        root = ET.fromstring(to_junit(summarize(record, make_judgement(**changes))))  # noqa: S314 - our own file
        return root[0]

    return make


def test_a_case_for_each_expectation_and_each_rule(suite_of: Suite) -> None:
    """What held is a case without a child."""
    suite = suite_of()
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["success_rate", "INV-06 one answer per request"]
    assert [len(case) for case in cases] == [0, 0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "2",
        "0",
        "0",
        "0",
    )


def test_a_violated_rule_is_a_failure_with_its_breaches(
    suite_of: Suite, make_rule: Callable[..., InvariantResult]
) -> None:
    """The text has what was seen, the trace_id, and how many breaches there are besides."""
    failure = suite_of(invariants=(make_rule(Verdict.VIOLATED),)).find("testcase/failure")
    assert failure is not None
    assert failure.text == (
        f"two answers came, one was due; at 12.500 s; trace_id {'0' * 32}; request_id r-0\nand 1 more"
    )


@pytest.mark.parametrize(("required", "tag"), [(True, "error"), (False, "skipped")])
def test_an_undecided_rule_is_an_error_only_if_it_had_to_be_decided(
    suite_of: Suite, make_rule: Callable[..., InvariantResult], required: bool, tag: str
) -> None:
    """CI fails for what the scenario asked for, not for what this run could never show."""
    suite = suite_of(invariants=(make_rule(Verdict.UNDECIDED, required=required),))
    assert [child.tag for child in suite.findall("testcase")[1]] == [tag]


@pytest.mark.parametrize(("verdict", "tag"), [(Verdict.VIOLATED, "failure"), (Verdict.UNDECIDED, "error")])
def test_an_expectation_without_data_does_not_pass(suite_of: Suite, verdict: Verdict, tag: str) -> None:
    """Undecided is an error, not a success."""
    result = ExpectationResult(name="p95", value=None, limit="at most 9", verdict=verdict, reason="no call")
    (child,) = suite_of(expectations=(result,)).findall("testcase")[0]
    assert child.tag == tag
    assert child.text == "no call\nseen: nothing was seen\nallowed: at most 9"


def test_what_xml_cannot_hold_is_replaced(suite_of: Suite) -> None:
    """A control character in somebody's words must not cost the whole file."""
    result = ExpectationResult(name="\x00<&", value=None, limit="", verdict=Verdict.VIOLATED, reason="\x1b[31m")
    case = suite_of(expectations=(result,)).findall("testcase")[0]
    assert case.get("name") == "�<&"


@pytest.mark.parametrize(("verdict", "errors"), [(Verdict.UNDECIDED, "1"), (Verdict.HELD, "0")])
def test_a_comparison_that_decides_nothing_does_not_pass(
    record: Record, make_judgement: Callable[..., Judgement], verdict: Verdict, errors: str
) -> None:
    """The command ends with 3 then, and CI must not show green; single measures are skipped, as before."""
    measure = judged("", "p50", None, 0.1, Numbers(6, 6, 1.0, "too few calls: 6, and 10 are needed"))
    comparison = Comparison(
        verdict=verdict,
        scenario="smoke-sequential",
        started_at="2026-01-02T03:04:05Z",
        differs=(),
        blocks=3,
        confidence=0.99,
        results=(measure,),
    )
    summary = dataclasses.replace(summarize(record, make_judgement()), baseline=comparison)
    (suite,) = ET.fromstring(to_junit(summary))  # noqa: S314 - our own file
    assert (suite.get("errors"), suite.get("skipped")) == (errors, "1")
