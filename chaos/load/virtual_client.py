"""The clients of a load: one connection each, shared by the calls of its phase that fall to it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from itertools import count
from random import Random
from typing import Any, Final

from chaos.load.tap import FrameTap
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.retry import RetryConfig, RetryPolicy
from scenarios.events import AnyEvent
from scenarios.model import Retry, Scenario
from scenarios.model_load import Phase

HANDSHAKES_AT_ONCE: Final = 32
"""Enough to keep both sides busy, too few to overflow the daemon's backlog."""

CLOSES_AT_ONCE: Final = 256
"""Each may take a second, behind a link that swallows everything."""


class VirtualClients:
    """Makes the clients of a scenario's phases, and closes them."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        url: str,
        clock: Clock,
        start_at: float,
        token: str | None,
        note: Callable[[AnyEvent], None],
    ) -> None:
        """Prepare the shared clients of all phases; nothing is connected yet.

        Raises:
            ConfigError: `url` is none.
        """
        self._url, self._clock, self._start_at, self._token, self._note = url, clock, start_at, token, note
        self._seed = scenario.seed
        self._retry = RetryPolicy(_retry_config(scenario.retry))
        self._connections = count(1)
        self._own: set[DaemonClient] = set()
        self._shared: dict[int, DaemonClient] = {}
        number = 0
        for _, phase in scenario.phases():
            for client in range(number, number + phase.clients):
                if not needs_own_connection(phase):
                    self._shared[client] = self._make(label_of(phase, client), f"{self._seed}/client-{client}")
            number += phase.clients

    def shared(self, client: int) -> DaemonClient:
        """Return the client of this number."""
        return self._shared[client]

    def own(self, phase: Phase, client: int, call: int) -> DaemonClient:
        """Return a new client for one call alone; `done_with` is to be called when it is over."""
        made = self._make(label_of(phase, client), f"{self._seed}/client-{client}/call-{call}")
        self._own.add(made)
        return made

    async def done_with(self, client: DaemonClient) -> None:
        """Close a client that `own` made."""
        await client.close()
        self._own.discard(client)

    async def connect(self) -> None:
        """Open the connections of all shared clients, some at a time.

        Raises:
            HarnessError: One cannot connect.
        """
        await _some_at_a_time(self._shared.values(), DaemonClient.connect, at_once=HANDSHAKES_AT_ONCE)

    async def close(self) -> None:
        """Close all clients."""
        everybody = [*self._shared.values(), *self._own]
        await _some_at_a_time(everybody, DaemonClient.close, at_once=CLOSES_AT_ONCE)

    def _make(self, label: str, seed: str) -> DaemonClient:
        tap = FrameTap(label, self._connections, clock=self._clock, start_at=self._start_at, note=self._note)
        return DaemonClient(
            self._url,
            clock=self._clock,
            token=self._token,
            label=label,
            retry=self._retry,
            rng=Random(seed),
            tap=tap,
        )


def label_of(phase: Phase, client: int) -> str:
    """Return what a client calls itself; its number counts over all phases."""
    return f"{phase.phase}-{client}"


def needs_own_connection(phase: Phase) -> bool:
    """Return whether what the calls of a phase do to their connection would harm other calls on it."""
    behaviour = phase.behaviour
    return behaviour is not None and (behaviour.early_close is not None or behaviour.stop_reading is not None)


def _retry_config(retry: Retry) -> RetryConfig:
    return RetryConfig(max_attempts=retry.max_attempts, jitter=retry.jitter, first_s=retry.first, max_s=retry.max)


async def _some_at_a_time(
    clients: Iterable[DaemonClient], act: Callable[[DaemonClient], Coroutine[Any, Any, None]], *, at_once: int
) -> None:
    """Do something with each client; the first error ends it, and is raised."""
    waiting = iter(list(clients))

    async def work() -> None:
        for client in waiting:
            await act(client)

    workers = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
    for worker in workers:
        if not worker.cancelled():
            worker.result()
