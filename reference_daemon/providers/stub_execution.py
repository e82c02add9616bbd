"""One provider of the stub and its executions: who is let in, how long it takes, what the log says of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from reference_daemon.clock import Clock
from reference_daemon.providers.stub_log import EventKind, StubEvent, StubLog, unix_s
from reference_daemon.providers.stub_model import Mode, ModeKind, StubProvider
from reference_daemon.providers.traceparent import TraceParent

TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        model: Model asked for.
        tool: Tool that asks, if it says so.
        trace: Its trace, if it sends one.
    """

    model: str
    tool: str | None
    trace: TraceParent | None


class Provider:
    """One provider: its present settings, and how many executions it has.

    Attributes:
        name: Its name.
        settings: What it is set to now; a change counts for requests that come later.
        in_flight: Executions now.
    """

    def __init__(self, name: str, settings: StubProvider, clock: Clock, log: StubLog, numbers: Iterator[int]) -> None:
        """Make a provider without executions; `numbers` gives every execution of the server its own."""
        self.name = name
        self.settings = settings
        self.in_flight = 0
        self.clock = clock
        self._log = log
        self._numbers = numbers

    def refusal(self) -> int | None:
        """Return the status with which a request is refused now; None if it may run."""
        if self.settings.mode.kind is ModeKind.STATUS:
            return self.settings.mode.status
        return TOO_MANY_REQUESTS if self.in_flight >= self.settings.concurrency else None

    def refuse(self, caller: Caller, status: int) -> None:
        """Log that a request was refused."""
        self.log("refused", caller, status=status)

    def execution(self, caller: Caller, draw: float) -> "Execution":
        """Return the next execution; it begins when it is entered."""
        return Execution(self, caller, draw, next(self._numbers))

    def log(
        self,
        event: EventKind,
        caller: Caller,
        *,
        execution: int | None = None,
        status: int | None = None,
        latency_s: float | None = None,
    ) -> None:
        """Log an event of this provider, with the count after it."""
        self._log.add(
            StubEvent(
                event=event,
                at=self.clock.now(),
                unix_s=unix_s(),
                provider=self.name,
                model=caller.model,
                tool=caller.tool,
                trace_id=caller.trace.trace_id if caller.trace else None,
                span_id=caller.trace.span_id if caller.trace else None,
                execution=execution,
                in_flight=self.in_flight,
                status=status,
                latency_s=latency_s,
            )
        )


class Execution:
    """One execution, a context manager: it counts from entry until `end`, or until it is left without one.

    Attributes:
        provider: Its provider.
        settings: The provider's settings when it began; later changes do not touch it.
        number: Its number.
        fails: Whether it is one of those that end with the error status.
    """

    def __init__(self, provider: Provider, caller: Caller, draw: float, number: int) -> None:
        """Fix what the draw decides."""
        self.provider = provider
        self.settings = provider.settings
        self.number = number
        self.fails = self.settings.fails(draw)
        self._caller = caller
        self._latency_s = self.settings.latency_of(caller.tool, draw)
        self._started_at = 0.0
        self._ended = False

    @property
    def mode(self) -> Mode:
        """The mode in which it began."""
        return self.settings.mode

    def __enter__(self) -> Self:
        """Begin."""
        self._started_at = self.provider.clock.now()
        self.provider.in_flight += 1
        planned_s = None if self.mode.kind is ModeKind.HANG else self._latency_s
        self.provider.log("start", self._caller, execution=self.number, latency_s=planned_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave; without an `end` before it, the execution was cancelled."""
        if not self._ended:
            self._finish("cancelled", None)

    def end(self, status: int) -> None:
        """End; before the answer is sent, so that a client that has it finds the slot free."""
        self._ended = True
        self._finish("end", status)

    async def wait_until(self, share: float) -> None:
        """Wait until this share of the latency has passed since the beginning."""
        due_at = self._started_at + share * self._latency_s
        remaining_s = due_at - self.provider.clock.now()
        if remaining_s > 0.0:
            await self.provider.clock.sleep(remaining_s)

    def _finish(self, event: EventKind, status: int | None) -> None:
        self.provider.in_flight -= 1
        took_s = self.provider.clock.now() - self._started_at
        self.provider.log(event, self._caller, execution=self.number, status=status, latency_s=took_s)
