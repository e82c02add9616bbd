"""Child processes: ready when they say so, stopped whatever happens. Real children, tiny Python programs."""

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from chaos.processes import Child, ChildFailedError, Children, Command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the children's signals are POSIX")

# A child that says that it is ready and waits to be told to end. {first} runs before.
SERVE = """
import json, os, pathlib, signal, sys, time
{first}
ready = pathlib.Path(sys.argv[1])
ready.with_suffix(".part").write_text(json.dumps({{"pid": os.getpid()}}))
ready.with_suffix(".part").rename(ready)
while True:
    time.sleep(60)
"""
SHORT_GRACE_S = 0.2  # wall seconds: the child ignores the request, so any grace passes in full


class Ready(msgspec.Struct, frozen=True):
    """What the children say."""

    pid: int


class Said(list[str]):
    """What the owner of the children told people."""

    def __call__(self, text: str) -> None:
        """Note what is said."""
        self.append(text)


@pytest.fixture
def said() -> Said:
    """Return a place for what is said."""
    return Said()


def command(folder: Path, program: str, *, name: str = "child") -> Command:
    """Return a command that runs a Python program with a ready-file as its argument."""
    return Command(
        name=name,
        arguments=[sys.executable, "-c", textwrap.dedent(program), str(folder / f"{name}.ready")],
        environment=dict(os.environ),
        log=folder / f"{name}.log",
    )


def serving(folder: Path, *, first: str = "", name: str = "child") -> Command:
    """Return a command that gets ready and then serves until it is stopped."""
    return command(folder, SERVE.format(first=first), name=name)


