"""Ctrl-C and SIGTERM: the work is cancelled once, cleans up, and the drill learns that it was stopped."""

import asyncio
import os
import signal
import sys

import pytest

from chaos.interrupt import until_interrupted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


async def test_work_that_ends_by_itself_was_not_interrupted() -> None:
    """The usual case."""
    assert await until_interrupted(asyncio.sleep(0)) is False


async def test_the_errors_of_the_work_pass() -> None:
    """An error is no interruption."""

    async def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await until_interrupted(broken())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
async def test_a_signal_cancels_the_work_which_cleans_up_in_peace(name: str) -> None:
    """Impatient signals during the clean-up do not disturb it."""
    number = signal.Signals[name]
    log: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0)
            log.append("cleaned up")

    assert await until_interrupted(work()) is True
    assert log == ["cleaned up"]


async def test_signals_mean_what_they_meant_before() -> None:
    """Afterwards Ctrl-C is Python's own again: a report that is being written can be interrupted, too."""
    await until_interrupted(asyncio.sleep(0))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_cancellation_from_outside_stops_the_work_too() -> None:
    """Where the loop takes no handlers, Ctrl-C arrives as a cancellation."""
    log: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            log.append("cleaned up")

    task = asyncio.create_task(until_interrupted(work()))
    await begun.wait()
    task.cancel()
    assert await task is True
    assert log == ["cleaned up"]
