"""The file by which a process says where it listens."""

import json
import os
from pathlib import Path

import pytest

from reference_daemon.ready_file import ReadyFileError, write_ready_file


def test_file_has_the_facts_and_the_pid(tmp_path: Path) -> None:
    """Who started the process with port 0 learns its port, and whom to end."""
    write_ready_file(tmp_path / "ready.json", {"port": 8765})
    assert json.loads((tmp_path / "ready.json").read_text("utf-8")) == {"port": 8765, "pid": os.getpid()}


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nobody reads half a file, and no draft stays behind."""
    path = tmp_path / "ready.json"
    path.write_text("of an earlier run")
    write_ready_file(path, {"port": 1})
    assert json.loads(path.read_text("utf-8"))["port"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["no/such/folder/ready.json", "folder"])
def test_place_that_cannot_be_written_is_told(tmp_path: Path, place: str) -> None:
    """A missing folder, or a folder of that name, is the environment's fault: status 3, one line, no draft left."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ReadyFileError, match="cannot write") as failed:
        write_ready_file(tmp_path / place, {"port": 1})
    assert failed.value.exit_code == 3
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
