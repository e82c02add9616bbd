"""The page of a gate: every stage with its verdict, and the way to its report."""

import re
from typing import Any

from reports.gate_page import gate_page, headline


def a_stage(name: str, verdict: str, **changes: Any) -> dict[str, Any]:
    """Return a stage as the gate's summary holds it."""
    stage = {
        "stage": name,
        "title": f"What {name} does",
        "verdict": verdict,
        "directory": name,
        "wall_s": 12.345,
        "calls": 6,
        "violated": [],
        "not_judged": ["INV-08"],
        "not_carried": [],
    }
    return stage | changes


def a_gate(**changes: Any) -> dict[str, Any]:
    """Return the summary of a gate of three stages, of which one was not run."""
    summary: dict[str, Any] = {
        "schema_version": 1,
        "kind": "gate",
        "verdict": "violated",
        "stages": [
            a_stage("smoke", "held"),
            a_stage("chaos", "violated", violated=["success_rate: 1 of <2>"], not_carried=["signals"]),
        ],
        "not_run": ["protocol"],
        "judged_nowhere": ["INV-23 clocks"],
    }
    return summary | changes


def cells(page: str) -> list[str]:
    """Return the words of all cells."""
    return [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)]


def test_every_stage_stands_with_its_verdict_and_its_report() -> None:
    """From the page a person comes to the report of each stage; one that was not run cannot be overlooked."""
    page = gate_page(a_gate(), "20260102T030405Z-gate").decode()
    assert cells(page)[:7] == ["smoke", "held", "What smoke does", "6", "12.3", "0", "1"]
    assert 'href="chaos/report.html"' in page
    assert cells(page)[14:16] == ["protocol", "not run"]
    body = re.sub(r"<[^>]*>", " ", page[page.index("<body>") :]).split()
    assert body[0] == "violated"


def test_what_is_wrong_and_what_is_open_is_told() -> None:
    """Breaches, rules that no stage judged, and what was left out stand on the page, as words."""
    page = gate_page(a_gate(), "gate").decode()
    listed = re.findall(r"<li>\s*(.*?)\s*</li>", page, re.DOTALL)
    assert {"success_rate: 1 of &lt;2&gt;", "INV-23 clocks", "signals"} <= {*cells(page), *listed}


def test_the_headline_counts() -> None:
    """How many held, which did not, and which were not run."""
    gate = a_gate()
    assert headline(gate["stages"], gate["not_run"]) == "1 of 3 stages held; violated: chaos; not run: protocol"
    assert headline([a_stage("smoke", "held")], []) == "1 of 1 stages held"


def test_the_same_gate_gives_the_same_bytes() -> None:
    """Nothing but the summary is in the page."""
    assert gate_page(a_gate(), "gate") == gate_page(a_gate(), "gate")
