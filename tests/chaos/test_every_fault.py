"""Every provider mode and every signal in one drill of real processes: each bit, and healed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios.record import read_record

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of POSIX"),
]

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 100.0  # wall seconds that the drill may take on a busy machine; it is made for 15

SCENARIO = {
    "name": "every-fault",
    "title": "Every mode of a provider and every signal, one after another",
    "time_scale": 0.05,
    "settings": {"EXAI_WS_DRAIN_GRACE_SECS": 20},
    "providers": {"GLM": {"latency": {"constant": {"value": 5}}}},
    "load": [{"phase": "steady", "duration": 240, "arrivals": {"uniform": {"gap": 10}}, "sequence": ["analyze"]}],
    "faults": [
        {"at": 10, "for": 8, "provider": {"name": "GLM", "mode": "status:503"}},
        {"at": 25, "for": 8, "provider": {"name": "GLM", "mode": "status:429", "retry_after": 7}},
        {"at": 40, "for": 8, "provider": {"name": "GLM", "mode": "hang"}},
        {"at": 55, "for": 8, "provider": {"name": "GLM", "mode": "drip"}},
        {"at": 70, "for": 8, "provider": {"name": "GLM", "mode": "malformed"}},
        {"at": 85, "for": 8, "provider": {"name": "GLM", "latency": {"constant": {"value": 9}}}},
        {"at": 100, "for": 8, "provider": {"name": "GLM", "concurrency": 1}},
        {"at": 120, "for": 15, "signal": "SIGSTOP"},
        {"at": 150, "for": 5, "signal": "SIGTERM"},
        {"at": 200, "for": 5, "signal": "SIGKILL"},
    ],
    "quiesce": 120,
    "expect": [{"metric": "calls", "min": 24, "max": 24}, {"invariants": "all"}],
}


@pytest.mark.slow
def test_every_mode_and_signal_bites_and_heals(tmp_path: Path) -> None:
    """The drill proves of each fault that it bit and healed, breaks no rule, and starts the daemon three times."""
    file = tmp_path / "every-fault.yaml"
    file.write_text(json.dumps(SCENARIO))  # JSON is YAML
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "exai", "drill", str(file), "--runs-dir", str(runs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = runs.iterdir()
    record = read_record(directory)
    proofs = {window.name: window.proof for window in record.run.faults}
    assert len(proofs) == len(SCENARIO["faults"])  # type: ignore[arg-type]
    for name, proof in proofs.items():
        assert proof is not None, name
        assert (proof.bit, proof.healed) == (True, True), f"{name}: {proof.evidence}"
    starts = [event for event in record.events if getattr(event, "what", "") == "started"]
    assert len(starts) == 3
