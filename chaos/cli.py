"""The command `exai drill`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chaos.drill import Finished
    from chaos.run_directory import RunDirectory
    from reports.summary import Summary

FAST = 0.05
"""Time scale of the built-in drill: six calls of 35 to 55 s in a quarter of a minute."""

LEAST = 0.02
"""Time scale below which the machine's own milliseconds look like seconds of the daemon: a drill would say nothing."""

INTERRUPTED = 130


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("drill")(drill)


def drill(
    real_time: Annotated[bool, typer.Option("--real-time", help="Run at time scale 1.")] = False,
    time_scale: Annotated[
        float | None,
        typer.Option(
            min=LEAST, max=1.0, help=f"Wall seconds per second of the drill; best {FAST} or more.  [default: {FAST}]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Start of every source of chance.")] = 7,
    runs_dir: Annotated[Path, typer.Option(help="Where the run's directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary, as JSON, and nothing else.")] = False,
) -> int:
    """Run the smoke drill: the real daemon behind a real Toxiproxy, in front of a stub provider.

    Three workflow tools in sequence, once on a plain link and once on a slow one. Writes a report.
    Daemon and provider run with the shipped settings, whatever your environment and .env say.
    """
    if real_time and time_scale is not None:
        raise typer.BadParameter("--real-time is --time-scale 1: give one of them")
    scale = 1.0 if real_time else FAST if time_scale is None else time_scale
    return _drill(scale=scale, seed=seed, runs=runs_dir, as_json=json)


def _drill(*, scale: float, seed: int, runs: Path, as_json: bool) -> int:
    from datetime import UTC, datetime

    from chaos import smoke
    from chaos.drill import Options, run_drill
    from chaos.run_directory import RunDirectory
    from chaos.screen import Screen, console_for, print_result
    from chaos.toxiproxy_server import ensure_server
    from reference_daemon.clock import Clock
    from reports.summary import to_json

    clock = Clock(scale)
    started_at = datetime.now(UTC)
    with Screen(console_for(stderr=True), clock=clock) as screen:
        screen.say(f"time scale {scale:g}: a second of the drill takes {scale:g} s")
        screen.say("looking for a Toxiproxy server")
        server = ensure_server(screen.say)
        directory = RunDirectory.create(runs, smoke.SCENARIO, started_at=started_at)
        options = Options(
            toxiproxy=server.path,
            toxiproxy_version=server.version,
            seed=seed,
            time_scale=scale,
            started_at=started_at,
        )
        finished = run_drill(options, directory, screen, clock=clock)
        screen.say("writing the report")
        summary = _write(finished, directory)
    if as_json:
        sys.stdout.write(to_json(summary).decode())
    else:
        report = directory.path / "report.html"
        print_result(console_for(stderr=False), finished.run, summary.verdict, finished.calls, report)
    return INTERRUPTED if finished.interrupted else summary.verdict.exit_code


def _write(finished: Finished, directory: RunDirectory) -> Summary:
    """Write everything that is kept of a run, the history first: from it, all else can be made again."""
    from chaos.run_directory import RunDirectoryError
    from reports import html, plots
    from reports.summary import summarize, to_json
    from scenarios.history import write_calls

    calls = [seen.call for seen in finished.calls]
    history = directory.path / "calls.parquet"
    try:
        write_calls(history, calls)
    except OSError as error:
        raise RunDirectoryError.of(history, error) from error
    summary = summarize(finished.run, calls)
    directory.write("summary.json", to_json(summary))
    directory.write("plots/latency.svg", plots.latency_svg(finished.run, calls))
    directory.write("plots/latency.png", plots.latency_png(finished.run, calls))
    directory.write("report.html", html.render(summary, calls).encode())
    return summary
