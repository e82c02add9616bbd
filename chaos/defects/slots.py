"""Defects of the caps: slots that are lost, given back twice, waited for, or counted wrong."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from chaos.defects.defect import Change, Defect
from reference_daemon import wire
from reference_daemon.calls import Calls
from reference_daemon.intake import Prepared
from reference_daemon.live import LiveCall
from reference_daemon.policy.admission import Pool, Pools
from reference_daemon.policy.core import Policy
from reference_daemon.policy.events import Admit, CallEnded, Ended, Outcome, Reason, Refuse, SessionId
from reference_daemon.sessions import Session

WAIT_S: Final = 20.0
"""Seconds that the hidden queue lets a call wait before it is refused after all."""

_LOOK_AGAIN_WALL_S: Final = 0.02


def kept_on_reject() -> tuple[Change, ...]:
    """A refused call keeps the slots of the pools that were not full, the global one first."""

    def take(self: Pools, pools: Sequence[Pool]) -> list[Pool]:
        for pool in reversed(pools):
            if pool.in_use >= pool.cap:
                return [pool for pool in pools if pool.in_use >= pool.cap]
            pool.in_use += 1
            if pool.session_id is not None:
                self._sessions[pool.session_id] = pool
        return []

    return (Change(Pools, "take", take),)


def given_back_twice() -> tuple[Change, ...]:
    """At the end of a call, two slots of each pool become free."""

    def give_back(self: Pools, pools: Iterable[Pool]) -> None:
        for pool in pools:
            pool.in_use = max(pool.in_use - 2, 0)
            if not pool.in_use and pool.session_id is not None:
                self._sessions.pop(pool.session_id, None)

    return (Change(Pools, "give_back", give_back),)


def leaked_on_exception() -> tuple[Change, ...]:
    """The global slot of a call whose tool raised is not given back."""
    ended = Policy.ended

    def leaking(self: Policy, event: CallEnded, *, now: float) -> Ended:
        decision = ended(self, event, now=now)
        if event.outcome is Outcome.FAILED and not decision.answered:
            self._pools.total.in_use += 1
        return decision

    return (Change(Policy, "ended", leaking),)


def waits_for_a_slot() -> tuple[Change, ...]:
    """A call that finds a pool full waits for a slot, and is refused only after a while."""
    refuse = Calls._refuse

    def wait(self: Calls, session: Session, prepared: Prepared, decision: Refuse, until: float | None = None) -> None:
        now = self._clock.now()
        until = now + WAIT_S if until is None else until
        if decision.reason is not Reason.OVER_CAPACITY or now >= until:
            refuse(self, session, prepared, decision)
        else:
            self._loop.call_later(_LOOK_AGAIN_WALL_S, partial(look_again, self, session, prepared, until))

    def look_again(self: Calls, session: Session, prepared: Prepared, until: float) -> None:
        now = self._clock.now()
        decision = self._policy.arrive(prepared.arrived, now=now)
        if isinstance(decision, Admit):
            self._admit(session, prepared, decision, now)
        elif isinstance(decision, Refuse):
            wait(self, session, prepared, decision, until)

    return (Change(Calls, "_refuse", wait),)


def one_after_another() -> tuple[Change, ...]:
    """A connection's calls run one after another."""
    call_tool = Calls.call_tool

    def in_turn(self: Calls, session: Session, frame: wire.CallTool, frame_characters: int) -> None:
        if any(call.session is session and call.answer is None for call in self.in_flight()):
            self._loop.call_later(_LOOK_AGAIN_WALL_S, self.call_tool, session, frame, frame_characters)
        else:
            call_tool(self, session, frame, frame_characters)

    return (Change(Calls, "call_tool", in_turn),)


def cap_too_high() -> tuple[Change, ...]:
    """Each pool lets one call more in than its cap says."""
    return (Change(Pools, "take", partial_take(1)),)


def cap_too_low() -> tuple[Change, ...]:
    """Each pool of more than one slot keeps its last one back."""
    return (Change(Pools, "take", partial_take(-1)),)


