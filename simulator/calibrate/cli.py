"""The command `exai calibrate`: from recorded calls to a scenario that behaves as they did."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.calibrate.calibration import Calibration


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("calibrate")(calibrate)


def calibrate(
    calls: Annotated[
        list[Path], typer.Argument(help="Histories (calls.parquet), or metrics of daemons (ws_daemon.metrics.jsonl).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Scenario file that is made.")],
    expert_timeout: Annotated[
        float,
        typer.Option(min=1.0, help="Budget of the expert's request in the recorded daemon, in seconds."),
    ] = 90.0,
    replay: Annotated[
        bool, typer.Option("--replay", help="Keep the very moments of the arrivals, in the place of rates.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenario, and of the bootstrap of the fit test.")] = 7,
    runs_dir: Annotated[Path, typer.Option(help="Where the report's directory is made.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the summary, as JSON, and nothing else.")] = False,
) -> int:
    """Fit providers and load to recorded calls; write a scenario for simulate, drill and validate, and a report.

    Durations that a timeout cut count as cut. Several files are taken one behind the other. Exit status 0, or 2 for
    files that are none, too few calls and mixed units.
    """
    from datetime import UTC, datetime

    from reports.study_page import study_to_json, write_study
    from scenarios.load import load_scenario
    from scenarios.run_directory import RunDirectory, write_whole
    from scenarios.version import version
    from simulator.calibrate.calibration import calibrate as calibrated
    from simulator.calibrate.output import check_output
    from simulator.calibrate.recordings import read_recording
    from simulator.calibrate.scenario import scenario_of, to_text
    from simulator.calibrate.study import study_of

    recordings = [read_recording(path, expert_timeout) for path in calls]
    name = _name_of(output)
    check_output(output, calls)
    directory = RunDirectory.create(runs_dir, f"calibrate-{name}", started_at=datetime.now(UTC))
    try:
        calibration = calibrated(recordings, seed=seed)
    except BaseException:
        directory.discard()
        raise
    text = to_text(scenario_of(calibration, name=name, seed=seed, replay=replay), calibration)
    load_scenario(directory.write("scenario.yaml", text.encode()), foreign=True)  # by the rules of every scenario file
    write_whole(output, text.encode())
    settings = {"seed": str(seed), "expert timeout": f"{expert_timeout:g} s", "exai-harness": version()}
    sources = [recording.source for recording in recordings]
    study = study_of(calibration, name=name, sources=sources, settings=settings)
    write_study(directory.path, study)
    if json:
        sys.stdout.write(study_to_json(study).decode())
    else:
        _print(calibration, output, directory.path / "report.html")
    return 0


def _name_of(output: Path) -> str:
    """Return a scenario's name for a file's."""
    name = re.sub(r"[^a-z0-9]+", "-", output.stem.lower()).strip("-")
    return name[:64].rstrip("-") or "calibrated"


def _print(calibration: Calibration, output: Path, report: Path) -> None:
    """Print what was fitted and how well, and where scenario and report are."""
    from rich.markup import escape

    from scenarios.console import console_for

    console = console_for(stderr=False)
    for group in calibration.groups:
        times, choice = group.times, group.choice
        console.print(
            f"{escape(group.name)}: {times.ended.size} ended, {times.cut.size} cut; [bold]{choice.name}[/], "
            f"P50 {choice.latency.at(0.5):.2f} s, P95 {choice.latency.at(0.95):.2f} s",
            soft_wrap=True,
        )
        for fit in choice.fits:
            console.print(
                f"  {fit.family:<10} AIC {fit.aic:>10.1f}  distance {fit.distance:.4f}  chance {fit.p_value:.3f}",
                soft_wrap=True,
            )
    for provider, errors in calibration.errors.items():
        console.print(f"{provider}: {errors.failed} of {errors.of} executions failed", soft_wrap=True)
    windows = len(calibration.windows)
    console.print(
        f"{calibration.calls} calls in {calibration.span_s:.0f} s, "
        + ("at one rate" if windows == 1 else f"in {windows} windows of different rates")
    )
    for name, number in calibration.pooled.items():
        console.print(f"[dim]pooled[/]  {escape(name)}: only {number} calls of its own", soft_wrap=True)
    console.print(f"scenario: {escape(str(output))}\nreport: {escape(str(report))}", soft_wrap=True)
