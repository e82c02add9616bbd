"""What the policy remembers of an admitted call until its work has stopped."""

from dataclasses import dataclass, field

from reference_daemon.policy.admission import Pool
from reference_daemon.policy.events import CallArrived, CallId, Limit, RequestId, SessionId
from reference_daemon.policy.schedule import Holder
from reference_daemon.policy.states import UNANSWERED, Move, State, next_state


@dataclass(slots=True)
class Call:
    """One admitted call.

    Attributes:
        arrived: The event that brought it.
        admitted_at: When it was admitted.
        deadline_at: When it is late.
        timeout_s: Its budget, in seconds.
        limit: Whose budget that is.
        fresh_until: Until when its key is fresh.
        needs: The pools in which its work needs a slot.
        pools: The pools in which it holds one: all of them, but for those that it will get from the call it awaits.
        holder: Its place in the schedules.
        state: See `states`.
        started_at: When its work began; None while it waits.
        awaits: The fenced owner whose work must stop first.
        successor: The call that awaits this one.
        followers: Requests that attached to it.
    """

    arrived: CallArrived
    admitted_at: float
    deadline_at: float
    timeout_s: float
    limit: Limit
    fresh_until: float
    needs: list[Pool]
    pools: list[Pool]
    holder: Holder | None
    state: State = State.RUNNING
    started_at: float | None = None
    awaits: CallId | None = None
    successor: CallId | None = None
    followers: list[tuple[SessionId, RequestId]] = field(default_factory=list)

    def move(self, move: Move) -> None:
        """Go to the next state.

        Raises:
            IllegalMoveError: Its present state does not allow that; nothing changes.
        """
        self.state = next_state(self.arrived.call_id, self.state, move)

    @property
    def answered(self) -> bool:
        """Whether its client has its answer."""
        return self.state not in UNANSWERED
