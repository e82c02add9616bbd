"""The command `exai sweep`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.options import EnvFile, FirstSeed, Given, Json, RunsDir, ScenarioName, WarmUp, Workers

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rich.console import Console

    from scenarios.run_directory import RunDirectory
    from simulator.screen import Screen
    from simulator.sweep.sweep import Swept
    from simulator.sweep.values import Point, Vary

UNDECIDED = 3


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("sweep")(sweep)


Varied = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=VALUES",
        help="A setting or a path into the scenario (load.0.rate), with a,b,c or lo..hi:step; repeatable. "
        "Values that hold commas stand between semicolons.",
    ),
]
OneAtATime = Annotated[
    bool, typer.Option("--one-at-a-time", help="Vary each by itself, in the place of every combination.")
]
Replications = Annotated[
    int, typer.Option("--replications", "-n", min=1, max=10_000, help="Runs of each setting, with equal seeds.")
]
By = Annotated[
    str,
    typer.Option(
        metavar="FIGURE",
        help="Figure by which settings are ranked: success_rate, goodput_per_s (more is better); refusal_rate, "
        "over_capacity_rate, attempts_per_call, p50_s, p95_s, p99_s, thrown_away_s, thrown_away_share, timeouts, "
        "never_ended (less is better).",
    ),
]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="tcp://HOST:PORT of a Dask scheduler, or `local`.")
]


def sweep(
    scenario: ScenarioName,
    vary: Varied,
    one_at_a_time: OneAtATime = False,
    replications: Replications = 10,
    seed: FirstSeed = None,
    by: By = "success_rate",
    env_file: EnvFile = None,
    set_: Given = None,
    warm_up: WarmUp = 0.0,
    workers: Workers = None,
    dask: Cluster = None,
    json: Json = False,
    runs_dir: RunsDir = Path("runs"),
) -> int:
    """Run a scenario in the model with many settings, and say which is best, if that can be said.

    Every setting has the same seeds, so that what differs is the setting and not the luck.

    Exit status: 0 done; 2 wrong usage; 3 a setting could not be simulated, or the result cannot be written.
    """
    from datetime import UTC, datetime

    from scenarios.console import console_for
    from scenarios.load import find_scenario, load_scenario
    from scenarios.run_directory import RunDirectory
    from simulator.model.settings import pairs_of
    from simulator.replication.replications import seeds_from
    from simulator.screen import Screen
    from simulator.sweep.values import points, read_vary

    loaded = load_scenario(find_scenario(scenario))
    _check_figure(by)
    varied = [read_vary(text) for text in vary]
    given = pairs_of(set_ or [], "--set")
    settings = points(loaded, varied, one_at_a_time=one_at_a_time, env_file=env_file, given=given)
    shortest_s = min(point.scenario.load_s for point in settings)
    if warm_up >= shortest_s:
        raise typer.BadParameter(f"--warm-up {warm_up:g}: the load is over after {shortest_s:g} s")
    seeds = seeds_from(loaded.seed if seed is None else seed, replications)
    plan = _Plan(loaded.name, varied, settings, seeds, warm_up, by, one_at_a_time=one_at_a_time)
    # First of all, so that no hour of work is lost to a directory that cannot be made.
    directory = RunDirectory.create(runs_dir, f"sweep-{loaded.name}", started_at=datetime.now(UTC))
    try:
        with Screen(console_for(stderr=True)) as screen:
            swept = _run(plan, dask, workers, screen)
            _write(swept, directory, screen)
    except BaseException:
        directory.discard()
        raise
    if json:
        sys.stdout.write((directory.path / "summary.json").read_text("utf-8"))
    else:
        _print(console_for(stderr=False), swept, directory.path)
    return UNDECIDED if swept.failed else 0


class _Plan:
    """What is to be run."""

    def __init__(
        self,
        name: str,
        varied: list[Vary],
        points: list[Point],
        seeds: tuple[int, ...],
        warm_up_s: float,
        by: str,
        *,
        one_at_a_time: bool,
    ) -> None:
        self.name, self.varied, self.points, self.seeds = name, varied, points, seeds
        self.warm_up_s, self.by, self.one_at_a_time = warm_up_s, by, one_at_a_time


def _check_figure(name: str) -> None:
    """Refuse a figure that says nothing about better and worse."""
    from scenarios.mistakes import nearest
    from simulator.sweep.sweep import RANKED

    if name not in RANKED:
        meant = nearest(name, RANKED)
        hint = f'did you mean "{meant}"?' if meant else f"there are {', '.join(RANKED)}"
        raise typer.BadParameter(f"--by {name}: no such figure to rank by ({hint})")


def _run(plan: _Plan, dask: str | None, workers: int | None, screen: Screen) -> Swept:
    """Say how much it is, run it, and say how long it will take as soon as that is known."""
    from simulator.screen import span
    from simulator.sweep.study import counted
    from simulator.sweep.sweep import Swept, repeating, run_sweep

    settings = len(plan.points) - len(repeating(plan.points))
    runs = settings * len(plan.seeds)
    with _executor(dask, workers, runs) as (executor, number):
        screen.say(
            f"{plan.name}: {counted(settings, 'setting')} × {counted(len(plan.seeds), 'replication')} = "
            f"{counted(runs, 'run')} "
            f"on {counted(number, 'worker')}"
        )
        began_s = screen.elapsed_s
        started: list[tuple[int, float]] = []

        def watch(done: int) -> None:
            # The first answers hold the start of the workers; the rate counts from there.
            if done >= number and not started:
                started.append((done, screen.elapsed_s))
            left = ""
            if started and done > started[0][0]:
                rate = (done - started[0][0]) / max(screen.elapsed_s - started[0][1], 1e-6)
                left = f", about {span((runs - done) / rate)} to go"
                if done == started[0][0] + 2 * number and runs - done > number:
                    screen.say(f"{done:,} of {runs:,} runs{left}")
            screen.progress(f"{done:,} of {runs:,} runs{left}")

        rows, cpu_s, not_carried = run_sweep(
            plan.points, seeds=plan.seeds, warm_up_s=plan.warm_up_s, executor=executor, workers=number, watch=watch
        )
        wall_s = screen.elapsed_s - began_s
    return Swept(
        name=plan.name,
        varied=tuple(plan.varied),
        one_at_a_time=plan.one_at_a_time,
        rows=rows,
        seeds=plan.seeds,
        warm_up_s=plan.warm_up_s,
        by=plan.by,
        workers=number,
        wall_s=wall_s,
        cpu_s=cpu_s,
        not_carried=not_carried,
    )


@contextlib.contextmanager
def _executor(dask: str | None, workers: int | None, runs: int) -> Iterator[tuple[Executor, int]]:
    """Lend processes of this machine, or a Dask cluster."""
    from simulator.replication.replications import cores
    from simulator.replication.workers import local_workers

    number = min(workers or cores(), runs)
    if dask is not None:
        from simulator.replication.dask_cluster import dask_workers

        with dask_workers(dask, workers=number) as lent:
            yield lent
        return
    with local_workers(number) as executor:
        yield executor, number


def _write(swept: Swept, directory: RunDirectory, screen: Screen) -> None:
    """Write the table first, then the report."""
    from reports.study_page import write_study
    from scenarios.version import version
    from simulator.sweep.study import study_of, to_csv

    screen.say("writing the report")
    directory.write("sweep.csv", to_csv(swept))
    write_study(directory.path, study_of(swept, version=version()))


def _print(console: Console, swept: Swept, path: Path) -> None:
    """Print the table, which setting is best, what it took, and where the report is."""
    from rich.markup import escape

    from simulator.replication.metrics import FIGURES
    from simulator.result_table import fitting, row_table, with_interval
    from simulator.sweep.study import TOLD, comparison, costs, headline, remark
    from simulator.sweep.sweep import AS_IT_IS

    best, names = swept.best, fitting(list(dict.fromkeys((swept.by, *TOLD))), len(swept.varied), console.width)
    rows = []
    for row in swept.rows:
        values = [escape(row.point.values.get(each.name, AS_IT_IS)) for each in swept.varied]
        figures = [with_interval(row.intervals[name], FIGURES[name]) for name in names]
        said = remark(row, best)
        rows.append(([*values, *figures], "bold green" if said == "best" else "", escape(said)))
    console.print()
    console.print(row_table([escape(each.name) for each in swept.varied], names, rows))
    console.print(f"\n{escape(headline(swept))}", soft_wrap=True)
    if best is not None:
        console.print(escape(comparison(swept, best)), soft_wrap=True)
    for row in swept.failed:
        console.print(f"[red]failed[/]     {escape(row.label)}: {escape(row.why_not or '')}", soft_wrap=True)
    for part in swept.not_carried:
        console.print(f"[dim]left out[/]   {escape(part)}", soft_wrap=True)
    console.print(costs(swept), soft_wrap=True)
    console.print(f"report: {escape(str(path / 'report.html'))}", soft_wrap=True)