def is_gone(pid: int) -> bool:
    """Return whether there is no process of that id, not even one to be waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def ready_child(children: Children, folder: Path, *, first: str = "", name: str = "child") -> Child:
    """Start a child and wait until it says that it is ready."""
    child = await children.start(serving(folder, first=first, name=name))
    await child.ready(folder / f"{name}.ready", Ready)
    return child


class TestReady:
    async def test_returns_what_the_child_wrote(self, tmp_path: Path, said: Said) -> None:
        """The ready-file is how a child tells its port, or here its process id."""
        async with Children(say=said) as children:
            child = await children.start(serving(tmp_path))
            assert await child.ready(tmp_path / "child.ready", Ready) == Ready(pid=child.pid)

    async def test_a_child_that_ends_early_shows_its_last_words(self, tmp_path: Path, said: Said) -> None:
        """Nobody has to look for a log to learn why a drill did not start."""
        async with Children(say=said) as children:
            child = await children.start(command(tmp_path, "import sys; print('port taken'); sys.exit(7)"))
            with pytest.raises(ChildFailedError) as failure:
                await child.ready(tmp_path / "child.ready", Ready)
        assert str(failure.value) == "child ended with exit status 7; its last output:\nport taken"
        assert failure.value.exit_code == 3

    async def test_only_the_end_of_a_long_log_is_shown(self, tmp_path: Path, said: Said) -> None:
        """The last lines say why it ended; the first thousand do not."""
        async with Children(say=said) as children:
            child = await children.start(command(tmp_path, "for n in range(1000): print('line', n)"))
            with pytest.raises(ChildFailedError) as failure:
                await child.ready(tmp_path / "child.ready", Ready)
        assert failure.value.log_tail.splitlines() == [f"line {number}" for number in range(985, 1000)]

    async def test_a_child_that_never_gets_ready_is_given_up(self, tmp_path: Path, said: Said) -> None:
        """After the limit the error names the child and the limit; the child is stopped with the others."""
        async with Children(say=said) as children:
            child = await children.start(command(tmp_path, "import time; time.sleep(60)"))
            with pytest.raises(ChildFailedError, match=r"child was not ready within 0\.1 s; it printed nothing"):
                await child.ready(tmp_path / "child.ready", Ready, within_s=0.1)
        assert is_gone(child.pid)

    async def test_a_ready_file_that_says_something_else_is_an_error(self, tmp_path: Path, said: Said) -> None:
        """A child of another version fails here, by name, and not later by a missing port."""
        (tmp_path / "child.ready").write_text('{"port": 1}')
        async with Children(say=said) as children:
            child = await children.start(command(tmp_path, "import time; time.sleep(60)"))
            with pytest.raises(ChildFailedError, match="ready-file that is not understood"):
                await child.ready(tmp_path / "child.ready", Ready)

    async def test_a_program_that_does_not_exist_is_named(self, tmp_path: Path, said: Said) -> None:
        """The error says which child could not be started, and why."""
        missing = Command(name="ghost", arguments=["/nowhere"], environment={}, log=tmp_path / "log")
        async with Children(say=said) as children:
            with pytest.raises(ChildFailedError, match="ghost cannot be started: No such file"):
                await children.start(missing)


class TestStop:
    async def test_leaving_the_context_stops_every_child_the_latest_first(self, tmp_path: Path, said: Said) -> None:
        """Who was started later may need what was started before it."""
        note = (
            "signal.signal(signal.SIGTERM, lambda *_: "
            f"(open({str(tmp_path / 'ends')!r}, 'a').write(sys.argv[1] + '\\n'), sys.exit(0)))"
        )
        async with Children(say=said) as children:
            for name in ("first", "second"):
                await ready_child(children, tmp_path, first=note, name=name)
        ends = (tmp_path / "ends").read_text().splitlines()
        assert [Path(line).stem for line in ends] == ["second", "first"]

    async def test_an_error_in_the_drill_stops_every_child(self, tmp_path: Path, said: Said) -> None:
        """The error passes on when nothing runs any more."""
        pids: list[int] = []

        async def drill() -> None:
            async with Children(say=said) as children:
                pids.append((await ready_child(children, tmp_path)).pid)
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await drill()
        assert is_gone(pids[0])

    async def test_a_cancelled_drill_stops_every_child_and_stays_cancelled(self, tmp_path: Path, said: Said) -> None:
        """Cancelled again while it stops, it still stops everything before it ends."""
        pids: list[int] = []
        running = asyncio.Event()

        async def drill() -> None:
            async with Children(say=said, grace_s=SHORT_GRACE_S) as children:
                first = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
                pids.append((await ready_child(children, tmp_path, first=first)).pid)
                running.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(drill())
        await running.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert is_gone(pids[0])

    async def test_a_child_that_ignores_the_request_is_killed_and_told_of(self, tmp_path: Path, said: Said) -> None:
        """After its grace nobody waits longer; people learn that it did not end by itself."""
        async with Children(say=said, grace_s=SHORT_GRACE_S) as children:
            child = await ready_child(children, tmp_path, first="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        assert child.exit_code == -signal.SIGKILL
        assert said == ["child did not end within 0.2 s and was killed"]

    async def test_stopping_a_child_that_has_ended_does_nothing(self, tmp_path: Path, said: Said) -> None:
        """Its process id may belong to somebody else by now."""
        async with Children(say=said) as children:
            child = await children.start(command(tmp_path, "pass"))
            with pytest.raises(ChildFailedError):
                await child.ready(tmp_path / "child.ready", Ready)
        assert child.exit_code == 0
        assert said == []

    async def test_ctrl_c_does_not_reach_the_children(self, tmp_path: Path, said: Said) -> None:
        """They live in a session of their own: the drill decides when they end, and in which order."""
        async with Children(say=said) as children:
            child = await ready_child(children, tmp_path)
            assert os.getsid(child.pid) == child.pid != os.getsid(0)

    async def test_check_running_passes_a_running_child(self, tmp_path: Path, said: Said) -> None:
        """Only a child that has ended is an error."""
        async with Children(say=said) as children:
            child = await ready_child(children, tmp_path)
            child.check_running()
        with pytest.raises(ChildFailedError, match="ended with exit status -15"):
            child.check_running()
