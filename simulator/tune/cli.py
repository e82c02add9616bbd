"""The command `exai tune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.options import Given, RunsDir, WarmUp, Workers

if TYPE_CHECKING:
    from scenarios.model import Scenario
    from scenarios.run_directory import RunDirectory
    from simulator.tune.order import Order
    from simulator.tune.tune import Tuning

VIOLATED = 1


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("tune")(tune)


_Trials = Annotated[int, typer.Option(min=3, max=10_000, help="Settings that are tried.")]
_Replications = Annotated[
    int,
    typer.Option(
        "--replications", "-n", min=3, max=1000, help="Seeds of each trial; twice as many choose, four times prove."
    ),
]
_Seed = Annotated[int, typer.Option(min=0, help="Start of all chance; the scenario's own has no part in it.")]
_EnvFile = Annotated[
    Path | None, typer.Option(help="Settings to start from, besides the scenario's and the shipped ones.")
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="What must be kept, repeatable; none if absent. The largest cap: global=12, session=4, tool:analyze=3, "
        "provider:GLM=4, provider-concurrency=8. Or a figure's bound: shares as 0.95 or 95% (success_rate=95%), "
        "durations in seconds (p95_s=120), others as `exai simulate` has them.",
    ),
]
_Patience = Annotated[
    bool, typer.Option("--patience", help="Also try EXAI_CLIENT_TIMEOUT, which the MCP clients must be set to.")
]
_Validation = Annotated[
    Path | None,
    typer.Option(help="Directory or summary.json of an `exai validate` run of this scenario by this version."),
]
_Validate = Annotated[
    bool,
    typer.Option("--validate/--unvalidated", help="Run `exai validate` first; or advise on the model's word alone."),
]
_Output = Annotated[
    Path, typer.Option("-o", "--output", help="Where the settings are written; no file but one of tune's is replaced.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the result, as JSON, and nothing else.")]


def tune(
    scenario: Annotated[str, typer.Argument(help="Name of a shipped scenario, or a file.")],
    trials: _Trials = 100,
    replications: _Replications = 10,
    seed: _Seed = 1,
    env_file: _EnvFile = None,
    set_: Given = None,
    limit: _Limits = None,
    patience: _Patience = False,
    warm_up: WarmUp = 0.0,
    workers: Workers = None,
    validation: _Validation = None,
    validate: _Validate = True,
    output: _Output = Path("recommended.env"),
    runs_dir: RunsDir = Path("runs"),
    json: _Json = False,
) -> int:
    """Search for better caps, TTLs and retry advice in the model, and write what it recommends.

    Aims, in this order: success rate, P95 with retries included, work thrown away. Nothing is recommended that is not
    better outside the interval on fresh seeds. Prove it on the real daemon: `exai drill SCENARIO --env-file
    recommended.env`.

    Exit status: 0 recommended, or nothing is better; 1 nothing that was tried keeps the limits; 2 wrong usage; 3 no
    advice: `exai validate` did not hold, a provider's concurrency is unknown, or nothing can be written; 130
    interrupted.
    """
    from scenarios.load import find_scenario, load_scenario
    from simulator.model.settings import model_settings, pairs_of
    from simulator.tune.limits import read_limits
    from simulator.tune.order import Order
    from simulator.tune.output import check_output
    from simulator.tune.space import check_concurrency

    found = find_scenario(scenario)
    loaded = load_scenario(found)
    if warm_up >= loaded.load_s:
        raise typer.BadParameter(f"--warm-up {warm_up:g}: the load is over after {loaded.load_s:g} s")
    told = {"--trials": trials, "--replications": replications, "--seed": seed, "--env-file": env_file}
    order = Order(
        scenario=loaded,
        start=model_settings(loaded, env_file=env_file, given=pairs_of(set_ or [], "--set")),
        trials=trials,
        replications=replications,
        seed=seed,
        limits=read_limits(limit or (), loaded),
        patience=patience,
        warm_up_s=warm_up,
        command=_command(
            scenario, told | {"--warm-up": warm_up or None}, {"--set": set_, "--limit": limit}, patience=patience
        ),
    )
    check_concurrency(loaded, order.limits.caps)
    check_output(output, [path for path in (found, env_file, validation) if path is not None])
    directory, believed = _believed(loaded, str(found), validation, runs_dir, validate=validate)
    tuning = _tuned(order, workers)
    _tell(tuning, believed, output, directory, as_json=json)
    return 0 if tuning.feasible else VIOLATED


def _command(scenario: str, options: dict[str, object], lists: dict[str, list[str] | None], *, patience: bool) -> str:
    """Return the command with which the same advice comes out again."""
    import shlex

    parts = ["exai", "tune", scenario]
    for name, value in options.items():
        parts += [] if value is None else [name, f"{value:g}" if isinstance(value, float) else str(value)]
    for name, values in lists.items():
        parts += [part for value in values or () for part in (name, value)]
    return shlex.join([*parts, *(["--patience"] if patience else [])])


def _tuned(order: Order, workers: int | None) -> Tuning:
    from scenarios.console import console_for
    from simulator.replication.replications import cores
    from simulator.replication.workers import local_workers
    from simulator.screen import Screen
    from simulator.tune.tune import tune as tuned

    with Screen(console_for(stderr=True)) as screen, local_workers(workers or cores()) as pool:
        screen.say(f"{order.scenario.name}: {order.trials} trials of {order.replications} replications")
        return tuned(order, pool, screen.progress)


def _believed(
    scenario: Scenario, source: str, validation: Path | None, runs_dir: Path, *, validate: bool
) -> tuple[RunDirectory, str]:
    """Return the directory of the report, and why the model is believed; raise where it must not be.

    The directory is made before anything that takes long: a folder that nobody can write to must not cost the work.
    """
    from datetime import UTC, datetime

    from scenarios.run_directory import RunDirectory
    from simulator.tune.gate import check_validation
    from simulator.tune.gate import validate as run_validation

    believed = "nobody validated the model for this scenario (--unvalidated)"
    if validation is not None:
        believed = f"the model holds for this scenario, says {check_validation(validation, scenario)}"
    directory = RunDirectory.create(runs_dir, f"tune-{scenario.name}", started_at=datetime.now(UTC))
    if validation is None and validate:
        believed = f"the model holds for this scenario, says {run_validation(source, scenario, runs_dir)}"
    return directory, believed


def _tell(tuning: Tuning, believed: str, output: Path, directory: RunDirectory, *, as_json: bool) -> None:
    """Write the file and the report, and print what came out."""
    import dataclasses

    from reports.markdown import study_to_markdown
    from reports.study_page import study_to_json, write_study
    from scenarios.run_directory import write_whole
    from simulator.tune.env_file import env_text
    from simulator.tune.study import study_of

    study = study_of(tuning)
    study = dataclasses.replace(study, settings={**study.settings, "validation": believed})
    text = env_text(tuning).encode()
    directory.write("recommended.env", text)  # a later tuning writes over the other one
    write_study(directory.path, study)
    write_whole(output, text)
    if as_json:
        sys.stdout.write(study_to_json(study).decode())
        return
    print(study_to_markdown(dataclasses.replace(study, sections=study.sections[:2])))
    for part in tuning.not_carried:
        print(f"left out by the model: {part}")
    print(f"{output}: {'the settings' if tuning.advised else 'no change'}; {believed}.")
    print(f"{directory.path / 'report.html'}: Pareto plot, sensitivity.")
