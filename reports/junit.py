"""The verdict as JUnit XML, which every CI service reads: one test case per expectation and per rule."""

import re
import xml.etree.ElementTree as ET
from typing import Final

from reports.comparison import Compared, Comparison
from reports.study import Study
from reports.summary import NotJudged, Summary
from scenarios.verdict import ExpectationResult, InvariantResult, Verdict, Violation

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even escaped."""


def to_junit(summary: Summary) -> bytes:
    """Return the suite: violated is a failure, undecided an error where it had to be decided, else skipped."""
    suite = ET.Element("testsuite", name=_clean(summary.run.scenario), timestamp=summary.run.started_at)
    suite.set("time", f"{summary.run.wall_s:.3f}")
    properties = ET.SubElement(suite, "properties")
    for name in ("verdict", "body", "seed", "time_scale", "target"):
        value = summary.verdict if name == "verdict" else getattr(summary.run, name)
        ET.SubElement(properties, "property", name=name, value=_clean(str(value)))
    for expectation in summary.expectations:
        _add_expectation(suite, expectation)
    if summary.baseline is not None:
        _add_baseline(suite, summary.baseline)
    for rule in summary.invariants:
        _add_rule(suite, rule)
    for left_out in summary.not_judged:
        _add_left_out(suite, left_out)
    return _written(suite)


def study_to_junit(study: Study) -> bytes:
    """Return a study as a suite: what it judged one by one, or else its verdict as the only case."""
    suite = ET.Element("testsuite", name=_clean(f"{study.kind} {study.name}"), time="0")
    for expectation in study.expectations:
        _add_expectation(suite, expectation)
    if not study.expectations and study.verdict is not None:
        _say(_case(suite, study.kind, study.name), study.verdict, study.headline, study.headline)
    return _written(suite)


def _written(suite: ET.Element) -> bytes:
    _count(suite)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add_expectation(suite: ET.Element, result: ExpectationResult) -> None:
    case = _case(suite, "expectations", result.name)
    value = "nothing was seen" if result.value is None else f"{result.value:.6g}"
    details = f"{result.reason}\nseen: {value}\nallowed: {result.limit}"
    _say(case, result.verdict, result.reason, details)


def _add_baseline(suite: ET.Element, comparison: Comparison) -> None:
    """Add a case for each measure; a comparison that decides nothing at all is an error, as it is for the command."""
    if comparison.verdict is Verdict.UNDECIDED:
        why = "nothing could be compared with the baseline"
        _say(_case(suite, "baseline", "comparison"), comparison.verdict, why, why)
    for compared in comparison.results:
        _add_compared(suite, compared)


def _add_compared(suite: ET.Element, compared: Compared) -> None:
    """Add a measure; one that cannot be compared is no error, since others are."""
    result = compared.as_expectation
    case = _case(suite, "baseline", result.name)
    if result.verdict is Verdict.UNDECIDED:
        ET.SubElement(case, "skipped", message=_clean(result.reason))
    else:
        _say(case, result.verdict, result.reason, f"{result.reason}\nallowed: {result.limit}")


def _add_rule(suite: ET.Element, result: InvariantResult) -> None:
    case = _case(suite, "invariants", f"{result.rule} {result.title}")
    if result.meant:
        return  # its expectation says whether it was broken, as it was meant to be
    shown = [_violation(each) for each in result.violations]
    if result.violated > len(shown):
        shown.append(f"and {result.violated - len(shown)} more")
    _say(case, result.verdict, result.reason, "\n".join(shown) or result.reason)


def _add_left_out(suite: ET.Element, result: NotJudged) -> None:
    case = _case(suite, "invariants", f"{result.rule} {result.title}")
    ET.SubElement(case, "skipped", message=_clean(result.reason))


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    scenario = suite.get("name", "")
    return ET.SubElement(suite, "testcase", classname=f"{scenario}.{group}", name=_clean(name.strip()), time="0")


def _say(case: ET.Element, verdict: Verdict, message: str, details: str) -> None:
    if verdict is Verdict.HELD:
        return
    tag = "failure" if verdict is Verdict.VIOLATED else "error"
    ET.SubElement(case, tag, message=_clean(message), type=str(verdict)).text = _clean(details)


def _violation(violation: Violation) -> str:
    """Write one breach: what, when, and under which trace_ids the logs tell more."""
    parts = [violation.what]
    parts += [f"at {violation.at:.3f} s"] if violation.at is not None else []
    parts += [f"trace_id {trace_id}" for trace_id in violation.trace_ids]
    parts += [f"request_id {request_id}" for request_id in violation.request_ids]
    return "; ".join(parts) + "".join(f"\n    {event}" for event in violation.events)


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
