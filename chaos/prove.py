"""The gate's own power: each seeded defect must be caught by the rule meant for it, and the clean daemon by none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from chaos.conduct import Conducted, Report, conduct
from chaos.defects import DEFECTS, Defect
from chaos.drill import Checked, Options, check
from chaos.gate import checked_stage, run_stage
from chaos.runner import Watcher
from chaos.stages import STAGES
from reference_daemon.clock import Clock
from scenarios.load import find_scenario, load_scenario
from scenarios.model import Daemon, Expectation, Scenario
from scenarios.run_directory import RunDirectory
from scenarios.verdict import Verdict, worst

CLEAN = "(none: the daemon as it is)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What became of one defect.

    Attributes:
        defect: Its name; `CLEAN` for the clean daemon.
        title: What it changes.
        stage: Stage or scenario that was run.
        rule: What must fire; "" for the clean daemon.
        fired: Everything that was violated, by name.
        verdict: Held: it was caught by its rule, or the clean daemon was accused of nothing. Undecided: the run said
            nothing, or the gate cannot see this defect.
        why: One sentence.
        wall_s: Wall seconds of the run.
    """

    defect: str
    title: str
    stage: str
    rule: str
    fired: tuple[str, ...]
    verdict: Verdict
    why: str
    wall_s: float


def stages_of(defects: Iterable[Defect]) -> list[str]:
    """Return the stages and scenarios that the defects need, each once."""
    return list(dict.fromkeys(defect.stage for defect in defects if defect.judged_by == "gate"))


def prove_clean(stage: str, options: Options, parent: Path, watcher: Watcher, *, report: Report) -> Proof:
    """Run a stage on the clean daemon: nothing may be accused."""
    conducted = _run(stage, None, options, parent, watcher, report)
    fired = fired_in(conducted)
    why = "accused of nothing" if conducted.verdict is Verdict.HELD else f"{conducted.verdict}: {', '.join(fired)}"
    return Proof(
        defect=CLEAN,
        title="",
        stage=stage,
        rule="",
        fired=fired,
        verdict=conducted.verdict,
        why=why,
        wall_s=conducted.record.run.wall_s,
    )


def prove(name: str, options: Options, parent: Path, watcher: Watcher, *, report: Report, whole: bool = False) -> Proof:
    """Run the stage that must catch a defect; unless `whole`, of the protocol stage what is asked about its rule."""
    defect = DEFECTS[name]
    if defect.judged_by != "gate":
        why = f"not for the gate: only {defect.judged_by} can judge it"
        return _proof(name, defect, (), Verdict.UNDECIDED, why, 0.0)
    rule = None if whole else defect.rule
    conducted = _run(defect.stage, name, options, parent, watcher, report, rule=rule)
    fired = fired_in(conducted)
    wall_s = conducted.record.run.wall_s
    if defect.rule in fired:
        return _proof(name, defect, fired, Verdict.HELD, f"caught by {defect.rule}", wall_s)
    if conducted.record.run.stopped_by is not None:
        return _proof(name, defect, fired, Verdict.UNDECIDED, f"stopped: {conducted.record.run.stopped_by}", wall_s)
    others = f"only {', '.join(fired)} fired" if fired else "nothing fired"
    return _proof(name, defect, fired, Verdict.VIOLATED, f"not caught by {defect.rule}: {others}", wall_s)


def fired_in(conducted: Conducted) -> tuple[str, ...]:
    """Return the names of everything that a run violated: rules, and expectations as "expectation:NAME"."""
    judgement = conducted.judgement
    rules = [rule.rule for rule in judgement.invariants if rule.verdict is Verdict.VIOLATED]
    missed = [e.name.split("[")[0].split(" ")[0] for e in judgement.expectations if e.verdict is Verdict.VIOLATED]
    return (*rules, *dict.fromkeys(f"expectation:{name}" for name in missed))


def markdown(proofs: Sequence[Proof]) -> str:
    """Return the table of docs/proof.md."""
    lines = ["| defect | what it changes | run | rule | result | wall s |", "| --- | --- | --- | --- | --- | ---: |"]
    lines += [
        f"| {proof.defect} | {proof.title} | {proof.stage} | {proof.rule} | {proof.why} | {proof.wall_s:.0f} |"
        for proof in proofs
    ]
    return "\n".join(lines) + "\n"


def verdict_of(proofs: Sequence[Proof]) -> Verdict:
    """Return the verdict on the gate's power; defects that are not for the gate have no say."""
    return worst(proof.verdict for proof in proofs if not proof.why.startswith("not for the gate"))


def _proof(name: str, defect: Defect, fired: tuple[str, ...], verdict: Verdict, why: str, wall_s: float) -> Proof:
    return Proof(
        defect=name,
        title=defect.title,
        stage=defect.stage,
        rule=defect.rule,
        fired=fired,
        verdict=verdict,
        why=why,
        wall_s=wall_s,
    )


def _run(
    stage: str,
    defect: str | None,
    options: Options,
    parent: Path,
    watcher: Watcher,
    report: Report,
    *,
    rule: str | None = None,
) -> Conducted:
    if stage in STAGES:
        what = checked_stage(stage, options, defect=defect)
        if rule is not None and STAGES[stage] is None:
            what = replace(what, scenario=about(what.scenario, rule))
        folder = parent / (defect or f"clean-{stage}")
        folder.mkdir()
        return run_stage(stage, what, options, folder, watcher, report=report).conducted
    what = _checked_scenario(stage, options, defect)
    directory = RunDirectory.named(parent, defect or f"clean-{stage}")
    mine = replace(options, seed=what.scenario.seed, started_at=datetime.now(UTC))
    return conduct(what, mine, directory, watcher, clock=Clock(options.time_scale), report=report)


def about(scenario: Scenario, rule: str) -> Scenario:
    """Return the protocol stage with one rule alone: a question about another one says nothing of this defect."""
    return scenario.model_copy(update={"expect": (Expectation(invariants=(rule,)),)})


def _checked_scenario(name: str, options: Options, defect: str | None) -> Checked:
    scenario = load_scenario(find_scenario(name)).model_copy(update={"time_scale": options.time_scale})
    if defect is not None:
        scenario = scenario.model_copy(update={"daemon": Daemon(defect=defect)})
    return check(scenario, env_file=options.env_file, target=None)
