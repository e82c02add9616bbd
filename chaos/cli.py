"""The commands `exai drill` and `exai judge`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chaos.conduct import Conducted
    from chaos.drill import Checked

LEAST = 0.02
"""Time scale below which the machine's own milliseconds look like seconds of the daemon: a drill would say nothing."""

INTERRUPTED = 130


def register(umbrella: typer.Typer) -> None:
    """Add the commands to the umbrella command."""
    umbrella.command("drill")(drill)
    umbrella.command("judge")(judge)


Scenarios = Annotated[
    list[str] | None,
    typer.Argument(help="Names of shipped scenarios, or files; none: the four stages of the verification plan."),
]
RunsDir = Annotated[Path, typer.Option(help="Where the run's directory is made.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary, as JSON, and nothing else.")]


def drill(
    scenario: Scenarios = None,
    real_time: Annotated[bool, typer.Option("--real-time", help="Run at time scale 1.")] = False,
    time_scale: Annotated[
        float | None,
        typer.Option(
            min=LEAST, max=1.0, help="Wall seconds per second; the scenario's own if absent, best 0.05 or more."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Start of every source of chance; the scenario's own if absent.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="Settings that stand before the scenario's, for example recommended.env.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="ws://HOST:PORT of a daemon that runs already, in the place of a new one.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Its token.", envvar="EXAI_WS_TOKEN", show_envvar=True)] = None,
    runs_dir: RunsDir = Path("runs"),
    json: Json = False,
) -> int:
    """Run scenarios: the real daemon behind a real Toxiproxy, in front of stub providers, under load and faults.

    Each is judged by its expectations and by the invariants, and leaves a run directory with a report.
    Daemon and providers take nothing from your environment and .env.
    """
    from chaos.drill import check
    from chaos.reachable import check_reachable
    from chaos.stages import STAGES
    from scenarios.load import find_scenario, load_scenario

    if real_time and time_scale is not None:
        raise typer.BadParameter("--real-time is --time-scale 1: give one of them")
    names = scenario or [name for name in STAGES.values() if name is not None]
    loaded = [load_scenario(find_scenario(name), foreign=target is not None) for name in names]
    whats = [check(each, env_file=env_file, target=target) for each in loaded]
    check_reachable(target)
    scale = 1.0 if real_time else time_scale
    token = token if target is not None else None
    results = []
    for what in whats:
        result = _one(what, scale, seed, env_file, target, token, runs_dir, as_json=json)
        results.append(result)
        if result.interrupted:
            return INTERRUPTED
    from scenarios.verdict import worst

    return worst(result.verdict for result in results).exit_code


def _one(
    what: Checked,
    time_scale: float | None,
    seed: int | None,
    env_file: Path | None,
    target: str | None,
    token: str | None,
    runs: Path,
    *,
    as_json: bool,
) -> Conducted:
    from datetime import UTC, datetime

    from chaos.conduct import conduct
    from chaos.drill import Options
    from chaos.screen import Screen, print_result
    from chaos.toxiproxy_server import ensure_server
    from reference_daemon.clock import Clock
    from reports.summary import summarize, to_json
    from reports.write import write_report
    from scenarios.console import console_for
    from scenarios.run_directory import RunDirectory

    scale = what.scenario.time_scale if time_scale is None else time_scale
    clock = Clock(scale)
    started_at = datetime.now(UTC)
    with Screen(console_for(stderr=True), clock=clock) as screen:
        screen.say(f"{what.scenario.name}, time scale {scale:g}: a second of the drill takes {scale:g} s")
        server = ensure_server(screen.say)
        directory = RunDirectory.create(runs, what.scenario.name, started_at=started_at)
        options = Options(
            toxiproxy=server.path,
            toxiproxy_version=server.version,
            seed=what.scenario.seed if seed is None else seed,
            time_scale=scale,
            started_at=started_at,
            env_file=env_file,
            target=target,
            token=token,
        )
        result = conduct(what, options, directory, screen, clock=clock, report=write_report)
    if as_json:
        sys.stdout.write(to_json(summarize(result.record, result.judgement)).decode())
    else:
        print_result(console_for(stderr=False), result.record, result.judgement, directory.path / "report.html")
    return result


def judge(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a run.")],
    json: Json = False,
) -> int:
    """Judge an old run again, by its own scenario and today's rules; writes nothing."""
    from chaos.screen import print_result
    from reports.summary import summarize, to_json
    from scenarios.checks.judge import judge as judged
    from scenarios.console import console_for
    from scenarios.load import load_scenario
    from scenarios.record import NoRecordError, read_record

    try:
        record = read_record(run_dir)
    except NoRecordError as error:
        raise typer.BadParameter(str(error)) from error
    judgement = judged(load_scenario(run_dir / "scenario.yaml", foreign=True), record)
    if json:
        sys.stdout.write(to_json(summarize(record, judgement)).decode())
    else:
        print_result(console_for(stderr=False), record, judgement, run_dir / "report.html")
    return judgement.verdict.exit_code
