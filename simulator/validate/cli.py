"""The command `exai validate`: the same scenario in both bodies, and how far they are apart."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from chaos.conduct import Conducted
    from chaos.drill import Checked
    from reports.study import Study
    from scenarios.model import Scenario
    from scenarios.run_directory import RunDirectory
    from simulator.model.run import ModelRun
    from simulator.model.settings import ModelSettings
    from simulator.validate.comparison import Comparison, History, Limits
    from simulator.validate.conditions import Machine

LEAST = 0.02
"""Time scale below which the machine's own milliseconds look like seconds of the daemon."""

INTERRUPTED = 130


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("validate")(validate)


def validate(
    scenario: Annotated[str, typer.Argument(help="Name of a shipped scenario, or a file.")],
    limit_rate: Annotated[
        float, typer.Option(min=0.0, help="Largest error of success rate and 429 rate, in percentage points.")
    ] = 2.0,
    limit_latency: Annotated[float, typer.Option(min=0.0, help="Largest error of P50 and P95, in percent.")] = 5.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Start of every source of chance; the scenario's own if absent.")
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(min=LEAST, max=1.0, help="Wall seconds per second of the drill; the scenario's own if absent."),
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the run's directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary, as JSON, and nothing else.")] = False,
) -> int:
    """Run a scenario on the real daemon and in the model, and say how far the model is off.

    Each call has the same arrival and the same draw of its latency in both. Exit status 0 within the limits, 1 over
    them, 3 if the drill says nothing or made too few calls, 130 interrupted.
    """
    from datetime import UTC, datetime

    from chaos.drill import check
    from reports.study_page import study_to_json, write_study
    from scenarios.load import find_scenario, load_scenario
    from scenarios.run_directory import RunDirectory
    from simulator.validate.comparison import Limits

    loaded = load_scenario(find_scenario(scenario))
    changes = {"seed": seed, "time_scale": time_scale}
    loaded = loaded.model_copy(update={name: value for name, value in changes.items() if value is not None})
    what = check(loaded, env_file=None, target=None)
    started_at = datetime.now(UTC)
    directory = RunDirectory.create(runs_dir, f"validate-{loaded.name}", started_at=started_at)
    drilled = _drill(what, directory, started_at)
    limits = Limits(rate_points=limit_rate, latency_percent=limit_latency)
    study, comparison = _compared(what, drilled, directory, limits, started_at)
    write_study(directory.path, study)
    if json:
        sys.stdout.write(study_to_json(study).decode())
    else:
        _print(study, comparison, directory.path / "report.html")
    return INTERRUPTED if drilled.interrupted else comparison.verdict.exit_code


def _drill(what: Checked, directory: RunDirectory, started_at: datetime) -> Conducted:
    """Run the drill into `real/`."""
    from chaos.conduct import conduct
    from chaos.drill import Options
    from chaos.screen import Screen
    from chaos.toxiproxy_server import ensure_server
    from reference_daemon.clock import Clock
    from reports.write import write_report
    from scenarios.console import console_for
    from scenarios.run_directory import RunDirectory

    scenario = what.scenario
    clock = Clock(scenario.time_scale)
    with Screen(console_for(stderr=True), clock=clock) as screen:
        screen.say(f"{scenario.name} on the real daemon, time scale {scenario.time_scale:g}, seed {scenario.seed}")
        server = ensure_server(screen.say)
        options = Options(
            toxiproxy=server.path,
            toxiproxy_version=server.version,
            seed=scenario.seed,
            time_scale=scenario.time_scale,
            started_at=started_at,
        )
        real = RunDirectory.named(directory.path, "real")
        return conduct(what, options, real, screen, clock=clock, report=write_report)


def _compared(
    what: Checked, drilled: Conducted, directory: RunDirectory, limits: Limits, started_at: datetime
) -> tuple[Study, Comparison]:
    """Run the model with the drill's faults as they were, keep its history in `simulated/`, and compare."""
    from scenarios.run_directory import RunDirectory
    from scenarios.version import version
    from simulator.model.settings import model_settings
    from simulator.validate.comparison import Clarity, History, compare
    from simulator.validate.conditions import as_it_was, draws_of, left_to_luck, machine_of
    from simulator.validate.refusals import refused_in_drill
    from simulator.validate.study import about_of, study_of

    real = drilled.record
    scenario, off_plan = as_it_was(what.scenario, real.run)
    machine = machine_of(real.calls, real.events)
    resolution_s = max(machine.uneven_s, real.run.schedule_lag_p99_s or 0.0)
    values = model_settings(scenario)
    began = time.perf_counter()
    run = _run_of(scenario, values, machine.allowed_s(scenario.time_scale))
    wall_s = time.perf_counter() - began
    _keep(scenario, values, run, RunDirectory.named(directory.path, "simulated"), started_at, wall_s)
    draws = draws_of(scenario, scenario.seed, real.calls, real.events)
    plain = _run_of(scenario, values, 0.0)
    drill, model, without = History(real.calls, refused_in_drill(real.events)), _body(run), _body(plain)
    slow = machine.doubt(scenario.time_scale) is not None
    clarity = Clarity(resolution_s=resolution_s, machine_known=machine.known, machine_slow=slow)
    comparison = compare(drill, model, limits, plain=without, clarity=clarity)
    doubts = _doubts(drilled)
    if not draws.shared:
        doubts.append(f"{draws.seen - draws.equal} of {draws.seen} executions had another latency than the model's")
    comparison = replace(
        comparison,
        why_undecided="; ".join(doubts) or comparison.why_undecided,
        notes=(
            _machine_note(machine, resolution_s, scenario),
            *off_plan,
            *left_to_luck(scenario),
            *run.not_carried,
            *values.not_carried,
        ),
    )
    settings = {
        "seed": str(scenario.seed),
        "time scale": f"{scenario.time_scale:g}",
        "drill": f"{drilled.verdict} by its own expectations",
    }
    both = (real.calls, run.calls)
    about = about_of(what.scenario, values.values, version())
    return study_of(scenario, comparison, limits, both, draws=draws, about=about, settings=settings), comparison


