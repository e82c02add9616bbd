"""Defects of the client: it gives up too early, or tries again too soon, too often, or what is final."""

import uuid
from typing import Any, Final

from chaos.defects.defect import Change, Defect
from reference_daemon.channel import Channel, Terminal
from reference_daemon.logical_call import LogicalCall, _Step
from reference_daemon.outcomes import CallOutcome
from reference_daemon.policy.retry import GiveUp, Recovery, RetryAt, RetryPolicy

GIVES_UP_AFTER_S: Final = 9.0
"""Seconds after which the impatient client gives up: less than any expert takes."""

REFUSED_FOR_GOOD: Final = frozenset({"KEY_REUSED"})
LATE: Final = frozenset({"TIMEOUT", "STEP_TIMEOUT", "EXPERT_TIMEOUT"})
"""Codes of answers that are final, and that a stubborn client does not take for that."""


def gives_up_early() -> tuple[Change, ...]:
    """An attempt is given up after a few seconds, though the daemon was told that the client waits longer."""
    attempt = LogicalCall._attempt

    async def impatient(self: LogicalCall, channel: Channel) -> Terminal | None:
        async with self._clock.timeout_at(self._clock.now() + GIVES_UP_AFTER_S):
            return await attempt(self, channel)

    return (Change(LogicalCall, "_attempt", impatient),)


def _decides(*, jitter: bool = True, part: float = 1.0, more: int = 0, final: frozenset[str] = frozenset()) -> Change:
    """Return a retry policy that is told something else than what is so."""
    after_refusal = RetryPolicy.after_refusal

    def misled(
        self: RetryPolicy,
        code: str,
        retry_after_s: float | None,
        *,
        attempt: int,
        now: float,
        deadline_at: float,
        draw: float,
    ) -> RetryAt | GiveUp:
        return after_refusal(
            self,
            "OVER_CAPACITY" if code in final else code,
            None if retry_after_s is None else retry_after_s * part,
            attempt=max(attempt - more, 1),
            now=now,
            deadline_at=deadline_at,
            draw=draw if jitter else 0.0,
        )

    return Change(RetryPolicy, "after_refusal", misled)


def no_jitter() -> tuple[Change, ...]:
    """All who were told the same moment come back at that very moment."""
    return (_decides(jitter=False),)


def too_soon() -> tuple[Change, ...]:
    """A client comes back after half the time that it was told to wait."""
    return (_decides(part=0.5),)


def four_attempts() -> tuple[Change, ...]:
    """A call is sent four times instead of three."""
    return (_decides(more=1),)


def retries_refused() -> tuple[Change, ...]:
    """A call is sent again after an answer that refuses it for good."""
    return (_decides(final=REFUSED_FOR_GOOD),)


def retries_late() -> tuple[Change, ...]:
    """A call is sent again that was late, though it may still be running."""
    return (_decides(final=LATE),)


def retries_without_time() -> tuple[Change, ...]:
    """A call is sent again although it cannot end before its deadline."""
    after_refusal = RetryPolicy.after_refusal

    def hopeful(self: RetryPolicy, code: str, retry_after_s: float | None, **facts: Any) -> RetryAt | GiveUp:
        return after_refusal(self, code, retry_after_s, **(facts | {"deadline_at": float("inf")}))

    return (Change(RetryPolicy, "after_refusal", hopeful),)


def takes_nonsense() -> tuple[Change, ...]:
    """A client that is told to come back in no time does."""
    after_refusal = RetryPolicy.after_refusal

    def literal(self: RetryPolicy, code: str, retry_after_s: float | None, **facts: Any) -> RetryAt | GiveUp:
        decision = after_refusal(self, code, retry_after_s, **facts)
        if isinstance(decision, RetryAt) and retry_after_s is not None and retry_after_s <= 0.0:
            return RetryAt(float(facts["now"]))
        return decision

    return (Change(RetryPolicy, "after_refusal", literal),)


def boot_ignored() -> tuple[Change, ...]:
    """A call that a new daemon does not know is sent again, though the old one may have run it."""
    recover = RetryPolicy.recover

    def forgetful(self: RetryPolicy, attach_status: int, *, same_boot: bool) -> Recovery:  # noqa: ARG001 - that is the defect
        return recover(self, attach_status, same_boot=True)

    return (Change(RetryPolicy, "recover", forgetful),)


def new_key() -> tuple[Change, ...]:
    """After a lost connection the call is sent again under a new key, instead of asking what became of it."""

    async def send_anew(self: LogicalCall, channel: Channel) -> Terminal | _Step | None:  # noqa: ARG001 - the signature that it replaces
        if self._result.attempts >= self._retry.config.max_attempts:
            self._result.outcome = CallOutcome.CONNECTION_LOST
            return _Step.STOP
        self._result.call_key = str(uuid.uuid4())
        return _Step.SEND

    return (Change(LogicalCall, "_attach", send_anew),)


DEFECTS: Final = (
    Defect(
        name="client-gives-up-early",
        title="the client gives up after 9 s",
        rule="expectation:success_rate",
        also=("INV-22", "expectation:timeouts"),
        stage="root-cause-client-timeout",
        where="client",
        changes=gives_up_early,
    ),
    Defect(
        name="retries-without-jitter",
        title="the client adds no jitter to its waits",
        rule="INV-41",
        stage="backpressure",
        where="client",
        changes=no_jitter,
    ),
    Defect(
        name="retries-below-retry-after",
        title="the client waits half as long as it was told",
        rule="INV-41",
        also=("expectation:success_rate", "expectation:retried_success_rate"),
        stage="backpressure",
        where="client",
        changes=too_soon,
    ),
    Defect(
        name="four-attempts",
        title="the client sends a call four times",
        rule="INV-40",
        also=("INV-41",),
        stage="protocol",
        where="client",
        changes=four_attempts,
    ),
    Defect(
        name="retries-422",
        title="the client sends a call again after a 422",
        rule="INV-40",
        stage="protocol",
        where="client",
        changes=retries_refused,
    ),
    Defect(
        name="new-key-on-reconnect",
        title="the client sends a call under a new key when its connection was lost",
        rule="INV-26",
        also=("INV-40", "INV-12"),
        stage="chaos",
        where="client",
        changes=new_key,
    ),
    Defect(
        name="retries-a-timeout",
        title="the client sends a call again that was late",
        rule="INV-40",
        stage="protocol",
        where="client",
        changes=retries_late,
    ),
    Defect(
        name="retries-without-time",
        title="the client sends a call again that cannot end in time",
        rule="INV-40",
        also=("INV-41",),
        stage="protocol",
        where="client",
        changes=retries_without_time,
    ),
    Defect(
        name="takes-nonsense",
        title="the client comes back at once if it is told 0 s",
        rule="INV-41",
        stage="protocol",
        where="client",
        changes=takes_nonsense,
    ),
    Defect(
        name="boot-ignored",
        title="the client sends a call again that a killed daemon may have run",
        rule="INV-29",
        also=("INV-26", "INV-40"),
        stage="protocol",
        where="client",
        changes=boot_ignored,
    ),
)
