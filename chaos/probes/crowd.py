"""Many who come in and say nothing (INV-32): there is an end to them, and afterwards a client is let in."""

import asyncio
from collections.abc import Iterator
from typing import Final

from chaos.probes.case import Case, NotAskedError, Seen
from chaos.probes.handshake import let_in
from chaos.probes.raw import BOUND_S, UPGRADE, Stopwatch
from chaos.probes.target import Target
from chaos.probes.workbench import HELLO_S, Workbench, at

STRANGERS: Final = 600
"""Connections: more than a daemon needs to let its clients in."""

UNAVAILABLE: Final = 503
_AT_ONCE: Final = 50
_IN_AGAIN_WALL_S: Final = 2.0
"""Wall seconds in which a daemon has surely noticed that so many connections are gone."""
_PAUSE_WALL_S: Final = 0.05


def cases(bench: Workbench) -> Iterator[Case]:
    """Give the question."""
    expected = f"HTTP {UNAVAILABLE} before {STRANGERS}, and a client comes in afterwards"
    yield at(bench, "INV-32", "connections that say nothing", expected, _crowd)


async def _crowd(bench: Workbench) -> Seen:
    return await crowded(bench.target, within_s=bench.wall_s(HELLO_S))


async def crowded(target: Target, *, within_s: float) -> Seen:
    """Open connections until one is refused; judge whether one was, and whether a client comes in afterwards.

    Raises:
        NotAskedError: So many could not be had at once: the first are sent away after `within_s` wall seconds.
    """
    writers: list[asyncio.StreamWriter] = []
    watch, refused = Stopwatch(), 0
    try:
        while not refused and len(writers) < STRANGERS:
            statuses = await asyncio.gather(*(_knock(target, writers) for _ in range(_AT_ONCE)))
            refused = sum(status == UNAVAILABLE for status in statuses)
    except OSError as error:
        raise NotAskedError(f"only {len(writers)} connections could be had: {error}") from error
    finally:
        for writer in writers:
            writer.transport.abort()
    if not refused and watch.s() > within_s:
        raise NotAskedError(f"it took {watch.s():.1f} s to open so many connections, and the first were gone by then")
    entered, story = await _in_again(target)
    text = f"refused after {len(writers) - refused}" if refused else f"none of {len(writers)} refused"
    return Seen(f"{text}, then {story}", bool(refused) and entered)


async def _knock(target: Target, writers: list[asyncio.StreamWriter]) -> int:
    """Open a connection as far as the hello, and keep it; return the status."""
    reader, writer = await asyncio.open_connection(target.host, target.port)
    writers.append(writer)
    lines = ["GET / HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in UPGRADE), "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(BOUND_S):
        return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


async def _in_again(target: Target) -> tuple[bool, str]:
    """Return whether a client is let in, once the daemon has noticed that the crowd is gone."""
    watch = Stopwatch()
    while True:
        try:
            return await let_in(target, target.token)
        except NotAskedError as refused:
            if watch.s() > _IN_AGAIN_WALL_S:
                return False, refused.reason
        await asyncio.sleep(_PAUSE_WALL_S)
