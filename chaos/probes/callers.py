"""The reference client before a daemon that says what it is told to (INV-22, 26, 29, 40, 41, 44).

The shim, the load driver and `exai call` all call through it, so that what holds for it holds for them.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

from chaos.probes.case import Case, Seen
from chaos.probes.raw import Stopwatch
from chaos.probes.scripted_daemon import CUT, Came, Frame, ScriptedDaemon
from chaos.probes.target import Target
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.outcomes import CallResult
from reference_daemon.policy.retry import RetryConfig

PATIENCE_S: Final = 120.0
"""Seconds, unscaled, that the client gives a call."""

TOLD_S: Final = 4.0
"""Seconds that a refused client is told to wait."""

CALLERS: Final = 40
"""Clients that are told the same moment: had they really drawn, they would spread with all but certainty."""

SPREAD: Final = 0.5
"""Part of the jitter's range that they spread over at least: 40 draws miss it once in 10^10 times."""

_SHORT_S: Final = 10.0
_TOO_LONG_S: Final = 9.02
"""Seconds to wait after which less is left of a short patience than the shortest call takes, jitter or not."""

_TICK_WALL_S: Final = 0.003
_LATE_WALL_S: Final = 0.25
_MOST: Final = RetryConfig().max_attempts
_JITTER: Final = RetryConfig().jitter

FINAL: Final = {
    "KEY_REUSED": 422,
    "DUPLICATE": 409,
    "SUPERSEDED": 409,
    "TIMEOUT": 504,
    "STEP_TIMEOUT": 504,
    "EXPERT_TIMEOUT": 504,
    "PROVIDER_ERROR": 502,
    "CANCELLED": 499,
    "EXEC_ERROR": 500,
    "INTERRUPTED": 500,
    "BAD_REQUEST": 400,
    "TOOL_NOT_FOUND": 404,
    "TOO_LARGE": 413,
}
"""Answers after which a call must not be sent again."""

SENSELESS: Final[dict[str, float | None]] = {"0": 0.0, "-5": -5.0, "1e9": 1e9, "null": None}


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions."""

    def case(rule: str, name: str, expected: str, ask: Callable[[Target], Awaitable[Seen]]) -> Case:
        return Case(rule, f"client: {name}", expected, ask)

    for code, status in FINAL.items():
        yield case("INV-40", f"{status} {code}", "sent once", partial(_final, code=code, status=status))
    for code, status in (("OVER_CAPACITY", 429), ("DRAINING", 503)):
        sent = f"sent {_MOST} times, the same call each time"
        yield case("INV-40", f"{status} {code} each time", sent, partial(_refused, code=code, status=status))
    yield case("INV-40", "429 with more to wait than time is left", "sent once", _no_time)
    yield case("INV-41", f"told to wait {TOLD_S:g} s", "no less, and at most a tenth more", _waits)
    for name, value in SENSELESS.items():
        yield case("INV-41", f"a retry_after of {name}", "replaced by a backoff", partial(_senseless, value=value))
    yield case("INV-26", "a connection lost after the ack", "attached with the same key, not sent again", _lost)
    yield case("INV-26", "a connection lost before the call arrived", "sent again with the same key", _never_arrived)
    yield case("INV-29", "a daemon that was started anew", "unknown, and not sent again", _new_boot)
    yield case("INV-22", "timeout", "the daemon is told no more than the client waits", _timeout)
    yield case("INV-44", "trace_id", "sent as it was given, each time", _trace)


def jitter_cases(_target: Target) -> Iterator[Case]:
    """Give the question that measures: to be put with nothing else going on."""
    expected = f"spread over {SPREAD:.0%} of the jitter's range at least"
    yield Case("INV-41", f"client: {CALLERS} that are told the same moment", expected, _spread)


async def _call(
    daemon: ScriptedDaemon, clock: Clock, *, patience_s: float = PATIENCE_S, trace_id: str | None = None
) -> CallResult:
    client = DaemonClient(daemon.url, clock=clock)
    try:
        return await client.call("version", {}, timeout_s=patience_s, trace_id=trace_id)
    finally:
        await client.close()


# --- what is sent again ----------------------------------------------------------------------------------------------


async def _final(target: Target, *, code: str, status: int) -> Seen:
    async with ScriptedDaemon(lambda came: [came.failed(code, status, retry_after=0.1)]) as daemon:
        result = await _call(daemon, target.clock)
    return Seen(f"sent {len(daemon.calls)} times, {result.outcome}", len(daemon.calls) == 1)


async def _refused(target: Target, *, code: str, status: int) -> Seen:
    async with ScriptedDaemon(lambda came: [came.failed(code, status, retry_after=1.0)]) as daemon:
        await _call(daemon, target.clock)
    changed = _changed(daemon.calls)
    text = f"sent {len(daemon.calls)} times{', with another ' + ' and '.join(changed) if changed else ''}"
    return Seen(text, len(daemon.calls) == _MOST and not changed)


def _changed(calls: Sequence[Came]) -> list[str]:
    """Return what is not the same in all tries of a call."""
    names = ("call_key", "trace_id", "name", "arguments")
    return [name for name in names if any(a.frame.get(name) != b.frame.get(name) for a, b in pairwise(calls))]


async def _no_time(target: Target) -> Seen:
    watch = Stopwatch()
    async with ScriptedDaemon(lambda came: [came.failed("OVER_CAPACITY", 429, retry_after=_TOO_LONG_S)]) as daemon:
        await _call(daemon, target.clock, patience_s=_SHORT_S)
        took_s = watch.s()
    right = len(daemon.calls) == 1
    late = took_s > target.clock.wall_s(_SHORT_S) + _LATE_WALL_S
    return Seen(f"sent {len(daemon.calls)} times, given up after {took_s:.2f} s", right and not late, late=late)


# --- when ------------------------------------------------------------------------------------------------------------


def _once_full(value: float | None) -> Callable[[Came], Sequence[Frame]]:
    def script(came: Came) -> Sequence[Frame]:
        if came.number:
            return [came.ack(), came.result()]
        return [came.failed("OVER_CAPACITY", 429, retry_after=value)]

    return script


async def _waits(target: Target) -> Seen:
    clock = target.clock
    async with ScriptedDaemon(_once_full(TOLD_S)) as daemon:
        await _call(daemon, clock)
    return _judged_wait(daemon.calls, clock, least_s=TOLD_S, most_s=TOLD_S)


async def _senseless(target: Target, *, value: float | None) -> Seen:
    clock, first_s = target.clock, RetryConfig().first_s
    async with ScriptedDaemon(_once_full(value)) as daemon:
        await _call(daemon, clock)
    return _judged_wait(daemon.calls, clock, least_s=first_s, most_s=first_s)


def _judged_wait(calls: Sequence[Came], clock: Clock, *, least_s: float, most_s: float) -> Seen:
    """Judge the wait before the second try; moments are the daemon's, so both may be late by a little."""
    if len(calls) < 2:  # noqa: PLR2004 - the call and its second try
        return Seen("never sent again", held=False)
    wall_s = calls[1].at - calls[0].at
    early = wall_s < clock.wall_s(least_s) - _TICK_WALL_S
    late = wall_s > clock.wall_s(most_s * (1.0 + _JITTER)) + _LATE_WALL_S
    return Seen(f"waited {wall_s / clock.scale:.2f} s", not early and not late, late=late and not early)


