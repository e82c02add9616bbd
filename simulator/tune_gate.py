"""Whether the model may be believed: no advice for a scenario on which the model is known to be wrong."""

import json
import subprocess
import sys
from pathlib import Path

from reference_daemon.policy.errors import HarnessError

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


def check_validation(path: Path, scenario: str) -> str:
    """Return where a validation of the scenario stands that held.

    Args:
        path: `summary.json` of `exai validate`, or the directory that it lies in.
        scenario: Name of the scenario that is tuned.

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


def validate(name_or_path: str, scenario: str, runs_dir: Path) -> str:
    """Run `exai validate` for the scenario, and return that it held.

    Raises:
        NotValidatedError: It did not hold, or it could not be run.
    """
    command = [sys.executable, "-m", "exai", "validate", name_or_path, "--runs-dir", str(runs_dir), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        summary = json.loads(done.stdout)
    except ValueError as error:
        raise NotValidatedError(f"exai validate ended with {done.returncode} and said nothing") from error
    _judge(summary, scenario, "exai validate")
    return "exai validate"


def _judge(summary: object, scenario: str, source: str) -> None:
    if not isinstance(summary, dict) or summary.get("kind") != "validate":
        raise NotValidatedError(f"{source} is no result of exai validate")
    facts = summary.get("facts")
    named = {summary.get("name"), facts.get("scenario") if isinstance(facts, dict) else None}
    if scenario not in named:
        raise NotValidatedError(f"{source} is about {summary.get('name')}, not about {scenario}")
    if summary.get("verdict") != "held":
        raise NotValidatedError(
            f"{source} says {summary.get('verdict')} for {scenario}: {summary.get('headline', 'it gives no reason')}"
        )
