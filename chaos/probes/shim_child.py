"""What a shim's child inherits (INV-42): the daemon that it starts must hold neither its stdin nor its stdout.

A child that holds them reads what is meant for the shim, writes between its messages, or keeps the client waiting for
an end of stdout that does not come.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import exai
from chaos.probes.case import START_BOUND_S, Case, NotAskedError, Seen
from chaos.probes.raw import Stopwatch
from chaos.probes.target import Target

READY_FILE: Final = "ws_daemon.ready.json"
"""Says, in the log folder, which process the shim's daemon is."""

ANSWER_WITHIN_S: Final = 45.0
"""Wall seconds until the shim's first answer: two starts of Python, one after another, on a busy machine."""

EXIT_S: Final = 2.0
"""Wall seconds in which the shim's stdout must have ended after its stdin has."""

_LINE_BYTES: Final = 2**20


def cases(target: Target) -> Iterator[Case]:
    """Give the question."""
    why_not = None
    if not target.shim_command or target.own_logs is None:
        why_not = "a shim that may start a daemon is for a daemon of ours only"
    elif not Path("/proc/self/fd").exists():
        why_not = "this system does not show what a process holds open"
    expected = "neither stdin nor stdout; stdout ends with the shim"
    yield Case("INV-42", "what the daemon that the shim starts inherits", expected, _inherited, why_not, START_BOUND_S)


@dataclass(frozen=True, slots=True)
class Held:
    """What was seen.

    Attributes:
        inherited: Descriptors of the child that are the shim's stdin or stdout.
        ended_s: Wall seconds until the shim's stdout ended; None: it did not.
    """

    inherited: tuple[int, ...]
    ended_s: float | None


def judged(held: Held) -> Seen:
    """Judge what was seen."""
    wrong = [f"descriptor {number}" for number in held.inherited]
    ended = "does not end" if held.ended_s is None else f"ended after {held.ended_s:.2f} s"
    text = f"it holds {', '.join(wrong) or 'neither'}; stdout {ended}"
    ends = held.ended_s is not None
    late = held.ended_s is not None and held.ended_s > EXIT_S
    return Seen(text, not wrong and ends and not late, late=late and not wrong)


async def _inherited(target: Target) -> Seen:
    with tempfile.TemporaryDirectory(prefix="exai-shim-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        process = await _started(target, folder)
        try:
            await _first_answer(process)
            child = _child(folder)
            inherited = tuple(_same(process.pid, child))
            return judged(Held(inherited, await _stdout_end(process)))
        finally:
            if process.returncode is None:
                process.kill()
            with contextlib.suppress(NotAskedError, ProcessLookupError):
                os.kill(_child(folder), signal.SIGTERM)
            await process.wait()


async def _started(target: Target, folder: Path) -> asyncio.subprocess.Process:
    """Start a shim that finds no daemon, and may start one."""
    own = {
        "EXAI_WS_PORT": str(_free_port()),
        "EXAI_WS_AUTOSTART": "true",
        "EXAI_LOG_DIR": str(folder),
        # The daemon is started so that it finds no modules in the working directory.
        "PYTHONPATH": os.pathsep.join([str(Path(exai.__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    try:
        return await asyncio.create_subprocess_exec(
            *(target.shim_command or ()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(target.shim_environment) | own,
            limit=_LINE_BYTES,
        )
    except OSError as error:
        raise NotAskedError(f"the shim could not be started: {error}") from error


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


async def _first_answer(process: asyncio.subprocess.Process) -> None:
    """Say hello and call a tool, so that the shim needs a daemon.

    Raises:
        NotAskedError: No answer came.
    """
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    client = {"name": "probe", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    said = (
        {"id": 0, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": {"name": "version", "arguments": {}}},
    )
    with contextlib.suppress(ConnectionError):
        process.stdin.writelines(json.dumps({"jsonrpc": "2.0", **each}).encode() + b"\n" for each in said)
        await process.stdin.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                async for line in process.stdout:
                    with contextlib.suppress(ValueError):
                        if json.loads(line).get("id") == 1:
                            return
    raise NotAskedError("the shim did not answer, so that nobody knows whether it started a daemon")


def _child(folder: Path) -> int:
    """Return the process id of the daemon.

    Raises:
        NotAskedError: There is none.
    """
    try:
        return int(json.loads((folder / READY_FILE).read_text("utf-8"))["pid"])
    except (OSError, ValueError, KeyError) as error:
        raise NotAskedError("the shim started no daemon") from error


def _same(shim: int, child: int) -> Iterator[int]:
    """Yield the descriptors of the child that are the shim's, too: its pipes, wherever it has moved them."""
    own = set(_pipes(shim).values())
    yield from sorted(number for number, pipe in _pipes(child).items() if pipe in own)


def _pipes(pid: int) -> dict[int, str]:
    """Return the pipes and sockets that a process holds open; each has a number of its own in the whole system."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            what = str(link.readlink())
            if what.startswith(("pipe:", "socket:")):
                found[int(link.name)] = what
    return found


async def _stdout_end(process: asyncio.subprocess.Process) -> float | None:
    """End the shim's stdin; return the wall seconds until its stdout ends."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    watch = Stopwatch()
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * EXIT_S):
            while await process.stdout.read(_LINE_BYTES):
                pass
            return watch.s()
    return None
