"""Providers in memory: they take as long as a plan says, end as it says, and log what really ran."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from reference_daemon.providers.completion import Completion, CompletionRequest
from reference_daemon.providers.errors import Failure, ProviderFailedError
from scenarios.events import Execution, ExecutionStep, FaultMove
from tests.explore.plan import Ending

STUBBORN_FOR_S: Final = 30.0
"""Seconds that stubborn work goes on at most after it was cancelled."""

SECRET: Final = "what-only-the-provider-may-know"
"""Text of every error of a provider, which nobody else may see."""

_NONCE: Final = re.compile(r"nonce:\w+")
_FAILS: Final = {
    "fails": (500, None, Failure.BROKEN),
    "limited": (429, 3.0, Failure.RATE_LIMITED),
    "nonsense": (200, None, Failure.NONSENSE),
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of the executions of one call.

    Attributes:
        takes_s: How long each takes.
        ending: How each ends.
    """

    takes_s: float = 1.0
    ending: Ending = "ok"


class _Running:
    """One execution."""

    def __init__(self, number: int, request: CompletionRequest, body: str) -> None:
        self.number, self.request, self.body = number, request, body
        self.over = False


class Providers:
    """All providers of a run.

    Attributes:
        behaviours: What the executions of a call do, by its trace_id.
    """

    def __init__(self, clock: Clock, note: Callable[[Execution | FaultMove], None]) -> None:
        """Take time from `clock`; `note` takes what happens."""
        self._clock, self._note = clock, note
        self.behaviours: dict[str, Behaviour] = {}
        self._numbers: Iterator[int] = count(1)
        self._in_flight: Counter[str] = Counter()
        self._running: dict[int, _Running] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def daemon_died(self, body: str) -> None:
        """Notice that a daemon is gone: nobody waits for its executions."""
        for running in list(self._running.values()):
            if running.body == body:
                self._end(running, "cancelled")

    async def run(self, request: CompletionRequest, body: str) -> Completion:
        """Run one execution for the daemon `body`."""
        behaviour = self.behaviours.get(request.trace_id, Behaviour())
        running = _Running(next(self._numbers), request, body)
        self._running[running.number] = running
        self._in_flight[request.provider] += 1
        self._log(running, "start", latency_s=behaviour.takes_s)
        stubborn = behaviour.ending == "stubborn"
        if stubborn:
            self._mode(running, on=True)
        try:
            await self._pass_time(behaviour)
        except BaseException:
            self._end(running, "cancelled")
            raise
        finally:
            if stubborn:
                self._mode(running, on=False)
        status, retry_after_s, reason = _FAILS.get(behaviour.ending, (200, None, None))
        self._end(running, "end", status=status)
        if reason is not None:
            raise ProviderFailedError(request.provider, status, retry_after_s, reason) from OSError(SECRET)
        return _answer(request)

    async def _pass_time(self, behaviour: Behaviour) -> None:
        if behaviour.ending == "hangs":
            await asyncio.Event().wait()
        until = self._clock.now() + behaviour.takes_s
        give_way_at = until + STUBBORN_FOR_S
        while self._clock.now() < until:
            try:
                await self._clock.sleep(until - self._clock.now())
            except asyncio.CancelledError:
                if behaviour.ending != "stubborn" or self._clock.now() >= give_way_at:
                    raise

    def _end(self, running: _Running, what: ExecutionStep, *, status: int | None = None) -> None:
        if not running.over:
            running.over = True
            del self._running[running.number]
            self._in_flight[running.request.provider] -= 1
            self._log(running, what, status=status)

    def _mode(self, running: _Running, *, on: bool) -> None:
        """Note that a provider is one that goes on after a cancellation, which no rule blames the daemon for."""
        name, link = f"stubborn {running.number}", f"provider:{running.request.provider}"
        self._note(FaultMove(at=self._clock.now(), name=name, on=on, link=link))

    def _log(
        self, running: _Running, what: ExecutionStep, *, status: int | None = None, latency_s: float | None = None
    ) -> None:
        request = running.request
        self._note(
            Execution(
                at=self._clock.now(),
                what=what,
                provider=request.provider,
                tool=request.tool,
                trace_id=request.trace_id,
                execution=running.number,
                in_flight=self._in_flight[request.provider],
                status=status,
                latency_s=latency_s,
            )
        )


class ProviderClient:
    """Stands where the gateway has the HTTP client of a provider."""

    def __init__(self, providers: Providers, body: str) -> None:
        """Ask on behalf of the daemon `body`."""
        self._providers, self._body = providers, body

    async def complete(self, request: CompletionRequest, span_id: str) -> Completion:
        """Ask once."""
        return await self._providers.run(request, self._body)

    async def aclose(self) -> None:
        """Have nothing to close."""


class NoWeb:
    """Stands where the tools have the web, which no call of a run asks for."""

    async def fetch_all(self, urls: object, budget_s: float) -> list[object]:
        """Refuse."""
        raise HarnessError


def _answer(request: CompletionRequest) -> Completion:
    nonce = _NONCE.findall(request.prompt)
    text = f"made up {nonce[-1] if nonce else ''}"
    return Completion(text=text, model=request.model, provider=request.provider, tokens_in=1, tokens_out=1, stub=True)
