"""The command `exai simulate`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.options import EnvFile, FirstSeed, Given, Json, RunsDir, ScenarioName, WarmUp, Workers

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from scenarios.model import Scenario
    from scenarios.run_directory import RunDirectory
    from simulator.model.settings import ModelSettings
    from simulator.replication.metrics import Figures
    from simulator.screen import Screen
    from simulator.simulated import Simulated


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("simulate")(simulate)


Replications = Annotated[
    int, typer.Option("--replications", "-n", min=1, max=10_000, help="Runs with seeds one after the other.")
]


def simulate(
    scenario: ScenarioName,
    replications: Replications = 1,
    seed: FirstSeed = None,
    env_file: EnvFile = None,
    set_: Given = None,
    warm_up: WarmUp = 0.0,
    workers: Workers = None,
    json: Json = False,
    runs_dir: RunsDir = Path("runs"),
) -> int:
    """Run a scenario in the model: the daemon's own decisions on a virtual clock, a day of traffic in seconds.

    Leaves the same run directory as a drill. What the model cannot know is not judged, and is named. Exit status 0
    held, 1 violated, 2 wrong usage, 3 undecided, 130 interrupted.
    """
    from datetime import UTC, datetime

    from scenarios.console import console_for
    from scenarios.load import find_scenario, load_scenario
    from scenarios.run_directory import RunDirectory
    from simulator.model.settings import model_settings, pairs_of
    from simulator.screen import Screen

    loaded = load_scenario(find_scenario(scenario))
    if seed is not None:
        loaded = loaded.model_copy(update={"seed": seed})
    if warm_up >= loaded.load_s:
        raise typer.BadParameter(f"--warm-up {warm_up:g}: the load is over after {loaded.load_s:g} s")
    settings = model_settings(loaded, env_file=env_file, given=pairs_of(set_ or [], "--set"))
    started_at = datetime.now(UTC)
    directory = RunDirectory.create(runs_dir, loaded.name, started_at=started_at)
    try:
        with Screen(console_for(stderr=True)) as screen:
            simulated, figures = _run(loaded, settings, screen, replications, warm_up, workers, started_at)
            _write(simulated, figures, directory, screen)
    except BaseException:
        directory.discard()
        raise
    if json:
        sys.stdout.write(_as_json(simulated, figures))
    else:
        _print(console_for(stderr=False), simulated, figures, directory.path)
    return simulated.judgement.verdict.exit_code


def _run(
    scenario: Scenario,
    settings: ModelSettings,
    screen: Screen,
    replications: int,
    warm_up_s: float,
    workers: int | None,
    started_at: datetime,
) -> tuple[Simulated, list[Figures]]:
    """Run the scenario here with its own seed, which is judged, and in other processes with the seeds after it."""
    from scenarios.version import version
    from simulator.model.engine import simulate as model_run
    from simulator.model.settings import in_force
    from simulator.replication.metrics import figures_of
    from simulator.replication.replications import cores, seeds_from
    from simulator.replication.workers import run_all
    from simulator.simulated import judged

    first, *others = seeds_from(scenario.seed, replications)
    screen.say(f"{scenario.name}: {scenario.load_s:g} s of load in the model, seed {first}")
    began_s = screen.elapsed_s
    run = model_run(
        scenario,
        settings.config,
        seed=first,
        client_timeout_s=settings.client_timeout_s,
        uncoalesced=settings.uncoalesced,
        heartbeat_s=settings.heartbeat_s,
    )
    took_s = screen.elapsed_s - began_s
    figures = [figures_of(run, warm_up_s, seed=first, load_s=scenario.load_s)]
    if others:
        number = min(workers or cores(), len(others))
        screen.say(f"{len(others)} more replications on {number} workers")
        same = in_force(scenario, settings)
        figures += run_all(same, settings, others, warm_up_s=warm_up_s, workers=number, screen=screen)
    screen.say("judging")
    return judged(scenario, settings, run, started_at=started_at, wall_s=took_s, version=version()), figures


def _write(simulated: Simulated, figures: Sequence[Figures], directory: RunDirectory, screen: Screen) -> None:
    """Keep history and figures first, then write the report."""
    from reports.write import write_report
    from simulator.simulated import keep

    keep(simulated, directory)
    directory.write("figures.json", _encoded(_figures(figures)))
    screen.say("writing the report")
    write_report(directory.path, simulated.record, simulated.judgement)


def _figures(figures: Sequence[Figures]) -> dict[str, object]:
    from simulator.replication.replications import intervals

    return {
        "replications": [each.as_dict() for each in figures],
        "intervals": {name: value.as_dict() for name, value in intervals(figures).items()},
    }


def _encoded(content: Mapping[str, object]) -> bytes:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _as_json(simulated: Simulated, figures: Sequence[Figures]) -> str:
    """Return the run's summary with the figures of all replications beside it."""
    import msgspec

    from reports.summary import summarize, to_json

    summary = msgspec.json.decode(to_json(summarize(simulated.record, simulated.judgement)))
    return _encoded(summary | {"figures": _figures(figures)}).decode()


def _print(console: Console, simulated: Simulated, figures: Sequence[Figures], path: Path) -> None:
    """Print the figures, the verdict with its reasons, what the model leaves out, and where the report is."""
    from rich.markup import escape

    from scenarios.console import COLOURS
    from scenarios.verdict import Verdict
    from simulator.replication.replications import intervals
    from simulator.result_table import figure_table

    run, judgement = simulated.record.run, simulated.judgement
    console.print()
    console.print(figure_table(intervals(figures)))
    console.print()
    rules = [rule for rule in judgement.invariants if rule.verdict is Verdict.VIOLATED and not rule.meant]
    for verdict, text in [
        *((result.verdict, f"{result.name}: {result.reason}") for result in judgement.expectations),
        *((rule.verdict, f"{rule.rule} {rule.title}: {rule.reason}") for rule in rules),
    ]:
        console.print(f"[{COLOURS[verdict]}]{verdict:<9}[/]  {escape(text)}", soft_wrap=True)
    console.print(f"[dim]not judged[/] {', '.join(rule.rule for rule in judgement.not_judged)}", soft_wrap=True)
    for part in run.not_carried:
        console.print(f"[dim]left out[/]   {escape(part)}", soft_wrap=True)
    judged_on = "" if len(figures) == 1 else f"; judged on the run of seed {run.seed}, one of {len(figures)}"
    console.print(
        f"\n[bold {COLOURS[judgement.verdict]}]{judgement.verdict}[/] in the model, not on a daemon  "
        f"{escape(run.scenario)} in {run.wall_s:.1f} s (seed {run.seed}{judged_on})"
    )
    console.print(f"report: {escape(str(path / 'report.html'))}", soft_wrap=True)
