"""Puts all questions: side by side where they do not disturb each other, and each whatever became of the others."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from websockets.exceptions import ConnectionClosed

from chaos.probes import bad_frames, bad_input, cancel, handshake, keys, listen, origin, planted, shim, token
from chaos.probes.case import Case, NotAskedError, Seen
from chaos.probes.raw import Stopwatch
from chaos.probes.target import Target
from scenarios.events import AnyEvent, Probe

BOUND_S: Final = 20.0
"""Wall seconds for one question; more is a hang of whatever was asked."""

TRIES: Final = 3
"""Times that a question is put whose answer is wrong only by coming late: a slow daemon is late each time."""

_AT_ONCE: Final = 3
"""Quick questions, and slow ones, at once: more of them would measure each other."""


async def run_probes(
    target: Target, *, note: Callable[[AnyEvent], None], since: Callable[[], float], say: Callable[[str], None]
) -> None:
    """Put every question to the target, and note each answer."""
    asker = Asker(target, note, since)
    quick = [
        *listen.cases(target),
        *origin.cases(target),
        *handshake.cases(target),
        *bad_input.cases(target),
        *bad_frames.cases(target),
        *planted.cases(target),
    ]
    waiting = [*handshake.slow_cases(target), *cancel.cases(target), *keys.cases(target), *token.cases(target)]
    async with asyncio.TaskGroup() as group:
        group.create_task(asker.ask_all(quick, at_once=_AT_ONCE))
        group.create_task(asker.ask_all(waiting, at_once=_AT_ONCE))
        # They wait for one and the same shim.
        shims = list(shim.cases(target))
        group.create_task(asker.ask_all(shims, at_once=len(shims)))
    for heavy in (bad_frames.heavy_cases(target), token.guessing_cases(target), token.rotation_cases(target)):
        await asker.ask_all(heavy, at_once=1)
    say(f"{asker.held} of {asker.asked} questions answered as they should be; {asker.unmade} could not be put")


@dataclass
class Asker:
    """Puts questions, and notes the answers.

    Attributes:
        asked: How many were put.
        held: How many of these were answered right.
        unmade: How many could not be put.
    """

    target: Target
    note: Callable[[AnyEvent], None]
    since: Callable[[], float]
    asked: int = field(default=0, init=False)
    held: int = field(default=0, init=False)
    unmade: int = field(default=0, init=False)

    async def ask_all(self, cases: Iterable[Case], *, at_once: int) -> None:
        """Put questions, at most so many at once."""
        waiting = iter(cases)

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
                for _ in range(TRIES):
                    watch = Stopwatch()
                    seen = await self._answer(case)
                    if not seen.late:
                        break
            except NotAskedError as error:
                seen, why_not = None, str(error)
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

    async def _answer(self, case: Case) -> Seen:
        """Return the answer; what the daemon did instead of answering is one, too, and it is wrong."""
        try:
            async with asyncio.timeout(BOUND_S):
                return await case.ask(self.target)
        except NotAskedError:
            raise
        except TimeoutError:
            return Seen("no answer", held=False)
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
