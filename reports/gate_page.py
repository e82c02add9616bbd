"""The page of a gate: the verdict on each stage, and the way to its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.study import Link, Section, Study, Table
from reports.study_page import render_study
from scenarios.verdict import Verdict


def gate_page(summary: Mapping[str, Any], name: str) -> bytes:
    """Return the page of a gate.

    Args:
        summary: The gate's `summary.json`, read.
        name: Of its run directory.
    """
    verdict, stages = Verdict(summary["verdict"]), summary["stages"]
    sections = [Section("Stages", "", (_stages(stages, summary["not_run"]),))]
    violated = [(stage["stage"], line) for stage in stages for line in stage["violated"]]
    if violated:
        sections.append(Section("What was violated", "", (Table("", ("stage", "what"), tuple(violated)),)))
    for heading, text, lines in (
        ("What no stage judged", "About these rules the gate says nothing.", summary["judged_nowhere"]),
        ("What was left out", "", sorted({part for stage in stages for part in stage["not_carried"]})),
    ):
        if lines:
            sections.append(Section(heading, text, (Table("", ("what",), tuple((line,) for line in lines)),)))
    study = Study("gate", name, headline(stages, summary["not_run"]), tuple(sections), verdict)
    return render_study(study, {}).encode()


def headline(stages: Sequence[Mapping[str, Any]], not_run: Sequence[str]) -> str:
    """Say how many stages held, and which did not."""
    parts = [f"{sum(stage['verdict'] == Verdict.HELD for stage in stages)} of {len(stages) + len(not_run)} stages held"]
    for verdict in (Verdict.VIOLATED, Verdict.UNDECIDED):
        names = [stage["stage"] for stage in stages if stage["verdict"] == verdict]
        parts += [f"{verdict}: {', '.join(names)}"] if names else []
    parts += [f"not run: {', '.join(not_run)}"] if not_run else []
    return "; ".join(parts)


def _stages(stages: Sequence[Mapping[str, Any]], not_run: Sequence[str]) -> Table:
    rows = [
        (
            Link(stage["stage"], f"{stage['directory']}/report.html"),
            Verdict(stage["verdict"]),
            stage.get("title", ""),
            stage["calls"],
            float(stage["wall_s"]),
            len(stage["violated"]),
            len(stage["not_judged"]),
        )
        for stage in stages
    ]
    return Table(
        "",
        ("stage", "verdict", "what it does", "calls", "took, s", "violated", "rules not judged"),
        (*rows, *((name, "not run", "", None, None, None, None) for name in not_run)),
    )
