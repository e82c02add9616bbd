"""What drill and model share, and what they cannot: arrivals, draws, and the moments of the faults.

The model is told when the faults of the drill really began and ended: what is validated is the model of the daemon, not
the punctuality of the drill. Each execution's latency is looked up in the provider's own log and held against the one
that the model draws for the same call.

The machine of the drill takes its own time for each call: sockets, the proxy, two processes. In wall time that is some
ten milliseconds, of which a time scale of 0.05 makes twenty times as much. It is measured in the drill, as one
constant, and the model's providers take it in addition; what the figures are without it is told beside them. A daemon
that is slow for every call looks the same, so there is a bound to what is put down to the machine. How uneven its time
is says how finely the drill can tell latencies at all.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final, Protocol

from scenarios.events import AnyEvent, Execution
from scenarios.history import Call, Outcome
from scenarios.model import Provider, Scenario
from scenarios.model_faults import ProviderChange
from scenarios.run import Run
from scenarios.workload import PlannedCall, Workload
from simulator.model.engine import ProviderFactory
from simulator.model.provider import ProviderModel
from simulator.model.virtual_time import VirtualTime

LEAST_TO_TELL: Final = 10
"""Calls from which the machine's own time is told: one alone may have been the first of its process."""

MOST_WALL_S: Final = 0.030
"""Wall seconds of a call that are put down to the machine: three times what a quiet one takes. What is above may be
the daemon's own slowness, and nobody can tell."""

_EQUAL_S: Final = 1e-6
"""Seconds within which two latencies are one: the provider's log rounds."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Of the executions that ran in the drill, how many had the latency that the model draws for the same call."""

    equal: int
    seen: int

    @property
    def shared(self) -> bool:
        """Whether all of them had."""
        return self.equal == self.seen


def as_it_was(scenario: Scenario, run: Run) -> tuple[Scenario, tuple[str, ...]]:
    """Return the scenario with each fault when it really was, and in words how far that is from the plan.

    A fault whose end nobody saw, or whose name occurs twice, stays as it was planned.
    """
    windows = {window.name: window for window in run.faults if window.ended_at is not None}
    titles = Counter(fault.title for fault in scenario.faults)
    faults, said = [], []
    for fault in scenario.faults:
        window = windows.get(fault.title)
        if titles[fault.title] > 1 or window is None or window.ended_at is None or fault.duration is None:
            faults.append(fault)
            continue
        lasted_s = window.ended_at - window.started_at
        began_at = max(window.started_at, 0.0)
        faults.append(fault.model_copy(update={"at": began_at, "duration": max(lasted_s, 1e-3)}))
        late_s = (began_at - fault.at, window.ended_at - fault.at - fault.duration)
        said.append(f"fault {fault.title}: began {late_s[0]:+.2f} s and ended {late_s[1]:+.2f} s off its plan")
    return scenario.model_copy(update={"faults": tuple(faults)}), tuple(said)


def left_to_luck(scenario: Scenario) -> tuple[str, ...]:
    """Return the parts of a scenario whose draws the two bodies cannot share, in words."""
    said = []
    for fault in scenario.faults:
        toxic = fault.toxic if not isinstance(fault.toxic, str) else None
        if toxic is not None and toxic.latency is not None and toxic.latency.jitter > 0.0:
            said.append(f"fault {fault.title}: Toxiproxy draws its jitter of ±{toxic.latency.jitter:g} s by itself")
        if fault.toxicity < 1.0:
            said.append(f"fault {fault.title}: Toxiproxy draws by itself which connections it hits")
    return tuple(said)


def draws_of(scenario: Scenario, seed: int, calls: Iterable[Call], events: Iterable[AnyEvent]) -> Draws:
    """Hold the latencies of the drill's executions against the model's draws.

    Executions that a change of the provider's latency may have touched are left out.
    """
    changed = {fault.provider.name for fault in scenario.faults if fault.provider and fault.provider.latency}
    planned = {call.trace_id: call for call in _planned(Workload(scenario, seed), {call.trace_id for call in calls})}
    equal = seen = 0
    for event in events:
        if not isinstance(event, Execution) or event.what != "start" or event.latency_s is None:
            continue
        call = planned.get(event.trace_id or "")
        provider = scenario.providers.get(event.provider)
        if call is None or provider is None or event.provider in changed:
            continue
        seen += 1
        equal += abs(provider.distribution(event.tool).at(call.draw) - event.latency_s) < _EQUAL_S
    return Draws(equal, seen)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine's own time for a call of the drill, beyond its provider's latency.

    Attributes:
        median_s: Of the calls that tell it; 0 if they are too few.
        uneven_s: How much more it took of one call in twenty; the same.
        known: Whether enough calls told it.
    """

    median_s: float
    uneven_s: float
    known: bool = True

    def allowed_s(self, time_scale: float) -> float:
        """Return how much of it the model's providers take, too."""
        return min(self.median_s, MOST_WALL_S / time_scale)

    def doubt(self, time_scale: float) -> str | None:
        """Say why an error over its limit says nothing if it took more than that."""
        if self.median_s * time_scale <= MOST_WALL_S:
            return None
        return (
            f"the median call took {1000 * self.median_s * time_scale:.0f} ms of the wall ({self.median_s:.2f} s) "
            f"beyond the provider's latency; up to {1000 * MOST_WALL_S:.0f} ms are put down to the machine, and more "
            "may be the machine or a daemon that is slow"
        )


def machine_of(calls: Iterable[Call], events: Iterable[AnyEvent]) -> Machine:
    """Measure the machine's own time.

    Only calls that were answered at their first attempt, while no fault was active, tell it.
    """
    starts = [event for event in events if isinstance(event, Execution) and event.what == "start"]
    planned_s = {event.trace_id: event.latency_s for event in starts}
    beyond = []
    for call in calls:
        latency_s = planned_s.get(call.trace_id)
        if call.outcome is Outcome.OK and call.attempts == 1 and not call.faults and call.latency_s and latency_s:
            beyond.append(max(call.latency_s - latency_s, 0.0))
    if len(beyond) < LEAST_TO_TELL:
        return Machine(0.0, 0.0, known=False)
    middle = median(beyond)
    return Machine(middle, sorted(beyond)[math.ceil(0.95 * len(beyond)) - 1] - middle)


class _At(Protocol):
    def __call__(self, draw: float) -> float: ...


class SlowerProvider(ProviderModel):
    """A provider whose executions all take longer by one constant: the machine's own time."""

    def __init__(self, name: str, provider: Provider, time: VirtualTime, beyond_s: float) -> None:
        """Begin idle."""
        self._beyond_s = beyond_s
        super().__init__(name, provider, time)

    def change(self, change: ProviderChange | None) -> None:
        """Behave as a fault says from now on; None: as the scenario says."""
        super().change(change)
        self._latencies = {tool: self._longer(at) for tool, at in self._latencies.items()}
        self._latency = self._longer(self._latency)

    def _longer(self, at: _At) -> _At:
        def longer(draw: float) -> float:
            return at(draw) + self._beyond_s

        return longer


def slower_by(beyond_s: float) -> ProviderFactory:
    """Return what makes providers that take so much longer."""
    return lambda name, scenario, time: SlowerProvider(name, scenario.providers[name], time, beyond_s)


def _planned(workload: Workload, made: set[str]) -> Iterator[PlannedCall]:
    """Return the calls of a workload; of users, as many as were made. Their moments say nothing here."""
    yield from workload.open_calls()
    for _, user in workload.closed_users():
        call = workload.next_call(user, 0.0)
        while call is not None and call.trace_id in made:
            yield call
            call = workload.next_call(user, 0.0)
