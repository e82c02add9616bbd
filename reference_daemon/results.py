"""The answers that are kept for replays. Which are kept, and for how long, is the policy's decision."""

from collections.abc import Iterable

from reference_daemon.answers import Answer
from reference_daemon.policy.events import CallId


class Results:
    """Kept answers by the call that they belong to, with that call's trace_id."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[CallId, tuple[Answer, str]] = {}

    def __len__(self) -> int:
        """Return the number of answers kept."""
        return len(self._kept)

    def keep(self, call_id: CallId, answer: Answer, trace_id: str) -> None:
        """Keep an answer."""
        self._kept[call_id] = answer, trace_id

    def get(self, call_id: CallId) -> tuple[Answer, str]:
        """Return a kept answer and the trace_id of its call.

        Raises:
            KeyError: It is not kept: the policy and this store disagree, a bug of ours.
        """
        return self._kept[call_id]

    def drop(self, call_ids: Iterable[CallId]) -> None:
        """Forget answers."""
        for call_id in call_ids:
            self._kept.pop(call_id, None)
