"""A scenario's faults in the model: put on and taken off at their moments. What is left out is named, never dropped."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from scenarios.model import Scenario
from scenarios.model_faults import Fault, Toxic
from simulator.model.connections import Door
from simulator.model.daemon import DaemonModel
from simulator.model.lines import DOWN, UP, Delay, Line, ProviderLine, Stream
from simulator.model.provider import ProviderModel
from simulator.model.virtual_time import VirtualTime

_CLIENTS: Final = "client-daemon"
_SIGNALS: Final = frozenset({"SIGTERM", "SIGKILL"})


@dataclass(slots=True)
class Window:
    """When a fault was on.

    Attributes:
        name: Its name.
        began_at: When it was put on.
        ended_at: When it was taken off; infinity before.
    """

    name: str
    began_at: float
    ended_at: float = float("inf")


def carried(fault: Fault) -> bool:
    """Return whether the model carries a fault.

    It carries all that a provider may be changed to, lines that are down, slow or swallow everything, and signals that
    end the daemon.
    """
    if fault.signal is not None:
        return fault.signal in _SIGNALS
    if fault.provider is not None:
        return True
    if fault.toxicity < 1.0:
        return False
    toxic = fault.toxic
    return toxic == "down" or (isinstance(toxic, Toxic) and (toxic.latency is not None or _swallows(toxic)))


def exposes_clients(fault: Fault) -> bool:
    """Return whether clients can lose their connections, or frames, by a fault that the model carries."""
    return carried(fault) and (fault.signal is not None or fault.link == _CLIENTS)


def disturbs(fault: Fault) -> str | None:
    """Return the provider whose line a fault touches that the model carries."""
    return (fault.link or "").partition(":")[2] or None if carried(fault) else None


def not_carried(scenario: Scenario) -> Iterator[str]:
    """Name what the model leaves out of a scenario, in words."""
    for fault in scenario.faults:
        if not carried(fault):
            yield f"fault {fault.title}: the model does not carry it"


def _swallows(toxic: Toxic) -> bool:
    """Return whether a toxic is a black hole that stays open; one that closes the line later is another matter."""
    return toxic.timeout is not None and toxic.timeout.timeout == 0.0


class Faults:
    """Performs the faults of one run.

    Attributes:
        windows: Those that were put on so far, in the order of their beginning.
    """

    def __init__(
        self,
        time: VirtualTime,
        providers: dict[str, ProviderModel],
        lines: dict[str, ProviderLine],
        door: Door,
        start_daemon: Callable[[], DaemonModel],
    ) -> None:
        """Take what faults are put on.

        Args:
            time: The clock.
            providers: The providers.
            lines: The lines to those of them that a fault touches.
            door: The line between clients and daemon, and the daemon.
            start_daemon: Starts the daemon that comes after one that ended.
        """
        self._time, self._providers, self._lines, self._door = time, providers, lines, door
        self._start_daemon = start_daemon
        self.windows: list[Window] = []

    def place(self, faults: tuple[Fault, ...]) -> None:
        """Set every fault that the model carries on its moments."""
        seen: Counter[str] = Counter()
        for fault in faults:
            seen[fault.title] += 1
            name = fault.title if seen[fault.title] == 1 else f"{fault.title}-{seen[fault.title]}"
            if carried(fault):
                self._time.call_at(fault.at, partial(self._put_on, fault, name))

    def active(self, from_at: float, until: float) -> tuple[str, ...]:
        """Return the faults that were on at some moment between two, in the order of their beginning."""
        return tuple(
            dict.fromkeys(
                window.name for window in self.windows if window.began_at <= until and window.ended_at > from_at
            )
        )

    def _put_on(self, fault: Fault, name: str, _: object) -> None:
        window = Window(name, self._time.now)
        self.windows.append(window)
        ends_at = fault.at + (fault.duration or 0.0)
        if fault.signal is not None:
            self._signal(fault, window, ends_at)
            return
        take_off = self._begin(fault, ends_at)
        self._time.call_at(ends_at, partial(self._take_off, take_off, window))

    def _take_off(self, take_off: Callable[[], object], window: Window, _: object) -> None:
        window.ended_at = self._time.now
        take_off()

    # --- providers and lines -----------------------------------------------------------------------------------------

    def _begin(self, fault: Fault, ends_at: float) -> Callable[[], object]:
        """Put a fault on; return what takes it off."""
        if fault.provider is not None:
            provider = self._providers[fault.provider.name]
            provider.change(fault.provider)
            return lambda: provider.change(None)
        line: Line = self._door if fault.link == _CLIENTS else self._lines[(fault.link or "").partition(":")[2]]
        if not isinstance(fault.toxic, Toxic):
            line.up = False
            line.cut()
            return lambda: setattr(line, "up", True)
        streams: tuple[Stream, ...] = (UP, DOWN) if fault.stream == "both" else (fault.stream,)
        if fault.toxic.latency is None:
            return _swallow(line, streams)
        delay = Delay(fault.toxic.latency.latency, fault.toxic.latency.jitter, ends_at)
        return _delay(line, streams, delay)

    # --- signals -----------------------------------------------------------------------------------------------------

    def _signal(self, fault: Fault, window: Window, ends_at: float) -> None:
        """End the daemon; a daemon that drains ends when nothing runs in it any more."""
        daemon = self._door.daemon
        if daemon is None:  # it has ended already
            window.ended_at = self._time.now
            return
        ended = partial(self._daemon_ended, daemon, fault, window, ends_at)
        if fault.signal == "SIGKILL":
            daemon.kill()
            ended()
        else:
            daemon.on_idle = ended
            daemon.drain()

    def _daemon_ended(self, daemon: DaemonModel, fault: Fault, window: Window, ends_at: float) -> None:
        if self._door.daemon is not daemon:  # it was killed while it drained
            return
        self._door.daemon_ended()
        if fault.restart:
            self._time.call_at(ends_at, partial(self._start, window))
        else:
            window.ended_at = self._time.now

    def _start(self, window: Window, _: object) -> None:
        window.ended_at = self._time.now
        if self._door.daemon is None:
            self._door.daemon_started(self._start_daemon())


def _swallow(line: Line, streams: tuple[Stream, ...]) -> Callable[[], object]:
    for stream in streams:
        line.swallows[stream] += 1

    def take_off() -> None:
        for stream in streams:
            line.swallows[stream] -= 1

    return take_off


def _delay(line: Line, streams: tuple[Stream, ...], delay: Delay) -> Callable[[], object]:
    for stream in streams:
        line.delays[stream].append(delay)

    def take_off() -> None:
        for stream in streams:
            line.delays[stream].remove(delay)

    return take_off
