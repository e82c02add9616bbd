"""The verification plan as a gate: stage after stage, each a run of its own under one folder, and one verdict."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.conduct import Conducted, Report, conduct
from chaos.drill import Checked, Options, check
from chaos.protocol_stage import protocol_scenario, run_protocol_stage
from chaos.runner import Watcher
from chaos.stages import STAGES
from reference_daemon.clock import Clock
from scenarios.load import find_scenario, load_scenario
from scenarios.model import Daemon
from scenarios.run_directory import RunDirectory
from scenarios.verdict import Verdict, worst

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class StageResult:
    """One stage that is over."""

    stage: str
    conducted: Conducted


def checked_stage(stage: str, options: Options, *, defect: str | None = None) -> Checked:
    """Return what a stage runs, checked before anything starts.

    Raises:
        ScenarioError: A shipped scenario has been changed and is wrong.
        DrillSettingsError: A setting of --env-file is wrong.
    """
    name = STAGES[stage]
    if name is None:
        scenario = protocol_scenario(options.time_scale, embedded=options.target is None)
    else:
        scenario = load_scenario(find_scenario(name)).model_copy(update={"time_scale": options.time_scale})
    if defect is not None:
        scenario = scenario.model_copy(update={"daemon": Daemon(defect=defect)})
    return check(scenario, env_file=options.env_file, target=options.target)


def run_stage(
    stage: str, what: Checked, options: Options, parent: Path, watcher: Watcher, *, report: Report
) -> StageResult:
    """Run one stage in a folder of its own under `parent`."""
    directory = RunDirectory.named(parent, stage)
    clock = Clock(options.time_scale)
    mine = replace(options, seed=what.scenario.seed, started_at=datetime.now(UTC))
    if STAGES[stage] is None:
        conducted = run_protocol_stage(what, mine, directory, watcher, clock=clock, report=report)
    else:
        conducted = conduct(what, mine, directory, watcher, clock=clock, report=report)
    return StageResult(stage, conducted)


def verdict_of(results: Sequence[StageResult], stages: Sequence[str]) -> Verdict:
    """Return the verdict on the gate; a stage that was not run leaves it undecided."""
    verdicts = [result.conducted.verdict for result in results]
    if len(results) < len(stages):
        verdicts.append(Verdict.UNDECIDED)
    return worst(verdicts)


def write_gate(directory: RunDirectory, results: Sequence[StageResult], stages: Sequence[str]) -> dict[str, Any]:
    """Write the gate's own summary.json, summary.md and junit.xml over those of its stages; return the summary."""
    summary = _summary(results, stages)
    directory.write("summary.json", msgspec.json.format(msgspec.json.encode(summary)))
    directory.write("summary.md", _markdown(summary).encode())
    directory.write("junit.xml", _junit(results))
    return summary


def _summary(results: Sequence[StageResult], stages: Sequence[str]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "gate",
        "verdict": verdict_of(results, stages).value,
        "stages": [
            {
                "stage": result.stage,
                "title": result.conducted.record.run.title,
                "verdict": result.conducted.verdict.value,
                "directory": result.conducted.path.name,
                "wall_s": result.conducted.record.run.wall_s,
                "calls": len(result.conducted.record.calls),
                "violated": _violated(result.conducted),
                "not_judged": [rule.rule for rule in result.conducted.judgement.not_judged],
                "not_carried": list(result.conducted.record.run.not_carried),
            }
            for result in results
        ],
        "not_run": [stage for stage in stages if stage not in {result.stage for result in results}],
        "judged_nowhere": _judged_nowhere(results),
    }


def _violated(conducted: Conducted) -> list[str]:
    """Return one line for everything that was violated."""
    judgement = conducted.judgement
    lines = [f"{e.name}: {e.reason}" for e in judgement.expectations if e.verdict is Verdict.VIOLATED]
    return lines + [f"{r.rule} {r.title}: {r.reason}" for r in judgement.invariants if r.verdict is Verdict.VIOLATED]


def _judged_nowhere(results: Sequence[StageResult]) -> list[str]:
    """Return the rules that no stage decided."""
    seen = {rule.rule: rule.title for result in results for rule in result.conducted.judgement.invariants}
    decided = {
        rule.rule
        for result in results
        for rule in result.conducted.judgement.invariants
        if rule.verdict is not Verdict.UNDECIDED
    }
    return [f"{rule} {title}" for rule, title in sorted(seen.items()) if rule not in decided]


def _markdown(summary: dict[str, Any]) -> str:
    lines = [
        f"## Gate: {summary['verdict']}",
        "",
        "| stage | verdict | calls | wall s |",
        "| --- | --- | ---: | ---: |",
    ]
    lines += [f"| {s['stage']} | {s['verdict']} | {s['calls']} | {s['wall_s']:.0f} |" for s in summary["stages"]]
    for stage in summary["stages"]:
        lines += ["", f"**{stage['stage']}**"] if stage["violated"] else []
        lines += [f"- {line}" for line in stage["violated"]]
    lines += ["", "Not run: " + ", ".join(summary["not_run"])] if summary["not_run"] else []
    if summary["judged_nowhere"]:
        lines += ["", "Not judged by any stage: " + "; ".join(summary["judged_nowhere"])]
    left_out = sorted({part for stage in summary["stages"] for part in stage["not_carried"]})
    lines += ["", "Left out:", *(f"- {part}" for part in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def _junit(results: Sequence[StageResult]) -> bytes:
    """Return the stages' test suites in one file."""
    root = ET.Element("testsuites", name="exai gate")
    for result in results:
        path = result.conducted.path / "junit.xml"
        stage = ET.parse(path).getroot()  # noqa: S314 - the file was written by us a moment ago
        root.extend([stage] if stage.tag == "testsuite" else list(stage))
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root)
