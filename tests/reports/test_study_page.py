"""The report of a study: its files, its numbers, and its words."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.cells import shown
from reports.study import Bars, HeatMap, Lines, Link, Section, Series, Study, Table
from reports.study_page import write_study
from scenarios.run_directory import RunDirectoryError
from scenarios.verdict import ExpectationResult, Verdict


def a_study(**changes: Any) -> Study:
    """Make a study with a table and charts, with the given facts changed."""
    table = Table(
        "P95 by cap",
        ("cap", "P95, s", "held", "page"),
        ((8, 151.23456, Verdict.HELD, Link("the run", "a/report.html")), (16, nan, Verdict.VIOLATED, None)),
    )
    sections = (
        Section(
            "What the cap does",
            "A smaller cap makes callers wait.",
            (table,),
            (
                Lines("cap", "P95", "cap", "s", (Series("P95", (8.0, 16.0), (151.2, 90.0)),)),
                HeatMap("grid", "P95", "a", "b", ("1",), ("2",), ((151.23456,),), "s"),
            ),
        ),
        Section("Influence", "", charts=(Bars("cap", "Influence", "", ("a", "b"), (0.5, 0.25)),)),
    )
    fields: dict[str, Any] = {
        "kind": "sweep",
        "name": "slow-provider",
        "headline": "16 is the best cap",
        "sections": sections,
        "facts": {"best": 16, "p95_s": np.float64(90.5), "cells": np.array([1, 2]), "none": nan},
        "settings": {"seed": "7"},
    }
    return Study(**fields | changes)


def files(directory: Path) -> set[str]:
    """Return the names of all files."""
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_writes_the_files_of_a_report(tmp_path: Path) -> None:
    """A page, a plot per chart, and what machines read; nothing is judged, so there is nothing for JUnit."""
    write_study(tmp_path, a_study())
    plots = {f"plots/{name}.{kind}" for name in ("cap", "cap-2", "grid") for kind in ("svg", "png")}
    assert files(tmp_path) == plots | {"report.html", "summary.json", "summary.md"}


def test_a_verdict_is_a_test_case(tmp_path: Path) -> None:
    """A study that can fail fails in CI: as a whole, or by each thing that it judged."""
    write_study(tmp_path, a_study(verdict=Verdict.VIOLATED))
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - written a line above
    assert [(case.get("name"), case[0].tag) for case in suite] == [("slow-provider", "failure")]
    judged = tuple(
        ExpectationResult(name=verdict, value=1.0, limit="at most 2", verdict=verdict, reason="seen")
        for verdict in Verdict
    )
    write_study(tmp_path, a_study(verdict=Verdict.VIOLATED, expectations=judged))
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - written a line above
    assert {case.get("name"): [child.tag for child in case] for case in suite} == {
        "held": [],
        "violated": ["failure"],
        "undecided": ["error"],
    }


def test_the_summary_keeps_whole_numbers(tmp_path: Path) -> None:
    """What the page rounds, a machine reads whole; what is no number is null, never 0."""
    write_study(tmp_path, a_study(verdict=Verdict.HELD))
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert (summary["schema_version"], summary["kind"], summary["verdict"]) == (1, "sweep", "held")
    assert summary["facts"] == {"best": 16, "p95_s": 90.5, "cells": [1, 2], "none": None}
    (table,) = summary["tables"]
    assert table["columns"] == ["cap", "P95, s", "held", "page"]
    assert table["rows"] == [
        [8, 151.23456, "held", {"text": "the run", "target": "a/report.html"}],
        [16, None, "violated", None],
    ]
    assert [chart.get("values") for chart in summary["charts"]] == [None, [[151.23456]], [0.5, 0.25]]


def test_the_page_says_what_the_summary_says(tmp_path: Path) -> None:
    """The same cells stand on the page, in the same order, written for people."""
    write_study(tmp_path, a_study())
    page = (tmp_path / "report.html").read_text()
    rows = json.loads((tmp_path / "summary.json").read_bytes())["tables"][0]["rows"]
    cells = [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)]
    assert cells == [
        shown(Link(**cell) if isinstance(cell, dict) else nan if (row, place) == (1, 1) else cell)
        for row, line in enumerate(rows)
        for place, cell in enumerate(line)
    ]
    assert '<a href="a/report.html">the run</a>' in page


def test_the_verdict_comes_first_and_words_are_words(tmp_path: Path) -> None:
    """What others wrote is text; no file beside the page is loaded, and no id occurs twice."""
    write_study(tmp_path, a_study(verdict=Verdict.UNDECIDED, headline="<script>alert(1)</script>"))
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert re.findall(r'src=|url\((?!#)|href="http', page) == []
    body = page[page.index("<body>") :]
    assert re.sub(r"<[^>]*>", " ", body).split()[0] == "undecided"
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_markdown_holds_the_tables(tmp_path: Path) -> None:
    """The summary of a CI job shows headline, judgement and tables; a bar in a name is no column."""
    judged = ExpectationResult(name="a|b", value=None, limit="1", verdict=Verdict.UNDECIDED, reason="nothing")
    write_study(tmp_path, a_study(verdict=Verdict.UNDECIDED, expectations=(judged,)))
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("## ❔ undecided: sweep slow-provider\n\n16 is the best cap\n")
    assert r"| ❔ undecided | a\|b | – | 1 | nothing |" in text
    assert "| 8 | 151 | ✅ held | the run |" in text


WRITE = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("other", sys.argv[1])
other = importlib.util.module_from_spec(spec)
spec.loader.exec_module(other)
other.write_study(pathlib.Path(sys.argv[2]), other.a_study())
"""


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    """Nothing depends on the process, nor on the order in which it hashes."""
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        subprocess.run([sys.executable, "-c", WRITE, __file__, tmp_path / seed], env=environment, check=True)
    names = files(tmp_path / "1")
    assert names == files(tmp_path / "2")
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in names)


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error says which file and why."""
    (tmp_path / "summary.md").mkdir()
    with pytest.raises(RunDirectoryError, match=r"cannot write .*summary\.md: "):
        write_study(tmp_path, a_study())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0, "0"),
        (1_234_567, "1234567"),
        (1234567.0, "1.23e+06"),
        (0.99999, "1"),
        (999.9, "1000"),
        (123456.0, "123000"),
        (12.0, "12"),
        (-0.012345, "-0.0123"),
        (0.00001234, "1.23e-05"),
        (nan, "–"),
        (-inf, "−∞"),
        (None, "–"),
        (True, "yes"),
        ("as it is", "as it is"),
        (Link("text", "target"), "text"),
    ],
)
def test_numbers_have_three_digits(value: Any, written: str) -> None:
    """A count is whole; another number has three significant digits, and no exponent where it can be read without."""
    assert shown(value) == written
