"""The protocol's document says what the code does, and its example runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reference_daemon import door, wire
from tests.processes import ROOT, a_daemon

TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if line.startswith("| ")]
FRAMES = [
    *(wire.Hello, wire.ListTools, wire.CallTool, wire.Cancel, wire.Attach, wire.Health, wire.RotateToken),
    *(wire.HelloAck, wire.ListToolsResult, wire.CallToolAck, wire.Progress, wire.CallToolReply),
    *(wire.HealthResult, wire.RotateTokenResult, wire.ErrorFrame),
]


def test_errors_are_those_of_the_table() -> None:
    """Each code stands there with its status, and no other does."""
    told = {row[1].strip("`"): int(row[0]) for row in ROWS if re.fullmatch(r"[45]\d\d", row[0]) and len(row) >= 3}
    assert told == wire.ERROR_STATUS


@pytest.mark.parametrize("field", sorted(set(wire.Error.__struct_fields__)))
def test_each_field_of_an_error_is_told(field: str) -> None:
    """A client author finds every fact that an error may carry."""
    assert f"`{field}`" in TEXT[TEXT.index("## Errors") :]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: str(frame.__struct_config__.tag))
def test_each_op_and_its_fields_are_told(frame: type[wire.Hello]) -> None:
    """A client author finds every op, and every field of each."""
    assert re.search(rf"`{frame.__struct_config__.tag}`", TEXT)
    names = set(frame.__struct_fields__)
    missing = {name for name in names if not re.search(rf"`{name}`|\"{name}\"", TEXT)}
    assert missing == set()


def test_close_codes_are_those_of_the_door() -> None:
    """The codes with which a hello is refused, and why."""
    told = {row[0] for row in ROWS if re.fullmatch(r"40\d\d", row[0])}
    assert told == {str(code) for code in door._CLOSE_CODES.values()}
    assert all(f"`{code}`" in TEXT for code in door._CLOSE_CODES)


def test_frames_of_the_example_exchange_are_real() -> None:
    """What the example shows can be read, and no field of it is unknown."""
    frames = re.findall(r"^[→←] (\{.*\})$", TEXT, flags=re.MULTILINE)
    by_op = {str(kind.__struct_config__.tag): set(kind.__struct_fields__) for kind in FRAMES}
    assert [json.loads(frame)["op"] for frame in frames] == ["call_tool", "call_tool_ack", "progress", "call_tool_res"]
    assert all(set(json.loads(frame)) - {"op"} <= by_op[json.loads(frame)["op"]] for frame in frames)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the daemon ends by POSIX signals")
def test_example_client_runs(tmp_path: Path) -> None:
    """The fifteen lines, copied out of the document, make a call."""
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "client.py").write_text(source, "utf-8")
    arguments = json.dumps({"prompt": "hello"})
    with a_daemon(tmp_path, {"EXAI_TIME_SCALE": "0.05", "EXAI_STUB_LATENCY": "constant:12"}) as daemon:
        done = subprocess.run(
            [sys.executable, "client.py", daemon.url, "chat", arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60.0,
        )
    assert (done.returncode, done.stderr) == (0, "")
    ops = [line.split()[0] for line in done.stdout.splitlines()]
    assert (ops[0], set(ops[1:-1]), ops[-1]) == ("call_tool_ack", {"progress"}, "call_tool_res")
    assert "made up" in done.stdout.splitlines()[-1]
