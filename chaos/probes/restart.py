"""How the workbench's daemon ends, and what it leaves behind: the last questions, since each takes it away.

(INV-28, 29, 45.)
"""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from websockets.exceptions import ConnectionClosed

from chaos.probes.case import START_BOUND_S, Case, NotAskedError, Seen
from chaos.probes.keys import UNKNOWN, fresh_key
from chaos.probes.raw import Answer, RawClient, Stopwatch, a_call, describe, error_of
from chaos.probes.workbench import GRACE_S, KIMI_TOOL, Workbench, admitted, at, at_zero, chat, first_answer

CALLS: Final = 40
"""Calls between two looks at the descriptors: one that each of them leaves open is not overlooked."""

SPARE: Final = 8
"""Descriptors more than before that say nothing: pools that fill on demand."""

_SETTLED_WALL_S: Final = 1.0
_LOOK_EVERY_WALL_S: Final = 0.05
_INTERRUPTED: Final = (500, "INTERRUPTED")
_DRAINING: Final = (503, "DRAINING")
_ENDED: Final = frozenset({0})
_EXIT_WALL_S: Final = 3.0
"""Wall seconds from the end of the grace to that of the process, on a busy machine."""


def cases(bench: Workbench) -> Iterator[Case]:
    """Give the questions, in this order."""
    yield at(bench, "INV-45", f"open files after {CALLS} calls and sessions", "as many as before", _descriptors)
    yield at(
        bench,
        "INV-29",
        "SIGKILL with a call in flight",
        "after a restart it is unknown, and not run",
        _killed,
        bound_s=START_BOUND_S,
    )
    yield at(
        bench, "INV-28", "SIGTERM with calls in flight", "503 for new ones, each one terminal, exit 0", _terminated
    )


def why_not_descriptors() -> str | None:
    """Return why this system cannot be asked for a process's open files; None: it can."""
    return None if Path("/proc/self/fd").exists() else "this system does not show a process's open files"


async def _descriptors(bench: Workbench) -> Seen:
    problem = why_not_descriptors()
    if problem is not None:
        raise NotAskedError(problem)
    async with bench.clients(1) as (looker,):
        await at_zero(looker)
        await _work(bench, looker)  # what is opened once, is open now
        before = _open_files(bench.pid)
        for _ in range(CALLS):
            await _work(bench, looker)
        after = await _settled(bench.pid, before + SPARE)
    return Seen(f"{before} before, {after} after", after <= before + SPARE)


async def _work(bench: Workbench, client: RawClient) -> None:
    """Open a session, make a call of each kind, and close it."""
    async with bench.clients(1):
        await admitted(client, chat("r"))
        await bench.provider.until_running(1)
        bench.provider.let_go()
        await client.until("call_tool_res", "r")
        await admitted(client, a_call("version", "v", call_key=fresh_key()))
        await client.until("call_tool_res", "v")


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def _settled(pid: int, most: int) -> int:
    """Return the number of open files, once it is small enough or does not become so within a second."""
    watch = Stopwatch()
    while True:
        count = _open_files(pid)
        if count <= most or watch.s() > _SETTLED_WALL_S:
            return count
        await asyncio.sleep(_LOOK_EVERY_WALL_S)


async def _killed(bench: Workbench) -> Seen:
    key, before = fresh_key(), len(bench.provider.asked)
    async with bench.clients(1) as (client,):
        await admitted(client, chat("r", prompt="the same", call_key=key))
        await bench.provider.until_running(1)
        bench.signal(signal.SIGKILL)
        await bench.ended(bound_s=_EXIT_WALL_S)
    await bench.start()
    async with bench.clients(1) as (client,):
        found, _ = await first_answer(client, {"op": "attach", "request_id": "attach", "call_key": key})
        zero = await at_zero(client)
    ran = len(bench.provider.asked) - before
    text = f"an attach gets {describe(found)}, {ran} executions, {zero.text}"
    return Seen(text, error_of(found) == UNKNOWN and ran == 1 and zero.held)


async def _terminated(bench: Workbench) -> Seen:
    async with bench.clients(2) as (client, late):
        await admitted(client, chat("ends"))
        await bench.provider.until_running(1)
        ends = bench.provider.running[0]
        await admitted(client, chat("stays", KIMI_TOOL))
        await bench.provider.until_running(2)
        bench.signal(signal.SIGTERM)
        refused = await _until_refused(late)
        ends.answer()
        bound_s = bench.wall_s(GRACE_S) + _EXIT_WALL_S
        answers = await _terminals(client, bound_s=bound_s)
    status = await bench.ended(bound_s=_EXIT_WALL_S)
    right = error_of(refused) == _DRAINING and status in _ENDED and set(answers) == {"ends", "stays"}
    right = right and bool(answers["ends"].get("outputs")) and error_of(answers["stays"]) == _INTERRUPTED
    told = "; ".join(describe(answer) for answer in answers.values()) or "no answers"
    if status is None:
        bench.signal(signal.SIGKILL)
    return Seen(f"{describe(refused)} for a new call; {told}; exit {status}", right)


async def _until_refused(client: RawClient) -> Answer:
    """Send calls that take no time until one is refused: the signal is on its way."""
    watch, number = Stopwatch(), 0
    while True:
        number += 1
        answer, _ = await first_answer(client, a_call("version", f"late-{number}", call_key=fresh_key()))
        if answer.get("op") != "call_tool_ack" or watch.s() > 1.0:
            return answer


async def _terminals(client: RawClient, *, bound_s: float) -> dict[str, Answer]:
    """Return the terminal answers that come until the connection ends, or the bound."""
    answers: dict[str, Answer] = {}
    try:
        async with asyncio.timeout(bound_s):
            while True:
                frame = await client.receive(bound_s=bound_s)
                if frame.get("op") == "call_tool_res":
                    answers[str(frame.get("request_id"))] = frame
    except (TimeoutError, ConnectionClosed):
        pass
    return answers