async def _spread(_target: Target) -> Seen:
    clock, told_s = Clock(1.0), 1.0  # in real time, where the machine's own delays are small beside the range
    daemons = [ScriptedDaemon(_once_full(told_s)) for _ in range(CALLERS)]

    async def one(daemon: ScriptedDaemon) -> float:
        async with daemon:
            await _call(daemon, clock)
        return daemon.calls[1].at - daemon.calls[0].at if len(daemon.calls) > 1 else 0.0

    waits = await asyncio.gather(*(one(daemon) for daemon in daemons))
    spread = (max(waits) - min(waits)) / (told_s * _JITTER)
    return Seen(f"spread over {spread:.0%} of it, from {min(waits):.3f} s on", spread >= SPREAD)


# --- lost connections ------------------------------------------------------------------------------------------------


def _story(daemon: ScriptedDaemon, result: CallResult) -> str:
    ops = ", ".join(f"{each.op}" for each in daemon.came)
    return f"{ops}; {result.outcome}"


def _one_key(daemon: ScriptedDaemon) -> bool:
    return len({str(each.frame.get("call_key")) for each in daemon.came}) == 1


async def _lost(target: Target) -> Seen:
    def script(came: Came) -> Sequence[Frame] | str:
        if came.op == "call_tool":
            return CUT
        return [came.result()]

    async with ScriptedDaemon(script) as daemon:
        result = await _call(daemon, target.clock)
    ops = [each.op for each in daemon.came]
    return Seen(_story(daemon, result), ops == ["call_tool", "attach"] and _one_key(daemon) and result.outcome == "ok")


async def _never_arrived(target: Target) -> Seen:
    def script(came: Came) -> Sequence[Frame] | str:
        if came.op == "attach":
            return [came.failed("UNKNOWN_CALL", 404)]
        return [came.ack(), came.result()] if came.number else CUT

    async with ScriptedDaemon(script) as daemon:
        result = await _call(daemon, target.clock)
    ops = [each.op for each in daemon.came]
    right = ops == ["call_tool", "attach", "call_tool"] and _one_key(daemon) and result.outcome == "ok"
    return Seen(f"{_story(daemon, result)}{'' if _one_key(daemon) else ', with another key'}", right)


async def _new_boot(target: Target) -> Seen:
    async with ScriptedDaemon(lambda _: CUT) as daemon:

        def script(came: Came) -> Sequence[Frame] | str:
            if came.op == "attach":
                return [came.failed("UNKNOWN_CALL", 404)]
            daemon.boot_id = "boot-2"
            return CUT if came.number == 0 else [came.ack(), came.result()]

        daemon.script = script
        result = await _call(daemon, target.clock)
    right = len(daemon.calls) == 1 and result.outcome == "unknown"
    return Seen(_story(daemon, result), right)


# --- what is told ----------------------------------------------------------------------------------------------------


async def _timeout(target: Target) -> Seen:
    patience_s = 20.0
    async with ScriptedDaemon(_once_full(TOLD_S)) as daemon:
        await _call(daemon, target.clock, patience_s=patience_s)
    told = [float(each.frame.get("timeout") or -1.0) for each in daemon.calls]
    shrinks = all(first > second for first, second in pairwise(told))
    text = f"{patience_s:g} s, told {', '.join(f'{each:.2f}' for each in told)} s"
    return Seen(text, bool(told) and shrinks and min(told) > 0.0 and max(told) <= patience_s)


async def _trace(target: Target) -> Seen:
    trace = secrets.token_hex(16)
    async with ScriptedDaemon(_once_full(1.0)) as daemon:
        await _call(daemon, target.clock, trace_id=trace)
    other = [each for each in daemon.calls if each.frame.get("trace_id") != trace]
    return Seen(f"{len(other)} of {len(daemon.calls)} with another", bool(daemon.calls) and not other)
