"""What came out of a model run: the drill's history, and what only a model can count."""

from collections.abc import Callable, Sequence
from hashlib import sha256

from reference_daemon.policy.events import CallKind
from reference_daemon.policy.keys import key_hash
from scenarios.history import Body, Call
from scenarios.workload import PlannedCall
from simulator.model.census import Census
from simulator.model.daemon import Counts
from simulator.model.faults import Window
from simulator.model.heartbeats import heard
from simulator.model.logical_call import LogicalCall

_KEY_DIGITS = 32


class ModelRun:
    """What came out.

    Attributes:
        ended: The calls as the model has them, in the order in which they ended: quicker to sum up than the history.
        counts: What the daemon did.
        not_carried: Parts of the scenario that the model leaves out, in words.
        ended_at: Moment at which nothing was left to come.
        windows: When its faults were on, under the names that the calls have.
        censuses: How many were in the daemon, at each provider, and at their clients, over time.
    """

    def __init__(
        self,
        calls: Sequence[Call] | Callable[[], Sequence[Call]] = (),
        counts: Counts | None = None,
        not_carried: tuple[str, ...] = (),
        ended_at: float = 0.0,
        censuses: dict[str, Census] | None = None,
        ended: Sequence[LogicalCall] = (),
        windows: Sequence[Window] = (),
    ) -> None:
        """Keep what came out; the history is made when it is asked for: its texts cost more than the run."""
        self._calls = calls
        self.counts = counts if counts is not None else Counts()
        self.not_carried, self.ended_at = not_carried, ended_at
        self.censuses = censuses if censuses is not None else {}
        self.ended, self.windows = ended, windows

    @property
    def calls(self) -> list[Call]:
        """The history, in the order in which the calls ended."""
        if not isinstance(self._calls, list):
            self._calls = list(self._calls() if callable(self._calls) else self._calls)
        return self._calls


class Rows:
    """Makes the rows of the history."""

    def __init__(
        self,
        scenario: str,
        planned: Callable[[], Sequence[PlannedCall]],
        faults: Callable[[float, float], tuple[str, ...]],
        heartbeat_s: float,
    ) -> None:
        """Take what all rows need.

        Args:
            scenario: Its name.
            planned: Returns the calls of the open phases, by number.
            faults: Returns the names of the faults that were on at some moment between two.
            heartbeat_s: Seconds between two heartbeats.
        """
        self._scenario, self._planned, self._faults, self._heartbeat_s = scenario, planned, faults, heartbeat_s

    def of(self, ended: Sequence[LogicalCall]) -> list[Call]:
        """Return the rows of calls, in their order."""
        planned = self._planned()
        return [self._row(call, call.planned or planned[call.number]) for call in ended]

    def _row(self, call: LogicalCall, planned: PlannedCall) -> Call:
        kind, finished_at = call.kind, call.finished_at
        assert finished_at is not None  # noqa: S101 - it has ended
        first_s = gap_s = None
        if call.acked_at is not None:
            first_s, gap_s = heard(call.acked_at, finished_at, self._heartbeat_s, call.lost)
        return Call(
            body=Body.SIMULATED,
            scenario=self._scenario,
            phase=kind.phase.phase,
            session=f"{kind.phase.phase}-{planned.client}",
            tool=kind.tool,
            provider=kind.provider,
            model=kind.phase.model,
            expert=kind.kind is CallKind.EXPERT,
            call_key_hash=None if planned.call_key is None else key_hash(planned.call_key),
            trace_id=trace_id_of(planned, call.copy),
            request_id=call.request_id,
            attempts=call.attempts,
            intended_at=call.at,
            sent_at=call.sent_at,
            acked_at=call.acked_at,
            finished_at=finished_at,
            outcome=call.outcome,
            status=call.status,
            timeout_layer=call.layer,
            latency_s=finished_at - call.at,
            service_s=call.service_s,
            retry_wait_s=call.retry_wait_s,
            first_heartbeat_s=first_s,
            max_heartbeat_gap_s=gap_s,
            faults=self._faults(call.at, finished_at),
        )


def trace_id_of(planned: PlannedCall, copy: int) -> str:
    """Return the trace_id of a call or of one of its copies, which a drill makes in the same way."""
    if not copy:
        return planned.trace_id
    return sha256(f"{planned.trace_id}/{copy}".encode()).hexdigest()[:_KEY_DIGITS]
