"""How a run ends: when all of its work is done, or with the first thing that fails."""

import asyncio

import pytest

from chaos.runner import _until_done


class BrokenError(Exception):
    """Something failed."""


async def for_ever(ended: list[str]) -> None:
    """Run until cancelled, and say so."""
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("background")


async def test_it_ends_with_its_work_and_ends_what_runs_behind() -> None:
    """When all work is done, what watches it is cancelled and has ended."""
    ended: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)

    await _until_done([work(), work()], [for_ever(ended)])
    assert ended == ["background"]


async def test_the_first_error_ends_everything() -> None:
    """An error behind the work ends the work, too, and is raised."""
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise BrokenError

    with pytest.raises(BrokenError):
        await _until_done([for_ever(ended)], [fails()])
    assert ended == ["background"]


async def test_a_cancellation_passes_and_leaves_nothing() -> None:
    """A drill that is stopped ends all that it runs before it passes the cancellation on."""
    ended: list[str] = []
    running = asyncio.ensure_future(_until_done([for_ever(ended)], [for_ever(ended)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == ["background"] * 2
