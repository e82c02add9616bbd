"""The command `exai tune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scenarios.model import Scenario
    from simulator.tune import Tuning

VIOLATED = 1


def register(umbrella: typer.Typer) -> None:
    """Add the command to the umbrella command."""
    umbrella.command("tune")(tune)


_Trials = Annotated[int, typer.Option(min=3, max=10_000, help="Settings that are tried.")]
_Replications = Annotated[
    int, typer.Option(min=3, max=1000, help="Seeds of each trial; twice as many choose, four times as many prove.")
]
_Seed = Annotated[int, typer.Option(min=0, help="Start of all chance; the same seed gives the same advice.")]
_EnvFile = Annotated[
    Path | None, typer.Option(help="Settings to start from, besides the scenario's and the shipped ones.")
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(
        help="What must be kept, repeatable: p95_s=120, success_rate=0.95, global=12, provider:GLM=4, "
        "provider-concurrency=8."
    ),
]
_Patience = Annotated[
    bool, typer.Option("--patience", help="Also try EXAI_CLIENT_TIMEOUT, which the MCP clients must be set to.")
]
_WarmUp = Annotated[float, typer.Option(min=0.0, help="Seconds at the start whose calls do not count.")]
_Workers = Annotated[int | None, typer.Option(min=1, max=256, help="Processes; as many as there are cores if absent.")]
_Validation = Annotated[
    Path | None, typer.Option(help="Directory or summary.json of an `exai validate` run of this scenario.")
]
_Validate = Annotated[
    bool,
    typer.Option("--validate/--unvalidated", help="Run `exai validate` first; or advise on the model's word alone."),
]
_Output = Annotated[Path, typer.Option("-o", "--output", help="Where the settings are written.")]
_RunsDir = Annotated[Path, typer.Option(help="Where the report's directory is made.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result, as JSON, and nothing else.")]


def tune(
    scenario: Annotated[str, typer.Argument(help="Name of a shipped scenario, or a file.")],
    trials: _Trials = 100,
    replications: _Replications = 10,
    seed: _Seed = 1,
    env_file: _EnvFile = None,
    limit: _Limits = None,
    patience: _Patience = False,
    warm_up: _WarmUp = 0.0,
    workers: _Workers = None,
    validation: _Validation = None,
    validate: _Validate = True,
    output: _Output = Path("recommended.env"),
    runs_dir: _RunsDir = Path("runs"),
    json: _Json = False,
) -> int:
    """Search for better caps, TTLs and retry advice in the model, and write what it recommends.

    Aims, in this order: success rate, P95 with retries included, work thrown away. Nothing is recommended that is not
    better outside the interval on fresh seeds, and nothing at all where `exai validate` fails (exit 3). Exit 1: no
    setting that was tried keeps the limits. Prove it on the real daemon: `exai drill SCENARIO --env-file
    recommended.env`.
    """
    from scenarios.load import find_scenario, load_scenario
    from simulator.model_settings import model_settings
    from simulator.tune_limits import read_limits
    from simulator.tune_order import Order

    found = find_scenario(scenario)
    loaded = load_scenario(found)
    order = Order(
        scenario=loaded,
        start=model_settings(loaded, env_file=env_file),
        trials=trials,
        replications=replications,
        seed=seed,
        limits=read_limits(limit or (), loaded),
        patience=patience,
        warm_up_s=warm_up,
    )
    believed = _believed(loaded, str(found), validation, runs_dir, validate=validate)
    from simulator.replications import cores
    from simulator.screen import Screen, console_for
    from simulator.tune import tune as tuned
    from simulator.workers import local_workers

    with Screen(console_for(stderr=True)) as screen, local_workers(workers or cores()) as pool:
        screen.say(f"{loaded.name}: {trials} trials of {replications} replications")
        tuning = tuned(order, pool, screen.progress)
    _tell(tuning, believed, output, runs_dir, as_json=json)
    return 0 if tuning.feasible else VIOLATED


def _believed(scenario: Scenario, source: str, validation: Path | None, runs_dir: Path, *, validate: bool) -> str:
    """Return why the model is believed; raise where it must not be."""
    from simulator.tune_gate import check_validation
    from simulator.tune_gate import validate as run_validation

    if validation is not None:
        return f"the model holds for this scenario, says {check_validation(validation, scenario.name)}"
    if validate:
        return f"the model holds for this scenario, says {run_validation(source, scenario.name, runs_dir)}"
    return "nobody validated the model for this scenario (--unvalidated)"


def _tell(tuning: Tuning, believed: str, output: Path, runs_dir: Path, *, as_json: bool) -> None:
    """Write the file and the report, and print what came out."""
    import dataclasses
    from datetime import UTC, datetime

    from reports.markdown import study_to_markdown
    from reports.study_page import study_to_json, write_study
    from scenarios.run_directory import RunDirectory, write_whole
    from simulator.recommend_env import env_text
    from simulator.tune_study import study_of

    study = study_of(tuning)
    study = dataclasses.replace(study, settings={**study.settings, "validation": believed})
    directory = RunDirectory.create(runs_dir, f"tune-{tuning.order.scenario.name}", started_at=datetime.now(UTC))
    write_study(directory.path, study)
    write_whole(output, env_text(tuning).encode())
    if as_json:
        sys.stdout.write(study_to_json(study).decode())
        return
    print(study_to_markdown(dataclasses.replace(study, sections=study.sections[:2])))
    for part in tuning.not_carried:
        print(f"left out by the model: {part}")
    print(f"{output}: {'the settings' if tuning.advised else 'no change'}; {believed}.")
    print(f"{directory.path / 'report.html'}: Pareto plot, sensitivity.")
