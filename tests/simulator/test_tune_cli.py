"""The command `exai tune`: what it writes, what it says, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import exai
from reference_daemon.settings import read_settings

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
    validation = {"kind": "validate", "name": "six", "verdict": "held"}
    (tmp_path / "summary.json").write_text(json.dumps(validation), "utf-8")
    return tmp_path


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
    summary = {"kind": "validate", "name": "six", "verdict": verdict, "headline": "P95 is 9 % off."}
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    assert tune(folder, "--validation", str(folder)) == exai.ExitCode.UNDECIDED
    assert f"says {verdict} for six: P95 is 9 % off." in capsys.readouterr().err
    assert not (folder / "recommended.env").exists()


@pytest.mark.parametrize("option", [("--limit", "speed=3"), ("--env-file", "nothing.env")])
def test_wrong_usage(folder: Path, option: tuple[str, str]) -> None:
    """Exit 2, before anything runs."""
    assert tune(folder, "--unvalidated", *option) == exai.ExitCode.USAGE
    assert not (folder / "runs").exists()
