"""A call in flight, as the daemon's shell holds it: its work, its timer, and who waits for its answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from reference_daemon.answers import Answer
from reference_daemon.intake import Prepared
from reference_daemon.policy.events import Admit, CallId, Outcome
from reference_daemon.server.context import CallContext
from reference_daemon.sessions import Session


@dataclass(slots=True, eq=False)
class LiveCall:
    """One admitted call until its work has stopped.

    Attributes:
        prepared: The request.
        admit: The policy's decision.
        context: What its tool sees.
        session: The session that sent it, open or not.
        interval_s: Seconds between heartbeats.
        beat_at: When the next heartbeat is due.
        task: Its work; None while it waits for a fenced owner, and once its end was taken note of.
        timer: Wakes it for its next heartbeat or its deadline.
        answer: Its terminal answer, once there is one.
        followers: Requests that attached to it.
        warned: Whether the watchdog has complained about it.
    """

    prepared: Prepared
    admit: Admit
    context: CallContext
    session: Session
    interval_s: float
    beat_at: float
    task: asyncio.Task[Sequence[str]] | None = None
    timer: asyncio.TimerHandle | None = None
    answer: Answer | None = None
    followers: list[tuple[Session, str]] = field(default_factory=list)
    warned: bool = False

    @property
    def call_id(self) -> CallId:
        """The number of the call."""
        return self.prepared.arrived.call_id

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.prepared.arrived.tool

    @property
    def working(self) -> bool:
        """Whether work of it runs: a call can be answered before its work has stopped."""
        return self.task is not None

    def requests(self) -> list[tuple[Session, str]]:
        """Return every request that waits for the answer: the one that sent the call, and those that attached."""
        return [(self.session, self.prepared.arrived.request_id), *self.followers]

    def stop_timer(self) -> None:
        """Send no heartbeat and pass no deadline from here on."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def ended_as(self) -> Outcome:
        """Return how the work ended, as the policy must know."""
        return Outcome.OK if self.answer is not None and self.answer.status == 200 else Outcome.FAILED  # noqa: PLR2004
