"""The health file: young while the daemon runs, gone after an orderly end, and never in its way."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from reference_daemon.clock import Clock
from reference_daemon.observability.health_file import INTERVAL_S, HealthFile, read_health

URL = "ws://127.0.0.1:1"
pytestmark = pytest.mark.looptime


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Loggers that `capture_logs` can see, whatever was configured before."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


class Counting:
    """Figures that tell which version they are."""

    def __init__(self) -> None:
        self.versions = 0

    def __call__(self) -> dict[str, Any]:
        """Return the next version."""
        """Return the next version."""
        self.versions += 1
        return {"version": self.versions}


def a_file(path: Path) -> HealthFile:
    """Return a health file on the test loop's own time."""
    return HealthFile(path, URL, Counting(), Clock(monotonic=asyncio.get_running_loop().time))


async def test_it_is_there_at_once_and_replaced_every_few_seconds(tmp_path: Path) -> None:
    """Its first version is there before anybody can ask; a new one comes each interval."""
    path = tmp_path / "health.json"
    async with a_file(path):
        assert read_health(path) == {"version": 1, "url": URL, "pid": os.getpid()}
        await asyncio.sleep(INTERVAL_S * 1.5)
        assert (read_health(path) or {})["version"] == 2
        await asyncio.sleep(INTERVAL_S)
        assert (read_health(path) or {})["version"] == 3
        assert [each.name for each in tmp_path.iterdir()] == ["health.json"]


async def test_an_orderly_end_removes_it(tmp_path: Path) -> None:
    """After an orderly end nobody is told figures of a daemon that is gone; its task is gone, too."""
    tasks = asyncio.all_tasks()
    async with a_file(tmp_path / "health.json"):
        assert len(asyncio.all_tasks() - tasks) == 1
    assert asyncio.all_tasks() == tasks
    assert list(tmp_path.iterdir()) == []


async def test_another_daemons_file_is_left_alone(tmp_path: Path) -> None:
    """Of two daemons with one folder of logs, the end of one does not remove what the other wrote."""
    path = tmp_path / "health.json"
    async with a_file(path):
        path.write_text('{"pid": 1}')
    assert read_health(path) == {"pid": 1}


async def test_a_full_disk_harms_nobody(tmp_path: Path) -> None:
    """A file that cannot be written is said once, not each time; it is written again as soon as it can be."""
    folder = tmp_path / "gone"
    with capture_logs() as logs:
        async with a_file(folder / "health.json"):
            await asyncio.sleep(INTERVAL_S * 2.5)
            assert [line["event"] for line in logs] == ["health_file_failed"]
            folder.mkdir()
            await asyncio.sleep(INTERVAL_S)
            assert (read_health(folder / "health.json") or {})["version"] == 4
            (folder / "health.json").unlink()
            folder.rmdir()
            await asyncio.sleep(INTERVAL_S)
    assert [line["log_level"] for line in logs] == ["warning", "warning"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_health_file_is_none(tmp_path: Path, content: bytes | None) -> None:
    """A missing, torn or foreign file says nothing, and breaks nothing."""
    path = tmp_path / "health.json"
    if content is not None:
        path.write_bytes(content)
    assert read_health(path) is None
