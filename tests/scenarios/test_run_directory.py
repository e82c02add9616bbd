"""Run directories: one per run, with whole files only."""

import errno
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from scenarios.run_directory import RunDirectory, RunDirectoryError

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class TestCreate:
    def test_is_named_by_utc_time_and_scenario(self, tmp_path: Path) -> None:
        """Names sort by time, wherever the machine stands."""
        east = NOON.astimezone(timezone(timedelta(hours=9)))
        directory = RunDirectory.create(tmp_path / "runs", "smoke", started_at=east)
        assert directory.path == tmp_path / "runs" / "20260102T120000Z-smoke"
        assert directory.logs.is_dir()

    def test_runs_of_one_second_get_directories_of_their_own(self, tmp_path: Path) -> None:
        """Two drills may start at the same moment and must not write into each other's files."""
        made = [RunDirectory.create(tmp_path, "smoke", started_at=NOON).path.name for _ in range(3)]
        assert made == ["20260102T120000Z-smoke", "20260102T120000Z-smoke-2", "20260102T120000Z-smoke-3"]

    def test_a_place_that_is_no_folder_is_one_clear_error(self, tmp_path: Path) -> None:
        """The error names the path and the reason, and means that the environment failed."""
        (tmp_path / "runs").write_text("a file")
        with pytest.raises(RunDirectoryError, match=r"cannot write .*20260102T120000Z-smoke: ") as failure:
            RunDirectory.create(tmp_path / "runs", "smoke", started_at=NOON)
        assert failure.value.exit_code == 3


class TestDiscard:
    def test_one_without_a_result_goes(self, tmp_path: Path) -> None:
        """A run that was broken off leaves no empty directory that looks like a run."""
        RunDirectory.create(tmp_path, "smoke", started_at=NOON).discard()
        assert list(tmp_path.iterdir()) == []

    def test_what_was_written_stays(self, tmp_path: Path) -> None:
        """Somebody may want to read it."""
        directory = RunDirectory.create(tmp_path, "smoke", started_at=NOON)
        directory.write("sweep.csv", b"1")
        (directory.logs / "daemon.log").write_text("one line")
        directory.discard()
        assert (directory.path / "sweep.csv").read_bytes() == b"1"
        assert (directory.logs / "daemon.log").exists()


class TestWrite:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> RunDirectory:
        """Return a new run directory."""
        return RunDirectory.create(tmp_path, "smoke", started_at=NOON)

    def test_makes_the_folder_of_a_file(self, directory: RunDirectory) -> None:
        """Plots lie in a folder of their own."""
        assert directory.write("plots/latency.svg", b"<svg/>").read_bytes() == b"<svg/>"

    def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(
        self, directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No half file is left, and the one of before stands."""
        directory.write("summary.json", b"old")
        real = Path.write_bytes

        def full(path: Path, content: bytes) -> int:
            real(path, content[:1])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(RunDirectoryError, match=r"summary\.json: No space left on device"):
            directory.write("summary.json", b"new")
        assert sorted(path.name for path in directory.path.iterdir()) == ["logs", "summary.json"]
        assert (directory.path / "summary.json").read_bytes() == b"old"
