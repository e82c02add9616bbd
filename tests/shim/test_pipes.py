import asyncio
import os
import subprocess
import sys

import pytest

from reference_daemon.shim import pipes
from reference_daemon.shim.pipes import PipeReader, PipeSink, PipeWriter
from tests.shim.conftest import BOUND_S, ROOT

Pipe = tuple[int, int]


async def all_lines(descriptor: int, overlong: list[None] | None = None) -> list[bytes]:
    """Read every line of a pipe whose other end is closed."""
    told = overlong if overlong is not None else []
    async with asyncio.timeout(BOUND_S):
        return [line async for line in PipeReader(descriptor, on_overlong=lambda: told.append(None)).lines()]


class TestReader:
    @pytest.mark.parametrize(
        ("written", "lines"),
        [
            (b"", []),
            (b"a\nb\n", [b"a", b"b"]),
            (b"a\n\nb", [b"a", b"", b"b"]),
            (b"a\r\n", [b"a\r"]),
            (b"x" * 40_000 + b"\ny", [b"x" * 40_000, b"y"]),
        ],
    )
    async def test_lines_are_what_stands_between_line_ends(
        self, pipe: Pipe, written: bytes, lines: list[bytes]
    ) -> None:
        """The last line need not have an end; an empty line is a line."""
        os.write(pipe[1], written)
        os.close(pipe[1])
        assert await all_lines(pipe[0]) == lines

    async def test_line_may_come_in_pieces(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a chunk ends says nothing about where a line does."""
        monkeypatch.setattr(pipes, "_CHUNK_BYTES", 3)
        os.write(pipe[1], b"one\ntwotwo\nthree and more\n")
        os.close(pipe[1])
        assert await all_lines(pipe[0]) == [b"one", b"twotwo", b"three and more"]

    async def test_overlong_line_is_skipped(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        """A line over the limit is told once, not held, and the next one is read."""
        monkeypatch.setattr(pipes, "_CHUNK_BYTES", 4)
        monkeypatch.setattr(pipes, "MAX_LINE_BYTES", 8)
        overlong: list[None] = []
        os.write(pipe[1], b"12345678\n" + b"x" * 13 + b"\nnext\n")
        os.close(pipe[1])
        assert await all_lines(pipe[0], overlong) == [b"12345678", b"next"]
        assert len(overlong) == 1


class TestWriter:
    async def test_everything_arrives_in_order(self, pipe: Pipe) -> None:
        """What is handed over without waiting and what is awaited keep their order."""
        writer = PipeWriter(pipe[1], name="test")
        writer.put(b"a")
        await writer.write(b"b")
        assert writer.drain(BOUND_S)
        assert os.read(pipe[0], 10) == b"ab"
        assert writer.waiting == 0

    async def test_reader_that_is_gone_is_told(self, pipe: Pipe) -> None:
        """Writing to a pipe that nobody can read raises."""
        os.close(pipe[0])
        with pytest.raises(OSError, match="Broken pipe"):
            await PipeWriter(pipe[1], name="test").write(b"a")

    async def test_reader_that_does_not_read_is_not_waited_for(self, pipe: Pipe) -> None:
        """A full pipe holds up its thread and nobody else; what waits is counted."""
        writer = PipeWriter(pipe[1], name="test")
        writer.put(b"x" * 1_000_000)
        assert not writer.drain(0.0)
        assert writer.waiting > 0
        os.close(pipe[0])  # lets the thread go


class TestSink:
    def test_lines_arrive(self, pipe: Pipe) -> None:
        """Each line has its end."""
        sink = PipeSink(pipe[1])
        sink.write(b"one")
        sink.write(b"two")
        sink.drain(BOUND_S)
        assert os.read(pipe[0], 100) == b"one\ntwo\n"

    def test_unread_lines_are_lost_over_a_bound(self, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
        """With nobody reading, lines wait up to the bound; later ones are lost and counted."""
        monkeypatch.setattr(pipes, "MAX_UNREAD_LOG_BYTES", 1000)
        sink = PipeSink(pipe[1])
        sink.write(b"x" * 1_000_000)
        sink.write(b"lost")
        assert sink.lost == 1
        os.close(pipe[0])


CLAIMING = """
import os, subprocess, sys
from reference_daemon.shim.pipes import claim_pipes
pipes = claim_pipes()
print("stray")
os.write(1, b"stray too\\n")
subprocess.run([sys.executable, "-c", "import sys; print('child', repr(sys.stdin.read()))"], check=True)
os.write(pipes.stdout, os.read(pipes.stdin, 100))
print(os.get_inheritable(pipes.stdin), os.get_inheritable(pipes.stdout))
"""


def test_claimed_pipes_are_nobody_elses() -> None:
    """Prints of ours and of children go to stderr, children read nothing, and neither pipe is inherited."""
    done = subprocess.run(
        [sys.executable, "-c", CLAIMING], input=b"for us", capture_output=True, cwd=ROOT, check=True, timeout=BOUND_S
    )
    assert done.stdout == b"for us"
    assert sorted(done.stderr.split(b"\n")) == sorted([b"", b"stray", b"stray too", b"child ''", b"False False"])
