"""The same seed gives the same bytes, in this process and in any other."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from reference_daemon.policy.config import PolicyConfig
from scenarios.history import write_calls
from scenarios.load import load_scenario, shipped
from simulator.model.engine import simulate

ROOT = Path(__file__).parents[2]


def history(path: Path, seed: int) -> str:
    """Write the history of a run with faults, restarts and retries; return the hash of the file."""
    scenario = load_scenario(shipped()["04-chaos"])
    write_calls(path, simulate(scenario, PolicyConfig(), seed=seed).calls)
    return sha256(path.read_bytes()).hexdigest()


def test_a_seed_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    """Neither the process nor the order of its hash tables has a part in a run; another seed gives another one."""
    here = history(tmp_path / "here.parquet", 7)
    program = (
        f"import runpy, pathlib, sys; print(runpy.run_path({__file__!r})['history'](pathlib.Path(sys.argv[1]), 7))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there.parquet")],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)},
    ).stdout
    assert printed.strip() == here
    assert history(tmp_path / "again.parquet", 7) == here
    assert history(tmp_path / "other.parquet", 8) != here
