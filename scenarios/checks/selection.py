"""The calls and events that an expectation is about: its filters, put to the history."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from scenarios.checks.context import History
from scenarios.events import DaemonCall, Execution, Frame
from scenarios.history import Call, Outcome
from scenarios.model import Expectation, Scenario
from scenarios.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric's value.

    Attributes:
        value: What was seen; None if nothing was: the expectation is then undecided.
        n: Calls or events that it was measured on.
        reason: One sentence with counts.
        low: Lower end of its 95 % interval.
        high: Its upper end.
        verdict: What it says whatever the limit: for what has no value and yet is no lack of data.
        worst: The value if the calls without one had the highest: a limit above is not held if this one breaks it.
    """

    value: float | None
    n: int
    reason: str
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None
    worst: float | None = None


class Selection:
    """What an expectation's filters leave.

    Attributes:
        scenario: The scenario.
        history: The run.
        expectation: The expectation.
        calls: The calls that phase, tool, provider and fault leave; without those that only the run's stop cut off.
        narrowed: Of these the ones with the expectation's outcome and layer, if it names them.
    """

    def __init__(self, scenario: Scenario, history: History, expectation: Expectation) -> None:
        """Put the filters to the history."""
        self.scenario, self.history, self.expectation = scenario, history, expectation
        self._providers = _providers(history)
        self.calls = [call for call in history.calls if self._includes(call) and not history.cut_off(call)]
        self.narrowed = [call for call in self.calls if self._narrow(call)]

    def _includes(self, call: Call) -> bool:
        wanted = self.expectation
        return (
            (wanted.phase is None or call.phase == wanted.phase)
            and (wanted.tool is None or call.tool == wanted.tool)
            and (wanted.during is None or wanted.during in call.faults)
            and (wanted.provider is None or wanted.provider == (call.provider or self._providers.get(call.tool)))
        )

    def _narrow(self, call: Call) -> bool:
        wanted = self.expectation
        return (wanted.outcome is None or call.outcome.value == wanted.outcome) and (
            wanted.layer is None or call.timeout_layer == wanted.layer
        )

    @cached_property
    def _by_trace(self) -> dict[str, Call]:
        return {call.trace_id: call for call in reversed(self.history.calls)}

    @cached_property
    def _by_session(self) -> dict[str, Call]:
        return {call.session: call for call in reversed(self.history.calls)}

    def covers(self, event: Frame | DaemonCall | Execution) -> bool:
        """Return whether an event belongs to the selection: by its trace, else by the client that saw it."""
        wanted = self.expectation
        if not (wanted.phase or wanted.tool or wanted.provider or wanted.during):
            return True
        call = self._by_trace.get(event.trace_id or "")
        if call is None and isinstance(event, Frame):
            call = self._by_session.get(event.client)
        return call is not None and self._includes(call)

    def answers(self, status: int) -> list[Frame] | list[DaemonCall] | None:
        """Return the answers with this status: as clients saw them, else as the daemon logged them; None if unseen."""
        if self.history.frames:
            return [frame for frame in self._results() if frame.status == status and self.covers(frame)]
        if self.history.daemon_calls:
            return [
                step
                for step in self.history.daemon_calls
                if step.what == "refused" and step.status == status and self.covers(step)
            ]
        return None

    def _results(self) -> Iterable[Frame]:
        return (
            frame
            for frame in self.history.frames
            if frame.direction == "received"
            and frame.op in {"call_tool_res", "error"}
            and frame.connection not in self.history.witness_connections
        )


def _providers(history: History) -> dict[str, str]:
    """Return the provider of each tool that has only one: a refused call names none, and yet it counts for its own."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.provider is not None:
            seen[call.tool].add(call.provider)
    for step in history.daemon_calls:
        if step.tool is not None and step.provider is not None:
            seen[step.tool].add(step.provider)
    return {tool: next(iter(providers)) for tool, providers in seen.items() if len(providers) == 1}


def outcomes(calls: Iterable[Call]) -> str:
    """Count the outcomes in words, the commonest first: "20 over_capacity, 8 timeout (client)"."""
    counts = Counter(
        f"{call.outcome.value} ({call.timeout_layer.value})" if call.timeout_layer else call.outcome.value
        for call in calls
    )
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


def succeeded(call: Call) -> bool:
    """Return whether a call ended with its answer."""
    return call.outcome.succeeded and call.finished_at is not None


def never_ended(calls: Iterable[Call]) -> int:
    """Return how many calls have no end."""
    return sum(1 for call in calls if call.finished_at is None)


def timed_out(call: Call) -> bool:
    """Return whether somebody's patience ended: also if the client cannot tell what became of the call."""
    return call.timeout_layer is not None or call.outcome is Outcome.TIMEOUT
