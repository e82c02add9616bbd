"""When does a client try again? One class for the client wrapper, the shim, the load driver and the simulator.

Up to three attempts in all, an attempt being a `call_tool` that was sent; attaching is free. Only a refusal that says
"later" is tried again: OVER_CAPACITY and DRAINING. The wait is what the daemon advised, or a backoff where that is
longer, times a jitter that is uniform on [1, 1.1): those who were told the same moment must not all come at once.
Nothing else is retried. In particular a call that is late may still be running, and a failed one would fail again.

A lost connection is another matter: the call may be running all the same. The client reconnects, after a full-jitter
exponential backoff, and attaches to the call by its key. What it may conclude from the answer stands in `recover`.
"""

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from reference_daemon.policy.errors import ConfigError

RETRIED_CODES: Final = frozenset({"OVER_CAPACITY", "DRAINING"})
"""Codes of refusals after which the same call may be sent again, with the same key."""

_NONSENSE_S: Final = 3600.0
"""Above this a `retry_after` is no advice: no client waits an hour for a call of a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """What a client is told about trying again. Times in seconds.

    Attributes:
        max_attempts: Times that a call is sent, in all.
        jitter: Part of the wait that is added at most.
        first_s: Ceiling of the first backoff; it doubles with each one.
        max_s: Ceiling of every backoff.
        shortest_call_s: A call shorter than this is not expected: an attempt that starts later could not end in time.
    """

    max_attempts: int = 3
    jitter: float = 0.1
    first_s: float = 1.0
    max_s: float = 30.0
    shortest_call_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that would retry never, or for ever.

        Raises:
            ConfigError: A value is out of range.
        """
        if self.max_attempts < 1:
            raise ConfigError("max_attempts", self.max_attempts, "must be at least 1")
        if not 0.0 <= self.jitter <= 1.0:
            raise ConfigError("jitter", self.jitter, "must be between 0 and 1")
        if not 0.0 < self.first_s <= self.max_s < float("inf"):
            raise ConfigError("first_s, max_s", (self.first_s, self.max_s), "must be above 0, first_s the smaller")


class RetryAt(NamedTuple):
    """Send the call again at the moment `at`, with the same key and trace_id."""

    at: float


class GiveUp(enum.StrEnum):
    """Why a refused call is not sent again."""

    NOT_RETRIED = "the answer is final"
    NO_ATTEMPTS = "all attempts are used up"
    NO_TIME = "the next attempt could not end before the deadline"


class Recovery(enum.StrEnum):
    """What a client does with a call whose connection was lost, once it has reconnected and asked to attach."""

    FOLLOW = "follow"  # wait for the answer, or take it
    SEND_AGAIN = "send_again"  # the call never arrived
    UNKNOWN = "unknown"  # it may have run: report that, and let the person decide


class RetryPolicy:
    """Decides whether, and when, a client tries again. It holds no state and no generator."""

    def __init__(self, config: RetryConfig | None = None) -> None:
        """Take the numbers; the defaults are those of the shipped client."""
        self.config = config if config is not None else RetryConfig()

    def after_refusal(
        self, code: str, retry_after_s: float | None, *, attempt: int, now: float, deadline_at: float, draw: float
    ) -> RetryAt | GiveUp:
        """Decide after the answer to the attempt number `attempt`.

        Args:
            code: Code of the error that was answered.
            retry_after_s: The daemon's advice; one that makes no sense is replaced by the backoff.
            attempt: Attempts made so far; 1 after the first.
            now: On the caller's clock.
            deadline_at: Moment at which the client stops waiting for the call as a whole.
            draw: A number from [0, 1).
        """
        if code not in RETRIED_CODES:
            return GiveUp.NOT_RETRIED
        config = self.config
        if attempt >= config.max_attempts:
            return GiveUp.NO_ATTEMPTS
        backoff_s = self._ceiling_s(attempt)
        if retry_after_s is not None and 0.0 < retry_after_s <= _NONSENSE_S:
            backoff_s = max(retry_after_s, backoff_s)
        at = now + backoff_s * (1.0 + config.jitter * draw)
        if at + config.shortest_call_s > deadline_at:
            return GiveUp.NO_TIME
        return RetryAt(at)

    def reconnect_s(self, attempt: int, *, draw: float) -> float:
        """Return how long to wait before the reconnect number `attempt`, in seconds.

        Args:
            attempt: 1 is the first.
            draw: A number from [0, 1): "full jitter" picks a point below the ceiling.

        Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
        """
        return draw * self._ceiling_s(attempt)

    def recover(self, attach_status: int, *, same_boot: bool) -> Recovery:
        """Decide about a call whose connection was lost before its answer came.

        Args:
            attach_status: 200 if the attach was taken, else the status of its error: 404, 410.
            same_boot: Whether the daemon is the one that the call was sent to: its boot_id is the same.
        """
        if attach_status == 200:  # noqa: PLR2004 - HTTP's "OK"
            return Recovery.FOLLOW
        if attach_status == 404 and same_boot:  # noqa: PLR2004 - this daemon never saw the key
            return Recovery.SEND_AGAIN
        return Recovery.UNKNOWN

    def _ceiling_s(self, attempt: int) -> float:
        """Return the ceiling of a backoff: it doubles with each attempt."""
        doublings = min(attempt - 1, 30)  # beyond, the product would only overflow
        return min(self.config.first_s * 2.0**doublings, self.config.max_s)
