"""The command `exai validate`: the same scenario in both bodies, and how far they are apart."""

from __future__ import annotations

import sys
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
    from simulator.model_run import ModelRun
    from simulator.model_settings import ModelSettings
    from simulator.validate import Comparison, Limits

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
    them, 3 if the drill says nothing or made too few calls.
    """
    from datetime import UTC, datetime

    from chaos.drill import check
    from reports.study_page import study_to_json, write_study
    from scenarios.load import find_scenario, load_scenario
    from scenarios.run_directory import RunDirectory
    from simulator.validate import Limits

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
    from chaos.screen import Screen, console_for
    from chaos.toxiproxy_server import ensure_server
    from reference_daemon.clock import Clock
    from reports.write import write_report
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
    from simulator.model_settings import model_settings
    from simulator.validate import compare
    from simulator.validate_conditions import as_it_was, draws_of, left_to_luck, machine_of
    from simulator.validate_study import study_of

    real = drilled.record
    scenario, off_plan = as_it_was(what.scenario, real.run)
    machine = machine_of(real.calls, real.events)
    resolution_s = max(machine.uneven_s, real.run.schedule_lag_p99_s or 0.0)
    values = model_settings(scenario)
    run = _run_of(scenario, values, machine.median_s)
    _keep(scenario, values, run, RunDirectory.named(directory.path, "simulated"), started_at)
    draws = draws_of(scenario, scenario.seed, real.calls, real.events)
    comparison = compare(real.calls, run.calls, limits, resolution_s=resolution_s)
    doubts = _doubts(drilled)
    if not draws.shared:
        doubts.append(f"{draws.seen - draws.equal} of {draws.seen} executions had another latency than the model's")
    plain = compare(real.calls, _run_of(scenario, values, 0.0).calls, limits)
    comparison = replace(
        comparison,
        why_undecided="; ".join(doubts) or comparison.why_undecided,
        notes=(
            _machine_note(machine.median_s, resolution_s, scenario, plain),
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
    return study_of(scenario, comparison, limits, both, draws=draws, settings=settings), comparison


def _run_of(scenario: Scenario, settings: ModelSettings, beyond_s: float) -> ModelRun:
    """Run the model, its providers slower by so much."""
    from simulator.engine import simulate
    from simulator.validate_conditions import slower_by

    return simulate(
        scenario,
        settings.config,
        seed=scenario.seed,
        client_timeout_s=settings.client_timeout_s,
        provider=slower_by(beyond_s),
    )


def _keep(
    scenario: Scenario, settings: ModelSettings, run: ModelRun, directory: RunDirectory, started_at: datetime
) -> None:
    """Keep the model's history as any model run keeps it; `exai report` makes a page of it."""
    from simulator.simulated import judged, keep
    from simulator.version import version

    keep(judged(scenario, settings, run, started_at=started_at, wall_s=0.0, version=version()), directory)


def _machine_note(median_s: float, resolution_s: float, scenario: Scenario, plain: Comparison) -> str:
    """Say what the machine's own time is, how uneven, and how far the model is off without it."""
    from simulator.validate_study import told

    wall_ms = 1000 * scenario.time_scale
    without = ", ".join(map(told, plain.judged))
    return (
        f"machine: {median_s:.2f} s ({wall_ms * median_s:.0f} ms of the wall) beyond the provider's latency in the "
        f"drill's median call, which the model's providers take, too (without it: {without}); "
        f"it is uneven by {resolution_s:.2f} s ({wall_ms * resolution_s:.0f} ms), so finely can the drill tell"
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

    from simulator.screen import COLOURS, console_for
    from simulator.validate_study import written, written_error

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