def _run_of(scenario: Scenario, settings: ModelSettings, beyond_s: float) -> ModelRun:
    """Run the model, its providers slower by so much."""
    from simulator.model.engine import simulate
    from simulator.validate.conditions import slower_by

    return simulate(
        scenario,
        settings.config,
        seed=scenario.seed,
        client_timeout_s=settings.client_timeout_s,
        uncoalesced=settings.uncoalesced,
        heartbeat_s=settings.heartbeat_s,
        provider=slower_by(beyond_s),
    )


def _body(run: ModelRun) -> History:
    from simulator.validate.comparison import History
    from simulator.validate.refusals import refused_in_model

    return History(run.calls, refused_in_model(run))


def _keep(
    scenario: Scenario,
    settings: ModelSettings,
    run: ModelRun,
    directory: RunDirectory,
    started_at: datetime,
    wall_s: float,
) -> None:
    """Keep the model's history as any model run keeps it; `exai report` makes a page of it."""
    from scenarios.version import version
    from simulator.simulated import judged, keep

    keep(judged(scenario, settings, run, started_at=started_at, wall_s=wall_s, version=version()), directory)


def _machine_note(machine: Machine, resolution_s: float, scenario: Scenario) -> str:
    """Say what is put down to the machine, and how uneven it is."""
    if not machine.known:
        return "machine: too few calls tell its own time, so no error of a latency says that the model is wrong"
    allowed_s, wall_ms = machine.allowed_s(scenario.time_scale), 1000 * scenario.time_scale
    doubt = machine.doubt(scenario.time_scale)
    slow = "" if doubt is None else f"{doubt}; "
    return (
        f"machine: {allowed_s:.2f} s ({wall_ms * allowed_s:.0f} ms of the wall) of what the drill's median call took "
        "beyond the provider's latency are put down to the machine: the model's providers take it, too; "
        f"{slow}it is uneven by {resolution_s:.2f} s ({wall_ms * resolution_s:.0f} ms): so finely the drill can tell"
    )


def _doubts(drilled: Conducted) -> list[str]:
    """Return why the drill says nothing, if it does not."""
    from scenarios.verdict import Verdict

    if drilled.record.run.stopped_by is not None:
        return [f"the drill ended early: {drilled.record.run.stopped_by}"]
    if drilled.verdict is not Verdict.UNDECIDED:
        return []
    reasons = [each.reason for each in drilled.judgement.expectations if each.verdict is Verdict.UNDECIDED]
    return [f"the drill is undecided: {'; '.join(reasons) or 'an invariant could not be judged'}"]


def _print(study: Study, comparison: Comparison, report: Path) -> None:
    """Print the figures over all calls, the verdict, the notes, and where the report is."""
    from rich.markup import escape

    from scenarios.console import COLOURS, console_for
    from simulator.validate.study import written, written_error

    console = console_for(stderr=False)
    console.print()
    for figure in comparison.figures:
        if figure.tool and figure.name not in {"success rate", "P50", "P95"}:
            continue
        colour = "dim" if figure.verdict is None else COLOURS[figure.verdict]
        values = f"real {written(figure, figure.real):>10}  simulated {written(figure, figure.simulated):>10}"
        limit = "" if figure.limit is None else f"  limit {figure.limit:g}"
        text = f"{figure.tool or 'all calls':<22} {figure.name:<18} n {figure.n:>5}  {values}  {written_error(figure)}"
        console.print(f"[{colour}]{escape(text)}{limit}[/]", soft_wrap=True)
    pairs = comparison.pairs
    alike = sum(pair.same_outcome for pair in pairs)
    console.print(f"\n{alike} of {len(pairs)} calls ended alike in both bodies")
    for note in comparison.notes:
        console.print(f"[dim]note[/]  {escape(note)}", soft_wrap=True)
    verdict = comparison.verdict
    console.print(f"\n[bold {COLOURS[verdict]}]{verdict}[/]  {escape(study.headline)}", soft_wrap=True)
    console.print(f"report: {escape(str(report))}", soft_wrap=True)
