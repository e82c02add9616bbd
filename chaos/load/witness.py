"""A client that speaks to the daemon directly: what it sees has no proxy and no toxic in it."""

import contextlib
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from chaos.load.tap import FrameTap
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from reference_daemon.policy.retry import RetryConfig, RetryPolicy
from scenarios.events import AnyEvent, HealthSeen

LABEL: Final = "witness"
EVERY_WALL_S: Final = 0.5
"""Wall seconds between two looks."""

CALL_TIMEOUT_WALL_S: Final = 5.0
"""Wall seconds that it waits for the answer to a call that takes no time."""

_ASK_EVERY_WALL_S: Final = 0.02
"""Wall seconds between two questions whether all is quiet: a tenth of what a person would notice."""


class Witness:
    """Asks for health, and makes a call that needs nothing but a slot, again and again."""

    def __init__(
        self, url: str, *, clock: Clock, start_at: float, token: str | None, note: Callable[[AnyEvent], None]
    ) -> None:
        """Speak to the daemon at `url`; moments of events count from `start_at`, a reading of the clock."""
        self._url, self._clock, self._start_at, self._token, self._note = url, clock, start_at, token, note
        self._connections = count(-1, -1)  # below those of the load, which count from 1

    async def run(self) -> None:
        """Look until cancelled. A daemon that is away is looked for again each time."""
        client = self._client()
        try:
            while True:
                with contextlib.suppress(HarnessError):  # no daemon, or one that does not answer: that is seen, too
                    await client.connect()
                    self._note(await self._ask(client))
                    await client.call("version", {}, timeout_s=CALL_TIMEOUT_WALL_S / self._clock.scale)
                await self._clock.sleep(EVERY_WALL_S / self._clock.scale)
        finally:
            await client.close()

    async def quiescent(self, within_wall_s: float) -> bool:
        """Return whether nothing is in flight any more, at the latest after so many wall seconds; note what was seen.

        A daemon that does not answer in that time is not quiet as far as anybody knows.
        """
        give_up_at = self._clock.now() + within_wall_s / self._clock.scale
        client = self._client()
        seen: HealthSeen | None = None
        try:
            async with self._clock.timeout_at(give_up_at):
                while seen is None or not seen.quiescent:
                    seen = await self._look_for_quiet(client) or seen
        except TimeoutError:
            pass
        finally:
            await client.close()
        if seen is not None:
            self._note(seen)
        return seen is not None and seen.quiescent

    async def _look_for_quiet(self, client: DaemonClient) -> HealthSeen | None:
        """Ask once; wait a little if something is in flight, or nobody answers."""
        seen = None
        with contextlib.suppress(HarnessError):
            await client.connect()
            seen = await self._ask(client, load_is_over=True)
        if seen is None or not seen.quiescent:
            await self._clock.sleep(_ASK_EVERY_WALL_S / self._clock.scale)
        return seen

    async def _ask(self, client: DaemonClient, *, load_is_over: bool = False) -> HealthSeen:
        asked_at = self._clock.now() - self._start_at
        health = await client.health()
        tools, providers = _in_flight(health.get("tools")), _in_flight(health.get("providers"))
        total = int(health.get("global_inflight", 0))
        return HealthSeen(
            at=self._clock.now() - self._start_at,
            asked_at=asked_at,
            total=total,
            total_cap=health.get("global_capacity"),
            tools=tools,
            providers=providers,
            sessions=int(health.get("sessions", 0)),
            draining=bool(health.get("draining")),
            tasks=health.get("tasks"),
            quiescent=load_is_over and not any((total, *tools.values(), *providers.values())),
        )

    def _client(self) -> DaemonClient:
        tap = FrameTap(
            LABEL, self._connections, clock=self._clock, start_at=self._start_at, note=self._note, witness=True
        )
        once = RetryPolicy(RetryConfig(max_attempts=1))
        return DaemonClient(self._url, clock=self._clock, token=self._token, label=LABEL, retry=once, tap=tap)


def _in_flight(pools: Any) -> dict[str, int]:
    """Return what is in flight by pool; a daemon of another make may not say."""
    if not isinstance(pools, dict):
        return {}
    return {name: int(pool.get("inflight", 0)) for name, pool in pools.items() if isinstance(pool, dict)}
