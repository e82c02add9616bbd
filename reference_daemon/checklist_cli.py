"""The command `exai checklist`: what to look at before and after a restart."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reference_daemon.checklist import Check, Reading

HELD, FAILED, UNDECIDED = 0, 1, 3


def checklist(
    env_file: Annotated[
        Path | None, typer.Option(help="Settings to read after the environment.  [default: ENV_FILE, .env]")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the running daemon and the providers, too.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Run the gate's stages smoke and parallel at the end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Check the settings that the daemon would read against the timeout ladder, and say what to write to .env.

    Exit status 1: a rule is broken. 3: the daemon or a provider does not answer.
    """
    from reference_daemon.checklist import ladder, read

    reading = read(env_file)
    settled = ladder(reading)
    if not as_json:
        _show_settled(reading, settled)
    _refuse_problems(reading, settled, as_json=as_json)
    running = _ask(reading, as_json=as_json) if live else []
    status = _status([*settled, *running])
    drill: dict[str, Any] | None = None
    if run:
        status, drill = _drill(status, as_json=as_json)
    if as_json:
        _print_json(reading, settled, running, drill)
    return status


def _show_settled(reading: Reading, checks: Sequence[Check]) -> None:
    from rich.console import Console

    from reference_daemon.checklist_screen import show_checks, show_result, show_source

    console = Console(highlight=False)
    show_source(console, reading)
    show_checks(console, "setting, value (from where)", checks)
    show_result(console, checks)


def _refuse_problems(reading: Reading, checks: Sequence[Check], *, as_json: bool) -> None:
    """End if values are wrong: what could be judged was shown, and the rest is listed."""
    from reference_daemon.settings import SettingsError

    if reading.problems:
        if as_json:
            _print_json(reading, checks, [], None)
        raise SettingsError(list(reading.problems))


def _ask(reading: Reading, *, as_json: bool) -> list[Check]:
    """Ask what runs, and show it."""
    from reference_daemon.checklist_live import live_checks

    checks = asyncio.run(live_checks(reading.settings))
    if not as_json:
        from rich.console import Console

        from reference_daemon.checklist_screen import show_checks, show_result

        console = Console(highlight=False)
        show_checks(console, "what runs, and what it says", checks)
        show_result(console, checks)
    return checks


def _status(checks: Sequence[Check]) -> int:
    """Return the exit status: a broken rule outweighs a missing answer."""
    verdicts = {check.verdict.value for check in checks}
    if "FAIL" in verdicts:
        return FAILED
    return UNDECIDED if "undecided" in verdicts else HELD


def _drill(status: int, *, as_json: bool) -> tuple[int, dict[str, Any] | None]:
    """Run the sequential and the parallel stage in a process of its own, unless something is to be put right first."""
    if status != HELD:
        print("exai: the drill was not run: put the above right first", file=sys.stderr)
        return status, None
    command = [sys.executable, "-P", "-m", "exai", "gate", "--stage", "smoke", "--stage", "parallel"]
    if not as_json:
        return _status_of(subprocess.run(command, check=False)), None
    done = subprocess.run([*command, "--json"], check=False, stdout=subprocess.PIPE)
    try:
        summary = json.loads(done.stdout)
    except ValueError:
        summary = None
    status = _status_of(done)
    return status, {"exit_code": status, "summary": summary}


def _status_of(done: subprocess.CompletedProcess[bytes]) -> int:
    """Return a process's exit status; one that a signal ended has decided nothing."""
    return done.returncode if done.returncode >= 0 else UNDECIDED


def _print_json(
    reading: Reading, settled: Sequence[Check], running: Sequence[Check], drill: dict[str, Any] | None
) -> None:
    """Print everything as one JSON object."""
    import dataclasses

    facts = {
        "file": str(reading.path) if reading.path.is_file() else None,
        "problems": [str(problem) for problem in reading.problems],
        "settings": [dataclasses.asdict(check) for check in settled],
        "live": [dataclasses.asdict(check) for check in running],
        "drill": drill,
    }
    print(json.dumps(facts, indent=2))
