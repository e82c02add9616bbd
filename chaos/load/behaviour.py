"""One call as its client makes it: most wait for the answer; some cancel, vanish, or stop reading."""

import contextlib
from dataclasses import dataclass, replace
from hashlib import sha256

from chaos.load.virtual_client import VirtualClients
from reference_daemon.client import CallOutcome, CallResult, DaemonClient, TimeoutLayer
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from scenarios.workload import PlannedCall, arguments


@dataclass(slots=True, eq=False)
class Attempted:
    """A logical call while it runs.

    Attributes:
        planned: What is called.
        timeout_s: Seconds that its client waits.
        started_at: When its client began with it, a reading of the clock.
        result: What is known of it so far; None before it began.
    """

    planned: PlannedCall
    timeout_s: float
    started_at: float
    result: CallResult | None = None

    def begun(self, result: CallResult) -> None:
        """Take the result that is filled in from now on."""
        self.result = result


async def perform(call: Attempted, clients: VirtualClients, clock: Clock) -> CallResult:
    """Make a call as its phase says, and return what became of it."""
    planned, behaviour = call.planned, call.planned.phase.behaviour
    if behaviour is None or behaviour.duplicates is not None:
        return await _ask(call, clients.shared(planned.client))
    if behaviour.cancel is not None:
        return await _cancelling(call, clients.shared(planned.client), clock, behaviour.cancel)
    client = clients.own(planned.phase, planned.client, planned.number)
    try:
        await _try_to_connect(client)
        if behaviour.early_close is not None:
            return await _vanishing(call, client, clock, behaviour.early_close)
        return await _stuck(call, client, clock, behaviour.stop_reading or 0.0)
    finally:
        await clients.done_with(client)


def copies_of(planned: PlannedCall) -> list[PlannedCall]:
    """Return the further copies that a phase sends of a call: the same work and key, but calls of their own.

    Each has a trace_id of its own, made from the first one's, since that is what tells calls apart in every log.
    """
    behaviour = planned.phase.behaviour
    copies = behaviour.duplicates if behaviour is not None and behaviour.duplicates is not None else 0
    return [
        replace(planned, trace_id=sha256(f"{planned.trace_id}/{number}".encode()).hexdigest()[:32])
        for number in range(1, copies + 1)
    ]


async def _ask(call: Attempted, client: DaemonClient) -> CallResult:
    planned = call.planned
    return await client.call(
        planned.tool,
        arguments(planned),
        timeout_s=call.timeout_s,
        call_key=planned.call_key,
        derive_key=planned.call_key is None,
        trace_id=planned.trace_id,
        on_start=call.begun,
    )


async def _cancelling(call: Attempted, client: DaemonClient, clock: Clock, after_s: float) -> CallResult:
    """Cancel the call after a while; the daemon is told."""
    try:
        async with clock.timeout_at(clock.now() + after_s):
            return await _ask(call, client)
    except TimeoutError:
        return _given_up(call, CallOutcome.CANCELLED, clock.now())


async def _vanishing(call: Attempted, client: DaemonClient, clock: Clock, after_s: float) -> CallResult:
    """Drop the connection after a while, without a word to the daemon, and never come back for the answer."""
    dropped_at: list[float] = []

    def drop() -> None:
        dropped_at.append(clock.now())
        client.drop()

    timer = clock.call_at(clock.now() + after_s, drop)
    try:
        result = await _ask(call, client)
    finally:
        timer.cancel()
    if not dropped_at or result.ok:  # it may have come at the very moment
        return result
    given_up = _given_up(call, CallOutcome.UNKNOWN, dropped_at[0])
    given_up.timeout_layer = TimeoutLayer.CLIENT
    return given_up


async def _stuck(call: Attempted, client: DaemonClient, clock: Clock, for_s: float) -> CallResult:
    """Read nothing for a while after sending, then go on."""
    now = clock.now()
    timers = [clock.call_at(now, client.pause_reading), clock.call_at(now + for_s, client.resume_reading)]
    try:
        return await _ask(call, client)
    finally:
        for timer in timers:
            timer.cancel()
        client.resume_reading()


async def _try_to_connect(client: DaemonClient) -> None:
    """Connect; without a daemon do nothing, for the call looks for one, too."""
    with contextlib.suppress(HarnessError):
        await client.connect()


def _given_up(call: Attempted, outcome: CallOutcome, at: float) -> CallResult:
    """Return the result of a call whose client ended it by its own choice."""
    planned = call.planned
    result = call.result or CallResult(
        tool=planned.tool, call_key=planned.call_key or "", trace_id=planned.trace_id, intended_at=call.started_at
    )
    result.outcome, result.error, result.timeout_layer, result.finished_at = outcome, None, None, at
    return result
