"""Lines between two processes: what a toxic does to the frames and requests that pass.

A line is up or down; it may hold back what passes, or swallow it. What is held back when a toxic is taken off comes
out at that moment, as it does from Toxiproxy; what was swallowed never comes.
"""

from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from simulator.model.provider import NEVER, Done, ProviderModel, Request
from simulator.model.virtual_time import Act, Timer, VirtualTime

Stream = Literal["upstream", "downstream"]
UP: Final = "upstream"
DOWN: Final = "downstream"
NO_CONNECTION: Final = 503
"""Status that stands for a provider's connection which could not be made, or was lost."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A latency toxic: whatever passes is held back for `latency_s` ± `jitter_s`, at most until `ends_at`."""

    latency_s: float
    jitter_s: float
    ends_at: float


class Line:
    """One line.

    Attributes:
        up: Whether it takes connections.
        delays: What holds back, by direction.
        swallows: How many toxics swallow what passes, by direction.
    """

    def __init__(self, time: VirtualTime, chance: Random) -> None:
        """Begin undisturbed; `chance` is for the jitter of toxics."""
        self.time, self._chance = time, chance
        self.up = True
        self.delays: dict[Stream, list[Delay]] = {UP: [], DOWN: []}
        self.swallows: dict[Stream, int] = {UP: 0, DOWN: 0}

    def arrives_at(self, stream: Stream) -> float:
        """Return when that arrives which is sent now; infinity if it is swallowed."""
        if self.swallows[stream]:
            return NEVER
        at = self.time.now
        for delay in self.delays[stream]:
            held_s = delay.latency_s + delay.jitter_s * (2.0 * self._chance.random() - 1.0)
            at = max(at, min(at + held_s, delay.ends_at))
        return at

    def cut(self) -> None:
        """Lose whatever is connected over the line."""
        raise NotImplementedError

    def round_trips_at(self, number: int) -> float:
        """Return when so many round trips will have been made that begin now."""
        at = self.time.now
        once_s = sum(self.arrives_at(stream) - at for stream in (UP, DOWN))
        return at + number * once_s


class ProviderLine(Line):
    """The line to one provider; it can be asked in the provider's place."""

    def __init__(self, provider: ProviderModel, chance: Random) -> None:
        """Stand before `provider`."""
        super().__init__(provider.time, chance)
        self.provider = provider
        self.requests: dict[_LineRequest, None] = {}  # in their order

    def request(self, tool: str, draw: float, done: Done, until: float = NEVER) -> Request:  # noqa: ARG002 - see below
        """Pass a request on. Its end cannot be told: a toxic may come between."""
        return _LineRequest(self, tool, draw, done)

    def cut(self) -> None:
        """Lose every request that is under way."""
        for request in list(self.requests):
            request.fail()


class _LineRequest:
    """A request that goes up a line, is executed, and comes back."""

    ends_at = NEVER

    def __init__(self, line: ProviderLine, tool: str, draw: float, done: Done) -> None:
        self._line, self._tool, self._draw, self._done = line, tool, draw, done
        self._timer: Timer | None = None
        self._execution: Request | None = None
        line.requests[self] = None
        if line.up:
            self._pass(UP, self._arrive)
        else:
            self._timer = line.time.call_at(line.time.now, lambda _: self.fail())

    def _pass(self, stream: Stream, act: Act) -> None:
        at = self._line.arrives_at(stream)
        if at < NEVER:
            self._timer = self._line.time.call_at(at, act)

    def _arrive(self, _: object) -> None:
        self._timer = None
        self._execution = self._line.provider.request(self._tool, self._draw, self._answered)

    def _answered(self, status: int) -> None:
        self._execution = None
        self._pass(DOWN, lambda _: self._finish(status))

    def _finish(self, status: int) -> None:
        del self._line.requests[self]
        self._done(status)

    def fail(self) -> None:
        """Lose the connection."""
        self.cancel()
        self._done(NO_CONNECTION)

    def cancel(self) -> None:
        """Stop it, wherever it is."""
        del self._line.requests[self]
        if self._timer is not None:
            self._timer.cancel()
        if self._execution is not None:
            self._execution.cancel()
