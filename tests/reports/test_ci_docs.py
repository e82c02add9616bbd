"""What docs/ci.md tells people to copy: it parses, and its commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import exai
from scenarios.load import shipped

TEXT = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()

WORKFLOWS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]

COMMANDS = sorted(set(re.findall(r"\bexai [a-z][^`|&;)\n]*", TEXT)))


def commands() -> Any:
    """Return the umbrella command with all that it joins."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(exai._root)
    for module in exai.COMMAND_MODULES:
        __import__(module, fromlist=["register"]).register(app)
    return typer.main.get_command(app)


def test_both_services_have_a_file() -> None:
    """Each parses, keeps what was written also when the gate fails, and takes the exit status as it is."""
    github, gitlab = WORKFLOWS
    steps = github["jobs"]["gate"]["steps"]
    gate = [step for step in steps if "exai gate" in step.get("run", "")]
    after = steps[steps.index(gate[0]) + 1 :]
    assert len(gate) == 1
    assert "continue-on-error" not in gate[0]
    assert [step["if"] for step in after] == ["always()", "always()"]
    assert any("$GITHUB_STEP_SUMMARY" in step.get("run", "") for step in after)
    assert gitlab["gate"]["artifacts"]["when"] == "always"
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] == "runs/*-gate/junit.xml"
    assert "allow_failure" not in gitlab["gate"]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line: str) -> None:
    """No reader copies a command or an option that is not there."""
    words = [word for word in shlex.split(line.rstrip(" .,:")) if word != "exai"]
    command = commands()
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_files_that_are_hashed_exist() -> None:
    """A cache whose key hashes a file that is not there never changes."""
    root = Path(__file__).parents[2]
    (files,) = re.findall(r"hashFiles\((.*?)\)", TEXT)
    named = re.findall(r"'(.*?)'", files)
    assert named == WORKFLOWS[1]["gate"]["cache"]["key"]["files"]
    assert all((root / name).is_file() for name in named)


def test_scenarios_that_are_named_exist() -> None:
    """The example of a baseline runs a scenario that ships."""
    assert set(re.findall(r"exai drill (\S+)", TEXT)) <= set(shipped())


@pytest.mark.skipif(sys.platform == "win32", reason="no sh there")
def test_a_second_run_does_not_break_the_example(tmp_path: Path) -> None:
    """With two runs in the folder the command compares the newer one, and gets no argument too many."""
    for name in ("20260101T000000Z-mixed-load", "20260102T000000Z-mixed-load", "20260103T000000Z-gate"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    lines = [line for line in TEXT.splitlines() if line.startswith(("newest=", "exai report "))]
    shell = ["sh", "-c", "exai() { printf '%s\\n' \"$@\"; }\n" + "\n".join(lines)]
    words = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[:3] == ["report", "runs/20260102T000000Z-mixed-load", "--baseline"]
