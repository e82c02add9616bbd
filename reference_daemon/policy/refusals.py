"""How a refusal is worded: which facts go with which reason."""

from reference_daemon.policy.admission import Pool
from reference_daemon.policy.call import Call
from reference_daemon.policy.duplicates import Done
from reference_daemon.policy.events import CallId, Reason, Refuse, RequestId

_OVER_CAPACITY = Reason.OVER_CAPACITY  # to look up a member of an enumeration costs as much as to call a function

_new = tuple.__new__
"""Makes a named tuple from all of its fields, in half of the time that its own constructor takes."""


def because_of(call_id: CallId, reason: Reason, original: Call, *, now: float) -> Refuse:
    """Refuse a call because of one in flight, and say which, how old it is, and how long it may still take."""
    return Refuse(
        call_id=call_id,
        reason=reason,
        original=original.arrived.call_id,
        original_request_id=original.arrived.request_id,
        elapsed_s=now - original.admitted_at,
        remaining_s=max(0.0, original.deadline_at - now),
    )


def key_of_finished(call_id: CallId, done: Done) -> Refuse:
    """Refuse a call whose key was used for other work that has ended."""
    return Refuse(
        call_id=call_id,
        reason=Reason.KEY_REUSED,
        original=done.call_id,
        original_request_id=RequestId(done.request_id),
    )


def over_capacity(call_id: CallId, pool: Pool, retry_after_s: float) -> Refuse:
    """Refuse a call because `pool` is full."""
    scope, cap, in_use = pool.scope, pool.cap, pool.in_use
    return _new(Refuse, (call_id, _OVER_CAPACITY, retry_after_s, scope, cap, in_use, None, None, None, None))


def too_many_requests(call_id: CallId, *, limit: int, retry_after_s: float) -> Refuse:
    """Refuse an attach in a session that waits for too many answers already."""
    return Refuse(
        call_id=call_id,
        reason=Reason.OVER_CAPACITY,
        retry_after_s=retry_after_s,
        scope="session",
        limit=limit,
        in_use=limit,
    )
