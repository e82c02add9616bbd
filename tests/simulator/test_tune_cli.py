"""The command `exai tune`: what it writes, what it says, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import exai
from reference_daemon.settings import read_settings
from scenarios.load import load_scenario
from simulator.tune.gate import expected_facts

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 60.0
"""Wall seconds after which a command hangs."""

YAML = """\
name: six
title: Six at once
seed: 3
providers:
  GLM: {latency: {uniform: {low: 35, high: 55}}, concurrency: 3}
load:
  - {phase: rush, duration: 10, clients: 6, arrivals: {burst: {size: 6}}, sequence: [analyze]}
expect:
  - {metric: success_rate, min: 0.9}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a scenario, bad settings, and a validation that held."""
    (tmp_path / "six.yaml").write_text(YAML, "utf-8")
    (tmp_path / "bad.env").write_text("EXAI_WS_GLOBAL_MAX_INFLIGHT=1\nEXAI_WS_RETRY_AFTER=fixed:1\n", "utf-8")
    validated(tmp_path)
    return tmp_path


def validated(folder: Path, **changes: str) -> None:
    """Write what a validation of the scenario left."""
    facts = expected_facts(load_scenario(folder / "six.yaml"))
    validation = {"kind": "validate", "name": "six", "verdict": "held", "facts": facts} | changes
    (folder / "summary.json").write_text(json.dumps(validation), "utf-8")


def tune(folder: Path, *options: str) -> int:
    """Run the command on the small scenario, with one worker and few trials."""
    fixed = ["--runs-dir", str(folder / "runs"), "-o", str(folder / "recommended.env"), "--workers", "1"]
    few = ["--trials", "8", "--replications", "3"]
    return exai.main(["tune", str(folder / "six.yaml"), *fixed, *few, *options])


def test_from_bad_settings_to_a_file_that_the_daemon_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what is better, writes the file and the report, and the checklist passes the file."""
    options = ("--env-file", str(folder / "bad.env"), "--validation", str(folder))
    assert tune(folder, *options) == exai.ExitCode.HELD
    printed = capsys.readouterr().out
    assert "recommended: success rate +" in printed
    assert "the model holds for this scenario" in printed
    file = folder / "recommended.env"
    assert read_settings(file).global_max_inflight > 1
    (directory,) = (folder / "runs").iterdir()
    plots = {path.name for path in (directory / "plots").glob("*.svg")}
    assert "pareto.svg" in plots
    assert any(name.startswith("sensitivity") for name in plots)
    command = [sys.executable, "-m", "exai", "checklist", "--env-file", str(file)]
    done = subprocess.run(command, cwd=ROOT, timeout=BOUND_S, capture_output=True, text=True, check=False)
    assert done.returncode == exai.ExitCode.HELD, done.stdout


def test_limits_that_nothing_keeps_are_a_violation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1: judged, and violated; a program reads it as JSON, and nothing else is printed."""
    assert tune(folder, "--unvalidated", "--json", "--limit", "p95_s=10") == exai.ExitCode.VIOLATED
    summary = json.loads(capsys.readouterr().out)
    assert "No setting that was tried keeps the limits" in summary["headline"]
    assert (summary["facts"]["feasible"], summary["facts"]["changes"]) == (False, {})
    assert "unvalidated" in summary["settings"]["validation"]


@pytest.mark.parametrize("verdict", ["violated", "undecided"])
def test_no_advice_from_a_model_that_was_not_validated(
    folder: Path, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, the reason on stderr, and no file."""
    validated(folder, verdict=verdict, headline="P95 is 9 % off.")
    assert tune(folder, "--validation", str(folder)) == exai.ExitCode.UNDECIDED
    assert f"says {verdict} for six: P95 is 9 % off." in capsys.readouterr().err
    assert not (folder / "recommended.env").exists()


@pytest.mark.parametrize(
    "option", [("--limit", "speed=3"), ("--env-file", "nothing.env"), ("--warm-up", "10"), ("--set", "EXAI_NONE=1")]
)
def test_wrong_usage(folder: Path, option: tuple[str, str]) -> None:
    """Exit 2, before anything runs."""
    assert tune(folder, "--unvalidated", *option) == exai.ExitCode.USAGE
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("name", ["bad.env", "six.yaml", "other.env", "runs"])
def test_no_file_but_one_of_its_own_is_replaced(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An input, a file with tokens in it, a folder: exit 2 before anything runs, and it stays as it was."""
    (folder / "other.env").write_text("EXAI_WS_TOKEN=secret\n", "utf-8")
    (folder / "runs").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    options = ("--unvalidated", "--env-file", str(folder / "bad.env"), "-o", str(folder / name))
    assert tune(folder, *options) == exai.ExitCode.USAGE
    assert "name another file with -o" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_second_tuning_leaves_the_first_in_its_directory(folder: Path) -> None:
    """Each run directory keeps the file that was written; the command in it makes the same advice again."""
    for seed in ("1", "2"):
        options = ("--seed", seed, "--limit", "global=9", "--set", "EXAI_WS_TTL_MULTIPLIER=3")
        assert tune(folder, "--unvalidated", *options) == exai.ExitCode.HELD
    kept = [path.read_text("utf-8") for path in sorted((folder / "runs").glob("*/recommended.env"))]
    assert len(kept) == 2
    assert kept[-1] == (folder / "recommended.env").read_text("utf-8")
    assert "--seed 1 --set EXAI_WS_TTL_MULTIPLIER=3 --limit global=9" in kept[0]


@pytest.mark.parametrize("option", ["--runs-dir", "-o"])
def test_a_folder_that_takes_nothing_costs_no_work(
    folder: Path, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found out before the search, not behind it: exit 3."""
    monkeypatch.setattr("simulator.tune.tune.tune", None)  # a search would be a bug
    (folder / "file").touch()
    assert tune(folder, "--unvalidated", option, str(folder / "file" / "recommended.env")) == exai.ExitCode.UNDECIDED
    assert "cannot write" in capsys.readouterr().err