def partial_take(more: int) -> object:
    """Return a `Pools.take` that counts `more` slots than each cap has."""

    def take(self: Pools, pools: Sequence[Pool]) -> list[Pool]:
        full = [pool for pool in pools if pool.in_use >= max(pool.cap + more, 1)]
        if full:
            return full
        for pool in pools:
            pool.in_use += 1
            if pool.session_id is not None:
                self._sessions[pool.session_id] = pool
        return []

    return take


def provider_cap_ignored() -> tuple[Change, ...]:
    """Nobody looks at how many calls a provider has."""
    needed = Pools.needed

    def without_provider(self: Pools, session_id: SessionId, tool: str, provider: str | None) -> list[Pool]:  # noqa: ARG001 - that is the defect
        return needed(self, session_id, tool, None)

    return (Change(Pools, "needed", without_provider),)


def freed_when_read() -> tuple[Change, ...]:
    """A call's slots are given back only when its client has taken the answer."""
    work_stopped, send_answer = Calls._work_stopped, Calls._send_answer
    sent: set[int] = set()

    def send_first(self: Calls, call: LiveCall, task: asyncio.Task[Sequence[str]]) -> None:
        if call.answer is None:
            call.answer = self._outcome(call, task, self._clock.now())
            send_answer(self, call)
            sent.add(call.call_id)
        if call.session.link.open and (call.session.link.paused or call.session.link._waiting):
            self._loop.call_later(_LOOK_AGAIN_WALL_S, send_first, self, call, task)
        else:
            work_stopped(self, call, task)

    def send_once(self: Calls, call: LiveCall) -> None:
        if call.call_id not in sent:
            send_answer(self, call)

    return Change(Calls, "_work_stopped", send_first), Change(Calls, "_send_answer", send_once)


DEFECTS: Final = (
    Defect(
        name="slot-kept-on-reject",
        title="a refused call keeps slots",
        rule="INV-07",
        also=("INV-06", "INV-08", "INV-09", "INV-24"),
        stage="protocol",
        where="daemon",
        changes=kept_on_reject,
    ),
    Defect(
        name="slot-given-back-twice",
        title="two slots become free when one call ends",
        rule="INV-06",
        also=("INV-07", "INV-09", "INV-24"),
        stage="protocol",
        where="daemon",
        changes=given_back_twice,
    ),
    Defect(
        name="slot-leaked-on-exception",
        title="the slot of a call whose tool raised is lost",
        rule="INV-07",
        also=("INV-09", "INV-24"),
        stage="protocol",
        where="daemon",
        changes=leaked_on_exception,
    ),
    Defect(
        name="waits-for-a-slot",
        title="a call waits for a slot instead of being refused",
        rule="INV-10",
        also=("INV-02", "INV-01", "expectation:refusals"),
        stage="backpressure",
        where="daemon",
        changes=waits_for_a_slot,
    ),
    Defect(
        name="calls-one-after-another",
        title="the calls of a connection run one after another",
        rule="INV-02",
        also=("INV-10", "INV-20", "INV-21"),
        stage="protocol",
        where="daemon",
        changes=one_after_another,
    ),
    Defect(
        name="cap-one-too-high",
        title="each cap lets one call more in",
        rule="INV-06",
        also=("INV-24", "expectation:refusals"),
        stage="backpressure",
        where="daemon",
        changes=cap_too_high,
    ),
    Defect(
        name="cap-one-too-low",
        title="each cap keeps its last slot back",
        rule="INV-09",
        also=("expectation:success_rate",),
        stage="backpressure",
        where="daemon",
        changes=cap_too_low,
    ),
    Defect(
        name="provider-cap-ignored",
        title="the provider's cap is not looked at",
        rule="INV-06",
        also=("INV-09", "INV-10"),
        stage="protocol",
        where="daemon",
        changes=provider_cap_ignored,
    ),
    Defect(
        name="slot-freed-when-read",
        title="a slot is free only when the client has read the answer",
        rule="INV-11",
        also=("INV-07", "INV-24", "INV-01"),
        stage="protocol",
        where="daemon",
        changes=freed_when_read,
    ),
)
