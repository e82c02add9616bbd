"""Whether the model may be believed: no advice for a scenario on which the model is known to be wrong."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from reference_daemon.policy.errors import HarnessError
from scenarios.model import Scenario
from scenarios.version import version
from simulator.model.fingerprint import scenario_hash, settings_hash
from simulator.model.settings import model_settings
from simulator.replication.command_run import run_command

_UNDECIDED = 3


class NotValidatedError(HarnessError):
    """There is no validation of the scenario that held: advice from this model would be a guess."""

    exit_code = _UNDECIDED

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Say why there is no advice."""
        return f"no advice: {self.reason}"


def check_validation(path: Path, scenario: Scenario) -> str:
    """Return where a validation of the scenario stands that held.

    Args:
        path: `summary.json` of `exai validate`, or the directory that it lies in.
        scenario: What is tuned.

    Raises:
        NotValidatedError: It did not hold, it is of something else, or it cannot be read.
    """
    file = path / "summary.json" if path.is_dir() else path
    try:
        summary = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise NotValidatedError(f"{file} cannot be read ({type(error).__name__})") from error
    _judge(summary, scenario, str(file))
    return str(file)


def validate(name_or_path: str, scenario: Scenario, runs_dir: Path) -> str:
    """Run `exai validate` for the scenario, and return that it held.

    Raises:
        NotValidatedError: It did not hold, or it could not be run.
    """
    command = [sys.executable, "-m", "exai", "validate", name_or_path, "--runs-dir", str(runs_dir), "--json"]
    done = run_command(command)
    try:
        summary = json.loads(done.output)
    except ValueError as error:
        raise NotValidatedError(f"exai validate ended with {done.status} and said nothing") from error
    _judge(summary, scenario, "exai validate")
    return "exai validate"


def expected_facts(scenario: Scenario) -> dict[str, str]:
    """Return by which facts a validation is known as one of this scenario, as it is, by this version."""
    return {
        "scenario": scenario.name,
        "scenario_hash": scenario_hash(scenario),
        "settings_hash": settings_hash(model_settings(scenario).values),
        "version": version(),
    }


_OTHER = {
    "scenario_hash": "the scenario {name} has changed since {source}",
    "settings_hash": "the settings of {name} have changed since {source}",
    "version": "{source} is by exai-harness {found}, and this is {expected}",
}


def _judge(summary: object, scenario: Scenario, source: str) -> None:
    if not isinstance(summary, dict) or summary.get("kind") != "validate":
        raise NotValidatedError(f"{source} is no result of exai validate")
    facts = summary.get("facts")
    _check_same(facts if isinstance(facts, dict) else {}, summary.get("name"), scenario, source)
    if summary.get("verdict") != "held":
        raise NotValidatedError(
            f"{source} says {summary.get('verdict')} for {scenario.name}: "
            f"{summary.get('headline', 'it gives no reason')}"
        )


def _check_same(facts: Mapping[str, object], named: object, scenario: Scenario, source: str) -> None:
    """Refuse a validation of another scenario, of another state of this one, or by another version."""
    about = facts.get("scenario", named)
    if about != scenario.name:
        raise NotValidatedError(f"{source} is about {about}, not about {scenario.name}")
    for fact, expected in expected_facts(scenario).items():
        found = facts.get(fact)
        if found is None:
            raise NotValidatedError(f"{source} does not say what it is about ({fact}): run exai validate again")
        if found != expected:
            reason = _OTHER[fact].format(name=scenario.name, source=source, found=found, expected=expected)
            raise NotValidatedError(f"{reason}: run exai validate again")


__all__ = ["NotValidatedError", "check_validation", "expected_facts", "validate"]
