"""Modelled providers: latency from the call's own draw, a limit of executions at once, errors, modes."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from scenarios.model import Provider
from scenarios.model_faults import ProviderChange
from simulator.virtual_time import Timer, VirtualTime

TOO_MANY = 429
OK = 200
Done = Callable[[int], None]
"""Called with the HTTP status."""


@dataclass(slots=True)
class Execution:
    """An execution that runs, or one that was refused and never began.

    Attributes:
        number: Its number over all providers.
        cancel: Stops it.
    """

    number: int
    cancel: Callable[[], None]


class ProviderModel:
    """One provider.

    Attributes:
        in_flight: Executions that run.
        added_s: Seconds that a slow link adds to each request that starts while it is slow.
        down: Whether the link is down.
    """

    def __init__(self, name: str, provider: Provider, time: VirtualTime, numbers: Callable[[], int]) -> None:
        """Begin idle."""
        self.name, self._provider, self._time, self._numbers = name, provider, time, numbers
        self._change: ProviderChange | None = None
        self._latencies = {tool: provider.distribution(tool) for tool in provider.tool_latency}
        self._latency = provider.distribution()
        self.in_flight = 0
        self.added_s = 0.0
        self.down = False

    def change(self, change: ProviderChange | None) -> None:
        """Behave as a fault says from now on; None: as the scenario says."""
        self._change = change

    def request(self, tool: str, draw: float, done: Done) -> Execution:
        """Begin an execution; `done` is called with its status when it ends, never if it is cancelled or hangs."""
        mode = self._change.mode if self._change and self._change.mode else "ok"
        concurrency = (self._change and self._change.concurrency) or self._provider.concurrency
        if self.down:
            return self._refuse(503, done)
        if mode.startswith("status:"):
            return self._refuse(int(mode.removeprefix("status:")), done)
        if self.in_flight >= concurrency:
            return self._refuse(TOO_MANY, done)
        self.in_flight += 1
        timer: Timer | None = None

        def end() -> None:
            self.in_flight -= 1
            done(self._status(draw, mode))

        def cancel() -> None:
            self.in_flight -= 1
            if timer is not None:
                timer.cancel()

        if mode != "hang":
            latency = self._latencies.get(tool, self._latency)
            timer = self._time.call_at(self._time.now + latency.at(draw) + self.added_s, end)
        return Execution(self._numbers(), cancel)

    def _refuse(self, status: int, done: Done) -> Execution:
        timer = self._time.call_at(self._time.now + self.added_s, lambda: done(status))
        return Execution(0, timer.cancel)

    def _status(self, draw: float, mode: str) -> int:
        """Return how an execution ends: its own draw decides, as in the stub."""
        errors = self._provider.errors
        if mode == "malformed":
            return 502
        if errors is not None and errors.rate > 0.0 and random.Random(draw).random() < errors.rate:
            return errors.status
        return OK
