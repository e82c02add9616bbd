"""Round trips on the load's own connection: how a drill sees that a fault bit, and that it healed."""

import asyncio
from typing import Final

from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError

ENOUGH: Final = 5
"""Round trips that are always made."""

AT_MOST: Final = 50
"""Round trips until one must have been fast on a link that is not slow, on a busy machine too."""


ANSWER_WITHIN_S: Final = 10.0
"""Wall seconds that an answer may take, whatever the time scale: no machine gets faster with it."""


class NoAnswerError(HarnessError):
    """The daemon did not answer a `health` request."""

    def __str__(self) -> str:
        """Say so, with the limit."""
        return f"the daemon did not answer within {ANSWER_WITHIN_S:g} s"


async def round_trips(client: DaemonClient, clock: Clock, *, faster_than_s: float | None = None) -> tuple[float, ...]:
    """Return the times of a few `health` round trips, in unscaled seconds.

    Args:
        client: The connection to measure on.
        clock: Source of time.
        faster_than_s: Go on, within a bound, until one was faster than this: a busy machine slows some round
            trips down, and only a slow link slows all of them.

    Raises:
        NoAnswerError: The daemon did not answer.
        HarnessError: The connection was lost.
    """
    times: list[float] = []
    while len(times) < ENOUGH or (faster_than_s is not None and min(times) >= faster_than_s and len(times) < AT_MOST):
        sent_at = clock.now()
        await _health(client)
        times.append(clock.now() - sent_at)
    return tuple(times)


async def _health(client: DaemonClient) -> None:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await client.health()
    except TimeoutError:
        raise NoAnswerError from None
