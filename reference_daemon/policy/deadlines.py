"""When a call is late, and how long its key stays fresh. Budgets shrink inwards: client >= daemon >= provider."""

from typing import Final

from reference_daemon.policy.config import Timeouts, Ttls
from reference_daemon.policy.durations import DurationWindow
from reference_daemon.policy.events import CallKind, Limit

TTL_QUANTILE: Final = 0.95
"""The in-flight TTL is a multiple of the P95 of its tool's durations."""

EXPERT_REPLY_S: Final = 2.0
"""Seconds that are kept to answer a call whose expert was late."""


def expert_step_s(timeouts: Timeouts) -> float:
    """Return what a final expert step as a whole may take, in seconds.

    That is the expert's own budget and a buffer, but less than the call's ceiling, so that it is the step that is late
    and says so; and never less than a floor, so that a low ceiling leaves something to work with.
    """
    whole_s = min(timeouts.expert_s + timeouts.expert_buffer_s, timeouts.call_s - timeouts.expert_reserve_s)
    return max(timeouts.expert_floor_s, whole_s)


def expert_request_s(expert_s: float, remaining_s: float) -> float:
    """Return what the expert's provider request may take, in seconds.

    Less than what is left of the call: a client that waits for less than the expert's budget still gets its findings
    when that budget ends, instead of a call that is late. In the last seconds the request gets half of what is left.
    """
    return min(expert_s, max(remaining_s - EXPERT_REPLY_S, remaining_s / 2.0))


Budget = tuple[float, Limit]
"""Seconds that a call has, and whose budget that is."""


def call_budget(kind: CallKind, timeouts: Timeouts, client_timeout_s: float | None) -> Budget:
    """Return the seconds that a call has, and whose budget that is: the smallest that applies.

    On a tie the outer one is named: a client that waits exactly as long as the step would be told nothing new.
    """
    return budget_within(own_budget(kind, timeouts), client_timeout_s)


def own_budget(kind: CallKind, timeouts: Timeouts) -> Budget:
    """Return what a call of a kind has whose client waits for ever; it is the same for all of them."""
    budget_s, limit = timeouts.call_s, Limit.CALL
    if kind is CallKind.EXPERT:
        own_s, own = expert_step_s(timeouts), Limit.EXPERT
    elif kind is CallKind.STEP:
        own_s, own = timeouts.step_s, Limit.STEP
    else:
        own_s, own = budget_s, limit
    return (own_s, own) if own_s < budget_s else (budget_s, limit)


def budget_within(own: Budget, client_timeout_s: float | None) -> Budget:
    """Return a call's own budget, or its client's patience if that is the smaller one."""
    if client_timeout_s is not None and client_timeout_s < own[0]:
        return client_timeout_s, Limit.CLIENT
    return own


def fresh_s(ttls: Ttls, call_s: float, window: DurationWindow | None) -> float:
    """Return how long a call in flight keeps its key fresh, in seconds.

    Args:
        ttls: The multiplier, or the value that overrides it.
        call_s: The daemon's ceiling for any call: no key need be fresh for longer.
        window: The tool's durations; None while too few were seen.
    """
    if ttls.inflight_s is not None:
        return ttls.inflight_s
    p95_s = None if window is None else window.quantile_s(TTL_QUANTILE)
    return call_s if p95_s is None else min(call_s, ttls.multiplier * p95_s)
