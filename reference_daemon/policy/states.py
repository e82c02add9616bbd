"""The states of an admitted call, and the moves between them, as one table.

A call is admitted with all its slots held. Usually its work starts at once; where a lapsed owner of the same key had
to be fenced first, it waits until the owner's work has stopped. An answer and the end of the work are two things: a
call that is late, cancelled, fenced or interrupted is answered at once, and keeps its slots and its key until its work
has really stopped. So a state says both: `ANSWERED` lists the states in which the answer is out and the work is not.

    WAITING --start--> RUNNING --end--> ENDED
       |                  |
       |                  +--expire, cancel, interrupt--> EXPIRED, CANCELLED, INTERRUPTED --end--> ENDED
       |                  |                                    |
       |                  +--fence----------------------> FENCED <--fence--+   FENCED --end--> ENDED
       +--expire, cancel, fence, interrupt--> ENDED  (no work to wait for)
"""

import enum
from typing import Final

from reference_daemon.policy.errors import IllegalMoveError


class State(enum.StrEnum):
    """Where a call is between its admission and its end."""

    WAITING = "waiting"
    RUNNING = "running"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FENCED = "fenced"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


class Move(enum.StrEnum):
    """What can happen to a call."""

    START = "start"
    EXPIRE = "expire"
    CANCEL = "cancel"
    FENCE = "fence"
    INTERRUPT = "interrupt"
    END = "end"


MOVES: Final[dict[tuple[State, Move], State]] = {
    (State.WAITING, Move.START): State.RUNNING,
    (State.WAITING, Move.EXPIRE): State.ENDED,
    (State.WAITING, Move.CANCEL): State.ENDED,
    (State.WAITING, Move.FENCE): State.ENDED,
    (State.WAITING, Move.INTERRUPT): State.ENDED,
    (State.RUNNING, Move.EXPIRE): State.EXPIRED,
    (State.RUNNING, Move.CANCEL): State.CANCELLED,
    (State.RUNNING, Move.FENCE): State.FENCED,
    (State.RUNNING, Move.INTERRUPT): State.INTERRUPTED,
    (State.RUNNING, Move.END): State.ENDED,
    (State.EXPIRED, Move.FENCE): State.FENCED,
    (State.EXPIRED, Move.END): State.ENDED,
    (State.CANCELLED, Move.FENCE): State.FENCED,
    (State.CANCELLED, Move.END): State.ENDED,
    (State.INTERRUPTED, Move.END): State.ENDED,
    (State.FENCED, Move.FENCE): State.FENCED,
    (State.FENCED, Move.END): State.ENDED,
}
"""Every legal move. An interrupted call cannot be fenced: a draining daemon admits nobody who could take its key."""

UNANSWERED: Final = frozenset({State.WAITING, State.RUNNING})
"""States in which the client still waits for its answer."""

CUT: Final = frozenset({State.EXPIRED, State.FENCED})
"""States of a call that would have run longer: its duration counts as at least as long as it took."""


def next_state(call_id: int, state: State, move: Move) -> State:
    """Return the state after `move`.

    Raises:
        IllegalMoveError: The table has no such move.
    """
    after = MOVES.get((state, move))
    if after is None:
        raise IllegalMoveError(call_id, state.value, move.value)
    return after
