"""The command `exai gate`."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chaos.drill import Checked, Options
    from chaos.gate import StageResult
    from scenarios.run_directory import RunDirectory

FAST = 0.05
INTERRUPTED = 130


class Stage(enum.StrEnum):
    """A stage of the verification plan."""

    SMOKE = "smoke"
    PARALLEL = "parallel"
    BACKPRESSURE = "backpressure"
    CHAOS = "chaos"
    PROTOCOL = "protocol"
    ALL = "all"


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("gate")(gate)


def gate(
    target: Annotated[
        str | None, typer.Option(help="ws://HOST:PORT of a daemon that runs already; absent: one is started.")
    ] = None,
    stage: Annotated[list[Stage] | None, typer.Option(help="Stage to run; repeatable.  [default: all]")] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(min=0.02, max=1.0, help=f"Wall seconds per second; {FAST}, with a target 1: its own clock's."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="The target's token.", envvar="EXAI_WS_TOKEN", show_envvar=True)
    ] = None,
    env_file: Annotated[Path | None, typer.Option(help="Settings that stand before those of the stages.")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where the run's directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary, as JSON, and nothing else.")] = False,
) -> int:
    """Run the verification plan as a CI gate: exit 0 held, 1 violated, 3 undecided.

    Four stages of load (smoke, parallel, backpressure, chaos), and the protocol's own rules asked by raw clients.
    """
    from datetime import UTC, datetime

    import msgspec

    from chaos.drill import Options
    from chaos.gate import checked_stage, verdict_of
    from chaos.reachable import check_reachable
    from chaos.toxiproxy_server import ensure_server
    from scenarios.console import console_for
    from scenarios.run_directory import RunDirectory

    stages = _stages(set(stage or [Stage.ALL]))
    check_reachable(target)
    say = console_for(stderr=True)
    server = ensure_server(lambda text: say.print(f"[dim]gate[/]  {text}"))
    options = Options(
        toxiproxy=server.path,
        toxiproxy_version=server.version,
        seed=0,
        time_scale=time_scale if time_scale is not None else 1.0 if target else FAST,
        started_at=datetime.now(UTC),
        env_file=env_file,
        target=target,
        token=token if target else None,
    )
    whats = [(name, checked_stage(name, options)) for name in stages]
    directory = RunDirectory.create(runs_dir, "gate", started_at=options.started_at)
    results: list[StageResult] = []
    for name, what in whats:
        results.append(_run(name, what, options, directory.path, as_json=json))
        if results[-1].conducted.interrupted:
            break
    summary = _write(directory, results, stages)
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary)).decode() + "\n")
    else:
        _print(results, stages, directory.path, summary["judged_nowhere"])
    if results and results[-1].conducted.interrupted:
        return INTERRUPTED
    return verdict_of(results, stages).exit_code


def _stages(wanted: set[Stage]) -> list[str]:
    """Return the stages that are wanted, in the order of the plan."""
    from chaos.stages import STAGES

    return [name for name in STAGES if Stage.ALL in wanted or Stage(name) in wanted]


def _write(directory: RunDirectory, results: list[StageResult], stages: list[str]) -> dict[str, Any]:
    from chaos.gate import write_gate
    from reports.gate_page import gate_page

    summary = write_gate(directory, results, stages)
    directory.write("report.html", gate_page(summary, directory.path.name))
    return summary


def _run(name: str, what: Checked, options: Options, parent: Path, *, as_json: bool) -> StageResult:
    from chaos.gate import run_stage
    from chaos.screen import Screen, print_result
    from reference_daemon.clock import Clock
    from reports.write import write_report
    from scenarios.console import console_for

    with Screen(console_for(stderr=True), clock=Clock(options.time_scale)) as screen:
        screen.say(f"stage {name}: {what.scenario.title}")
        result = run_stage(name, what, options, parent, screen, report=write_report)
    if not as_json:
        conducted = result.conducted
        print_result(console_for(stderr=False), conducted.record, conducted.judgement, conducted.path / "report.html")
    return result


def _print(results: list[StageResult], stages: list[str], path: Path, nowhere: list[str]) -> None:
    from rich.markup import escape

    from chaos.gate import verdict_of
    from scenarios.console import COLOURS, console_for

    console = console_for(stderr=False)
    console.print()
    for result in results:
        verdict = result.conducted.verdict
        console.print(
            f"[{COLOURS[verdict]}]{verdict:<9}[/]  {result.stage} in {result.conducted.record.run.wall_s:.1f} s"
        )
    for name in stages[len(results) :]:
        console.print(f"[yellow]not run[/]    {name}")
    if nowhere:
        console.print(f"[dim]not judged by any stage:[/] {escape('; '.join(nowhere))}", soft_wrap=True)
    verdict = verdict_of(results, stages)
    console.print(
        f"\n[bold {COLOURS[verdict]}]{verdict}[/]  gate; report: {escape(str(path / 'report.html'))}", soft_wrap=True
    )
