"""Puts all questions: side by side where they do not disturb each other, and each whatever became of the others."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from websockets.exceptions import ConnectionClosed

from chaos.load.lag import LagProbe
from chaos.probes import (
    bad_frames,
    bad_input,
    callers,
    cancel,
    crowd,
    handshake,
    keys,
    listen,
    origin,
    owners,
    planted,
    restart,
    shim,
    shim_child,
    slots,
    start,
    token,
    work,
)
from chaos.probes.case import Case, NotAskedError, Seen
from chaos.probes.raw import Stopwatch
from chaos.probes.target import Target
from chaos.probes.workbench import Workbench
from scenarios.events import AnyEvent, Probe

TRIES: Final = 3
"""Times that a question is put whose answer is wrong only by coming late: a slow daemon is late each time."""

UNANSWERED_TRIES: Final = 2
"""Times that a question is put which gets no answer at all."""

_NOTHING: Final = Seen("no answer", held=False, late=True)

_AT_ONCE: Final = 3
"""Quick questions, and slow ones, at once: more of them would measure each other."""


async def run_probes(
    target: Target, *, note: Callable[[AnyEvent], None], since: Callable[[], float], say: Callable[[str], None]
) -> None:
    """Put every question to the target, and note each answer."""
    asker = Asker(target, note, since)
    lag = LagProbe(clock=target.clock, start_at=target.clock.now() - since(), note=asker.note_stall)
    watching = asyncio.create_task(lag.run())
    try:
        await _ask_everything(asker)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    say(f"{asker.held} of {asker.asked} questions answered as they should be; {asker.unmade} could not be put")


async def _ask_everything(asker: "Asker") -> None:
    """Put the questions that do not disturb each other side by side, then those that do."""
    target = asker.target
    quick = [
        *listen.cases(target),
        *origin.cases(target),
        *handshake.cases(target),
        *bad_input.cases(target),
        *bad_frames.cases(target),
        *planted.cases(target),
        *callers.cases(target),
    ]
    waiting = [*handshake.slow_cases(target), *cancel.cases(target), *keys.cases(target), *token.cases(target)]
    async with asyncio.TaskGroup() as group:
        group.create_task(asker.ask_all(quick, at_once=_AT_ONCE))
        group.create_task(asker.ask_all(waiting, at_once=_AT_ONCE))
        group.create_task(_ask_of_processes(asker))
        group.create_task(_ask_at_workbench(asker))
    for heavy in (
        callers.jitter_cases(target),
        bad_frames.heavy_cases(target),
        token.guessing_cases(target),
        token.rotation_cases(target),
    ):
        await asker.ask_all(heavy, at_once=1)


async def _ask_of_processes(asker: "Asker") -> None:
    """Put the questions about processes that are started for them: one after another, since a start takes much."""
    for cases in (shim.cases(asker.target), start.cases(asker.target), shim_child.cases(asker.target)):
        waiting = list(cases)
        # Those of one kind wait for one and the same process.
        await asker.ask_all(waiting, at_once=len(waiting))


async def _ask_at_workbench(asker: "Asker") -> None:
    """Put the questions that need a daemon of their own, one after another."""
    bench = Workbench(asker.target)
    waiting = [
        case for part in (slots, work, owners, crowd, restart) for case in part.cases(bench) if asker.is_about(case)
    ]
    if waiting:
        async with bench:
            await asker.ask_all(waiting, at_once=1)


@dataclass
class Asker:
    """Puts questions, and notes the answers.

    Attributes:
        asked: How many were put.
        held: How many of these were answered right.
        unmade: How many could not be put.
        stalls: How often this process stood still so far.
    """

    target: Target
    note: Callable[[AnyEvent], None]
    since: Callable[[], float]
    asked: int = field(default=0, init=False)
    held: int = field(default=0, init=False)
    unmade: int = field(default=0, init=False)
    stalls: int = field(default=0, init=False)

    def note_stall(self, stall: AnyEvent) -> None:
        """Note that this process stood still: what comes late meanwhile says nothing."""
        self.stalls += 1
        self.note(stall)

    def is_about(self, case: Case) -> bool:
        """Return whether a question is about a rule that is to be asked about."""
        return self.target.rules is None or case.rule in self.target.rules

    async def ask_all(self, cases: Iterable[Case], *, at_once: int) -> None:
        """Put questions, at most so many at once."""
        waiting = iter([case for case in cases if self.is_about(case)])

        async def ask_on() -> None:
            for case in waiting:
                await self.ask(case)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(ask_on())

    async def ask(self, case: Case) -> None:
        """Put a question, and note what came of it."""
        watch, seen, why_not = Stopwatch(), None, case.why_not
        if why_not is None:
            try:
                watch, seen = await self._tried(case)
            except NotAskedError as error:
                why_not = str(error)
        self._count(seen)
        self.note(
            Probe(
                at=self.since(),
                rule=case.rule,
                case=case.name,
                expected=case.expected,
                seen=None if seen is None else seen.text,
                held=seen is not None and seen.held,
                took_s=None if seen is None else round(watch.s(), 4),
                why_not=why_not,
            )
        )

    async def _tried(self, case: Case) -> tuple[Stopwatch, Seen]:
        """Put a question until its answer did not come late, or has come late often enough.

        Raises:
            NotAskedError: The surroundings failed, or the machine stood still and so nothing is known.
        """
        sure: tuple[Stopwatch, Seen] | None = None
        for tried in range(1, TRIES + 1):
            watch, stalls = Stopwatch(), self.stalls
            seen = await self._answer(case)
            if not seen.late:
                return watch, seen
            if self.stalls == stalls:
                sure = watch, seen
            if seen == _NOTHING and tried == UNANSWERED_TRIES:
                break
        if sure is None:
            raise NotAskedError(f"it came late while the machine stood still: {seen.text}")
        return sure

    async def _answer(self, case: Case) -> Seen:
        """Return the answer; what the daemon did instead of answering is one, too, and it is wrong."""
        try:
            async with asyncio.timeout(case.bound_s):
                return await case.ask(self.target)
        except NotAskedError:
            raise
        except TimeoutError:
            return _NOTHING
        except ConnectionClosed as closed:
            return Seen(f"connection closed: {closed}", held=False)
        except Exception as error:  # noqa: BLE001 - one probe that breaks must not stop the others
            return Seen(f"{type(error).__name__}: {str(error)[:200]}", held=False)

    def _count(self, seen: Seen | None) -> None:
        if seen is None:
            self.unmade += 1
            return
        self.asked += 1
        self.held += seen.held
