"""The page says what `summary.json` says, and another process writes the same bytes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.page import seconds
from reports.write import write_report
from scenarios.history import Call
from scenarios.record import Record
from scenarios.run import Run
from scenarios.verdict import InvariantResult, Judgement, Verdict


@pytest.fixture
def written(
    tmp_path: Path,
    a_run: Callable[..., Run],
    mixed: list[Call],
    make_judgement: Callable[..., Judgement],
    make_rule: Callable[..., InvariantResult],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[dict[str, Any], list[list[str]], str]:
    """Return the summary of a mixed run, the rows of its page, and the page."""
    nothing = {"wide": "", "narrow": ""}
    names = ("latency", "p95", "failures", "in-flight", "heartbeats", "distribution")
    monkeypatch.setattr("reports.charts.gallery.CHARTS", {})  # the numbers stand in the tables
    monkeypatch.setattr("reports.html._plots", lambda *_: dict.fromkeys(names, nothing))
    rules = (make_rule(Verdict.VIOLATED), make_rule(rule="INV-07", title="other", judged=12))
    write_report(tmp_path, Record(a_run(), mixed, []), make_judgement(invariants=rules))
    page = (tmp_path / "report.html").read_text()
    rows = [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    ]
    return json.loads((tmp_path / "summary.json").read_bytes()), rows, page


def quantile(found: dict[str, Any] | None) -> str:
    """Write a quantile of the summary as the page does."""
    if found is None:
        return "–"
    low, high = ("?" if found[end] is None else seconds(found[end]) for end in ("low_s", "high_s"))
    return f"{seconds(found['value_s'])} ({low} to {high})"


def definitions(page: str) -> Iterator[tuple[str, str]]:
    """Give the names and values that stand in lists."""
    yield from re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)


def test_quantiles_are_those_of_the_summary(written: tuple[dict[str, Any], list[list[str]], str]) -> None:
    """Each phase and tool has the same counts and the same values, with the same ends of the intervals."""
    summary, rows, _ = written
    for found in summary["quantiles"]:
        row = [found["phase"], found["tool"], str(found["n"]), str(found["succeeded"]), str(found["never_ended"])]
        row += [quantile(found[name]) for name in ("p50", "p95", "p99")] + [seconds(found["max_s"])]
        assert row in rows


def test_counts_are_those_of_the_summary(written: tuple[dict[str, Any], list[list[str]], str]) -> None:
    """Outcomes, who gave up first, attempts and waits."""
    summary, _, page = written
    listed = list(definitions(page))
    for name, number in summary["outcomes"].items():
        assert (name.replace("_", " "), str(number)) in listed
    for name, number in summary["timeouts"].items():
        assert (f"gave up first: {name}", str(number)) in listed
    assert ("Calls sent 1 time", str(summary["attempts"]["1"])) in listed
    assert ("Waits between attempts", f"{seconds(summary['retry_wait_s'])} s in all") in listed
    assert ("Seed", str(summary["seed"])) in listed
    assert f"{summary['calls']} calls" in page


def test_judgements_are_those_of_the_summary(written: tuple[dict[str, Any], list[list[str]], str]) -> None:
    """Expectations and rules, with what was seen and counted."""
    summary, rows, _ = written
    (expectation,) = summary["expectations"]
    seen = f"{expectation['value']:.4g} ({expectation['low']:.4g} to {expectation['high']:.4g})"
    assert [expectation["name"], expectation["verdict"], seen, expectation["limit"], expectation["reason"]] in rows
    for rule in summary["invariants"]:
        name = f"{rule['rule']} {rule['title']}"
        assert [name, rule["verdict"], str(rule["judged"]), str(rule["violated"]), rule["reason"]] in rows


WRITE = """
import pathlib, sys
from reports.write import write_report
from scenarios.record import read_record
from scenarios.verdict import ExpectationResult, Judgement, Verdict
result = ExpectationResult(name="rate", value=1.0, limit="1", verdict=Verdict.HELD, reason="why")
write_report(pathlib.Path(sys.argv[2]), read_record(pathlib.Path(sys.argv[1])), Judgement(expectations=(result,)))
"""


def test_another_process_writes_the_same_bytes(tmp_path: Path, mixed: list[Call], a_run: Callable[..., Run]) -> None:
    """The report of a history that was kept does not depend on the process, nor on the order in which it hashes."""
    from scenarios.history import write_calls
    from scenarios.record import CALLS, EVENTS, encode_events

    write_calls(tmp_path / CALLS, mixed)
    (tmp_path / EVENTS).write_bytes(encode_events(a_run(), ()))
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        subprocess.run([sys.executable, "-c", WRITE, tmp_path, tmp_path / seed], env=environment, check=True)
    first = {path.relative_to(tmp_path / "1"): path.read_bytes() for path in (tmp_path / "1").rglob("*.*")}
    other = {path.relative_to(tmp_path / "2"): path.read_bytes() for path in (tmp_path / "2").rglob("*.*")}
    assert len(first) == 4 + 2 * 6
    assert first == other
