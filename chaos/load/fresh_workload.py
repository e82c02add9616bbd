"""A workload for a daemon that may remember an earlier run."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

from scenarios.model import Scenario
from scenarios.workload import PlannedCall, Workload


class FreshWorkload(Workload):
    """The same calls, but with keys, trace ids and nonces that no earlier run has used.

    A seed gives the same keys in every run. A daemon that outlives the run keeps results by key, and would replay an
    earlier run's, or say that they are gone. Calls that share a key, a trace id or a nonce still share it.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        """Prepare the streams under a name of their own."""
        super().__init__(scenario, seed)
        self._name = uuid.uuid4()

    def open_calls(self) -> Iterator[PlannedCall]:
        """Return the calls of all open phases in the order of their moments."""
        return map(self._fresh, super().open_calls())

    def next_call(self, user: int, now: float) -> PlannedCall | None:
        """Return the user's next call; None if the user is done."""
        planned = super().next_call(user, now)
        return None if planned is None else self._fresh(planned)

    def _fresh(self, planned: PlannedCall) -> PlannedCall:
        key = planned.call_key
        return replace(
            planned,
            call_key=None if key is None else str(uuid.uuid5(self._name, key)),
            trace_id=uuid.uuid5(self._name, planned.trace_id).hex,
            nonce=uuid.uuid5(self._name, planned.nonce).hex[:16],
        )
