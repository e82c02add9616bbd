"""Lines to a descriptor: one write per turn, full disks, rotation."""

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_daemon.observability.lines import MAX_BUFFERED, LineSink, RotatingFile


class Disk:
    """What `os.write` does, as the test says.

    Attributes:
        room: Bytes that still fit; None: any number.
        most: Bytes that one write takes at most; None: all.
        writes: What was written, write by write.
    """

    def __init__(self) -> None:
        """Start with a disk that takes everything."""
        self.room: int | None = None
        self.most: int | None = None
        self.writes: list[bytes] = []

    def write(self, descriptor: int, data: bytes) -> int:
        """Take some of `data`."""
        limits = [limit for limit in (self.room, self.most) if limit is not None]
        taken = min([len(data), *limits])
        if taken == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.room is not None:
            self.room -= taken
        self.writes.append(bytes(data[:taken]))
        return taken

    @property
    def content(self) -> bytes:
        """Everything that was written."""
        return b"".join(self.writes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk in memory, under every sink of the test."""
    made = Disk()
    monkeypatch.setattr(os, "write", made.write)
    return made


class TestTurns:
    async def test_lines_of_one_turn_are_one_write(self, disk: Disk) -> None:
        """What one turn of the loop logs is written once, when the turn ends."""
        sink = LineSink(1)
        sink.write(b"one")
        sink.write(b"two")
        assert disk.writes == []
        await asyncio.sleep(0.0)
        assert disk.writes == [b"one\ntwo\n"]

    async def test_next_turn_is_another_write(self, disk: Disk) -> None:
        """Nothing waits longer than its turn."""
        sink = LineSink(1)
        sink.write(b"one")
        await asyncio.sleep(0.0)
        sink.write(b"two")
        await asyncio.sleep(0.0)
        assert disk.writes == [b"one\n", b"two\n"]

    def test_without_a_loop_lines_are_written_at_once(self, disk: Disk) -> None:
        """Before the loop runs, and after it, there are no turns."""
        LineSink(1).write(b"one")
        assert disk.writes == [b"one\n"]

    async def test_flush_writes_now_and_once(self, disk: Disk) -> None:
        """A flush within a turn leaves nothing for its end."""
        sink = LineSink(1)
        sink.write(b"one")
        sink.flush()
        sink.flush()
        await asyncio.sleep(0.0)
        assert disk.writes == [b"one\n"]

    async def test_long_turn_is_written_in_its_middle(self, disk: Disk) -> None:
        """What a turn may hold is bounded."""
        sink = LineSink(1)
        for _ in range(MAX_BUFFERED - 1):
            sink.write(b"x")
        assert disk.writes == []
        sink.write(b"x")
        assert disk.content == b"x\n" * MAX_BUFFERED

    async def test_write_that_takes_a_part_is_continued(self, disk: Disk) -> None:
        """A pipe may take less than it is given: the rest follows."""
        disk.most = 3
        sink = LineSink(1)
        sink.write(b"one line")
        sink.flush()
        assert disk.content == b"one line\n"
        assert sink.lost == 0


class TestFullDisk:
    def test_lines_are_lost_and_counted_and_nothing_raises(self, disk: Disk) -> None:
        """A full disk costs lines, never a call."""
        disk.room = 0
        sink = LineSink(1)
        sink.write(b"one")
        sink.write(b"two")
        assert (sink.lost, disk.writes) == (2, [])

    def test_loss_is_said_once_there_is_room(self, disk: Disk) -> None:
        """The first write that works says how many lines are missing, in words that the owner made; once."""
        disk.room = 0
        sink = LineSink(1)
        sink.lost_line = lambda count: b"lost %d" % count
        sink.write(b"one")
        sink.write(b"two")
        disk.room = None
        sink.write(b"three")
        sink.write(b"four")
        assert disk.content == b"lost 2\nthree\nfour\n"

    def test_half_a_line_does_not_spoil_the_next(self, disk: Disk) -> None:
        """A disk that was full within a line leaves half of it; the next line begins on its own."""
        disk.room = 5
        sink = LineSink(1)
        sink.write(b"one line")
        disk.room = None
        sink.write(b"another")
        assert disk.content == b"one l\nanother\n"
        assert sink.lost == 1

    def test_closed_descriptor_is_like_a_full_disk(self) -> None:
        """Whatever is wrong with the descriptor, the caller is not bothered."""
        reader, writer = os.pipe()
        os.close(reader)
        sink = LineSink(writer)
        sink.write(b"to nobody")
        os.close(writer)
        assert sink.lost == 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a rotating file is, in a folder that does not exist yet."""
    return tmp_path / "logs" / "metrics.jsonl"


@pytest.fixture
def rotating(path: Path) -> Iterator[RotatingFile]:
    """A file that is moved away after more than 20 bytes."""
    made = RotatingFile(path, max_bytes=20)
    yield made
    made.close()


class TestRotation:
    def test_folder_is_made_and_the_file_is_private(self, rotating: RotatingFile, path: Path) -> None:
        """The file exists at once, and only its owner may read it."""
        assert path.read_bytes() == b""
        assert path.stat().st_mode & 0o077 == 0

    def test_file_at_its_limit_stays(self, rotating: RotatingFile, path: Path) -> None:
        """Twenty bytes, line breaks included, fit."""
        rotating.write(b"x" * 9)
        rotating.write(b"y" * 9)
        assert path.read_bytes() == b"x" * 9 + b"\n" + b"y" * 9 + b"\n"
        assert list(path.parent.iterdir()) == [path]

    def test_file_past_its_limit_is_moved_away(self, rotating: RotatingFile, path: Path) -> None:
        """The line that passes the limit ends the file; the next begins a new one. No line is split or lost."""
        rotating.write(b"x" * 20)
        rotating.write(b"next")
        assert path.with_name("metrics.jsonl.1").read_bytes() == b"x" * 20 + b"\n"
        assert path.read_bytes() == b"next\n"

    def test_one_older_file_is_kept(self, rotating: RotatingFile, path: Path) -> None:
        """Disk use is bounded by twice the limit, and a line."""
        for letter in (b"a", b"b", b"c"):
            rotating.write(letter * 20)
        assert sorted(each.name for each in path.parent.iterdir()) == ["metrics.jsonl", "metrics.jsonl.1"]
        assert path.with_name("metrics.jsonl.1").read_bytes().startswith(b"c")

    def test_restart_appends_and_remembers_the_size(self, path: Path) -> None:
        """A second start goes on with the file, and with what it counts towards the limit."""
        for _ in range(2):
            again = RotatingFile(path, max_bytes=20)
            again.write(b"x" * 14)
            again.close()
        assert path.with_name("metrics.jsonl.1").read_bytes() == (b"x" * 14 + b"\n") * 2

    def test_file_that_cannot_be_moved_goes_on(self, rotating: RotatingFile, path: Path) -> None:
        """Where the older file's name is taken by a folder, lines still arrive."""
        older = path.with_name("metrics.jsonl.1")
        older.mkdir()
        (older / "in the way").touch()
        rotating.write(b"x" * 30)
        rotating.write(b"next")
        assert path.read_bytes() == b"x" * 30 + b"\nnext\n"

    async def test_close_writes_what_is_held(self, path: Path) -> None:
        """Lines of the turn in which the file is closed are in it."""
        made = RotatingFile(path, max_bytes=20)
        made.write(b"held")
        made.close()
        assert path.read_bytes() == b"held\n"

    def test_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        """A start without its metrics file fails; later trouble costs lines."""
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            RotatingFile(tmp_path / "file" / "metrics.jsonl", max_bytes=20)
