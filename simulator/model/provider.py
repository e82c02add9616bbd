"""Modelled providers: latency from the call's own draw, a limit of executions at once, errors, modes.

As in the stub provider, a change of mode, latency or concurrency counts for requests that come later; what runs goes on
as it began.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from scenarios.model import Provider
from scenarios.model_faults import ProviderChange
from simulator.model.census import Census
from simulator.model.virtual_time import Act, Timer, VirtualTime

OK: Final = 200
TOO_MANY: Final = 429
BAD_ANSWER: Final = 502
NEVER: Final = float("inf")

Done = Callable[[int], None]
"""Called with the HTTP status."""


class Request(Protocol):
    """A request on its way: at the provider, or between daemon and provider.

    Attributes:
        ends_at: Moment at which its answer will be there, if nothing comes between; infinity if there will be none,
            or if that cannot be told.
    """

    ends_at: float

    def cancel(self) -> None:
        """Stop it: nobody waits for its answer any more."""


class Asked(Protocol):
    """What can be asked: a provider, or the line to one."""

    def request(self, tool: str, draw: float, done: Done, until: float) -> Request:
        """Begin a request; see `ProviderModel`."""


class Execution(Timer):
    """An execution that runs; as a timer, it is its own end.

    Attributes:
        ends_at: When it ends by itself; infinity if it does not.
        callbacks: Its end.
    """

    def __init__(
        self, provider: "ProviderModel", done: Done, status: int, now: float, ends_at: float, until: float
    ) -> None:
        """Begin; one that would outlast `until` needs no end: it is cancelled before."""
        self._provider, self._done, self._status, self._began_at, self.ends_at = provider, done, status, now, ends_at
        if ends_at < until:
            provider.time.enter(ends_at, self)

    def _end(self) -> None:
        self._provider.leave(self._began_at)
        self._done(self._status)

    callbacks: Sequence[Act] = (_end,)  # of all of them: none needs a list of its own

    def cancel(self) -> None:
        """Stop it."""
        self.callbacks = ()
        self._provider.leave(self._began_at)


def _never(draw: float) -> float:  # noqa: ARG001 - as a distribution takes one
    """Return how long an execution takes that hangs."""
    return NEVER


class Refusal:
    """A request that was refused; its answer is on its way.

    Attributes:
        ends_at: Now.
    """

    __slots__ = ("cancel", "ends_at")

    def __init__(self, time: VirtualTime, status: int, done: Done) -> None:
        """Answer in the next turn, as anything that is asked over a line."""
        self.ends_at = time.now
        self.cancel: Callable[[], None] = time.call_at(time.now, lambda _: done(status)).cancel


class ProviderModel:
    """One provider.

    Attributes:
        name: Its name.
        time: The clock.
        census: Its executions.
    """

    def __init__(self, name: str, provider: Provider, time: VirtualTime) -> None:
        """Begin idle."""
        self.name, self.time, self._provider = name, time, provider
        self.census = Census()
        self._as_shipped = provider
        self.change(None)

    @property
    def in_flight(self) -> int:
        """Executions that run."""
        return self.census.inside

    def change(self, change: ProviderChange | None) -> None:
        """Behave as a fault says from now on; None: as the scenario says."""
        now = self._as_shipped
        if change is not None and change.latency is not None:
            now = now.model_copy(update={"latency": change.latency})
        if change is not None and change.concurrency is not None:
            now = now.model_copy(update={"concurrency": change.concurrency})
        self._provider = now
        self._mode = (change and change.mode) or "ok"
        self._status = int(self._mode.removeprefix("status:")) if self._mode.startswith("status:") else None
        self._concurrency = now.concurrency
        hangs = self._mode == "hang"
        self._latencies = {tool: _never if hangs else now.distribution(tool).at for tool in now.tool_latency}
        self._latency = _never if hangs else now.distribution().at
        self._plain = hangs or (self._mode in {"ok", "drip"} and (now.errors is None or now.errors.rate == 0.0))

    def request(self, tool: str, draw: float, done: Done, until: float = NEVER) -> Request:
        """Begin an execution; `done` is called with its status when it ends, never if it is cancelled or hangs.

        Args:
            tool: What asks.
            draw: From [0, 1): fixes its latency, and whether it fails.
            done: Who is told.
            until: Moment at which whoever asks will cancel it, if it still runs.
        """
        if self._status is not None:
            return Refusal(self.time, self._status, done)
        census = self.census
        if census.inside >= self._concurrency:
            return Refusal(self.time, TOO_MANY, done)
        now = self.time.now
        census.enter(now)
        ends_at = now + self._latencies.get(tool, self._latency)(draw)
        return Execution(self, done, OK if self._plain else self._end_status(draw), now, ends_at, until)

    def leave(self, began_at: float) -> None:
        """Note that an execution is over."""
        self.census.leave(self.time.now, began_at)

    def _end_status(self, draw: float) -> int:
        """Return how an execution ends: its own draw decides, as in the stub. A dripped answer never fails."""
        errors = self._provider.errors
        fails = errors is not None and errors.rate > 0.0 and random.Random(draw).random() < errors.rate
        if fails and errors is not None and self._mode != "drip":
            return errors.status
        return BAD_ANSWER if self._mode == "malformed" else OK
