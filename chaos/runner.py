"""Runs the smoke drill on a system that stands: makes the calls, puts the fault on, and records both."""

import contextlib
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from chaos import smoke
from chaos.canary import round_trips
from chaos.observe import Intent, Observed, observed, unfinished
from chaos.topology import CLIENT_LINK, SteadyStateError, Topology
from chaos.toxiproxy import STREAMS
from reference_daemon import wire
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.config import Timeouts
from reference_daemon.policy.errors import HarnessError
from scenarios.run import BiteProof, FaultWindow

SESSION: Final = "client-1"


class Watcher(Protocol):
    """Who is told what the drill does."""

    def say(self, text: str) -> None:
        """Something began that takes a while."""

    def call_started(self, intent: Intent, number: int) -> None:
        """The call with that number, from 1, is being made."""

    def heartbeat(self, progress: wire.Progress) -> None:
        """The daemon reports on the call that is being made."""

    def call_ended(self, seen: Observed) -> None:
        """The call came back."""


@dataclass(slots=True)
class Record:
    """What happened so far; complete at every moment, so that an interrupted drill still has its history.

    Attributes:
        start_at: Start of the load, a reading of the clock; moments of the history count from it.
        calls: The calls that ended, and the one that was cut off.
        faults: The faults so far.
    """

    start_at: float
    calls: list[Observed] = field(default_factory=list)
    faults: list[FaultWindow] = field(default_factory=list)


class SmokeRunner:
    """Makes the calls of the smoke drill; one instance, one run."""

    def __init__(self, topology: Topology, record: Record, watcher: Watcher, *, clock: Clock, seed: int) -> None:
        self._topology = topology
        self._record = record
        self._watcher = watcher
        self._clock = clock
        self._rng = random.Random(seed)

    async def run(self) -> None:
        """Run all phases, one after another.

        Raises:
            SteadyStateError: The daemon does not answer through its proxy.
            ChildFailedError: A process has ended.
            ToxiproxyFailedError: The fault could not be put on, or not be removed.
        """
        self._watcher.say("checking the steady state")
        async with self._connection() as client:
            self._record.start_at = self._clock.now()
            for phase in smoke.PHASES:
                if phase.slow:
                    async with self._slow_link(client):
                        await self._phase(client, phase, (smoke.FAULT,))
                else:
                    await self._phase(client, phase, ())

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[DaemonClient]:
        """Connect, and hand the connection out only if the daemon answers on it."""
        client = DaemonClient(self._topology.url, clock=self._clock, label=SESSION, rng=self._rng)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(client)
                await round_trips(client, self._clock)
            except HarnessError as error:
                raise SteadyStateError(str(error)) from error
            yield client

    async def _phase(self, client: DaemonClient, phase: smoke.Phase, faults: tuple[str, ...]) -> None:
        for tool in smoke.TOOLS:
            intent = Intent(
                scenario=smoke.SCENARIO,
                phase=phase.name,
                session=SESSION,
                tool=tool,
                at=self._clock.now(),
                faults=faults,
            )
            self._watcher.call_started(intent, len(self._record.calls) + 1)
            await self._call(client, intent)
            self._watcher.call_ended(self._record.calls[-1])
            self._topology.daemon.check_running()

    async def _call(self, client: DaemonClient, intent: Intent) -> None:
        """Make one call and record it: as cut off, if the drill is stopped or a helper has died meanwhile."""
        trace_id, start_at = secrets.token_hex(16), self._record.start_at
        seen: Observed | None = None
        heartbeats = 0

        def beat(progress: wire.Progress) -> None:
            nonlocal heartbeats
            heartbeats += 1
            self._watcher.heartbeat(progress)

        try:
            result = await client.call(
                intent.tool,
                smoke.arguments(intent.tool),
                timeout_s=Timeouts().call_s,
                trace_id=trace_id,
                on_progress=beat,
            )
            self._topology.check_helpers()
            seen = observed(intent, result, start_at=start_at)
        finally:
            if seen is None:
                seen = unfinished(intent, trace_id, start_at=start_at, heartbeats=heartbeats)
            self._record.calls.append(seen)

    @contextlib.asynccontextmanager
    async def _slow_link(self, client: DaemonClient) -> AsyncIterator[None]:
        """Make the client's link slow, prove that it is, and prove afterwards that it no longer is."""
        least_s = 2 * smoke.LINK_LATENCY.least_s
        before = await round_trips(client, self._clock, faster_than_s=least_s)
        self._watcher.say(f"fault on: {smoke.FAULT_TITLE}")
        self._record.faults.append(_window(self._now()))
        async with self._toxics():
            during = await round_trips(client, self._clock)
            yield
        self._watcher.say("fault off")
        after = await round_trips(client, self._clock, faster_than_s=least_s)
        proof = BiteProof(before_s=before, during_s=during, after_s=after, least_s=least_s)
        self._record.faults[-1] = replace(self._record.faults[-1], proof=proof)

    @contextlib.asynccontextmanager
    async def _toxics(self) -> AsyncIterator[None]:
        link = self._topology.client_link
        toxics: list[str] = []
        try:
            for stream in STREAMS:
                toxic = await link.add_latency(stream, smoke.LINK_LATENCY, clock=self._clock)
                toxics.append(toxic)
            yield
        finally:
            for toxic in toxics:
                await link.remove(toxic)
            self._record.faults[-1] = replace(self._record.faults[-1], ended_at=self._now())

    def _now(self) -> float:
        """Return the seconds since the start of the load."""
        return self._clock.now() - self._record.start_at


def _window(started_at: float) -> FaultWindow:
    return FaultWindow(
        name=smoke.FAULT,
        title=smoke.FAULT_TITLE,
        link=CLIENT_LINK,
        started_at=started_at,
        ended_at=None,
        proof=None,
    )
