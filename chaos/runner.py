"""Runs a scenario's load and faults on a system that stands, and sees to it that all of it ends."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chaos.faults import Injector, Targets
from chaos.load import LagProbe, LoadDriver, Witness
from chaos.load.fresh_workload import FreshWorkload
from chaos.recorder import Recorder
from chaos.topology import SteadyStateError, System
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import HarnessError
from scenarios.history import Call
from scenarios.model import Scenario
from scenarios.run import FaultWindow
from scenarios.workload import Workload

_LOOK_EVERY_S: Final = 0.1
"""Wall seconds between looks whether the processes still run."""

_LEAD_S: Final = 0.3
"""Wall seconds from the connections to the first call, so that the first call is not late by the start's own work."""

_QUIESCENT_WITHIN_S: Final = 1.0
"""Wall seconds after the last answer within which every pool must be empty."""

_STEADY_WITHIN_S: Final = 10.0
"""Wall seconds within which the daemon must answer before anything is broken."""


class Watcher(Protocol):
    """Who is told what the drill does."""

    def say(self, text: str) -> None:
        """Something began that takes a while."""

    def watch(self, load: "Load") -> None:
        """The load runs from now on; look at it for the live line."""

    def call_ended(self, call: Call) -> None:
        """A call has ended."""


@dataclass(slots=True, kw_only=True)
class Load:
    """The load while it runs, and what is left of it.

    Attributes:
        scenario: What is run.
        recorder: Its events.
        driver: Makes the calls.
        injector: Puts the faults on.
    """

    scenario: Scenario
    recorder: Recorder
    driver: LoadDriver | None = None
    injector: Injector | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls that have ended."""
        return [] if self.driver is None else self.driver.calls

    @property
    def faults(self) -> tuple[FaultWindow, ...]:
        """The faults so far."""
        return () if self.injector is None else tuple(self.injector.windows)

    def phases(self, now: float) -> list[str]:
        """Return the phases whose calls arrive at `now`."""
        return [phase.phase for start, phase in self.scenario.phases() if start <= now < start + phase.duration]


class Runner:
    """Runs one load; one instance, one run."""

    def __init__(self, system: System, load: Load, watcher: Watcher, *, clock: Clock, seed: int) -> None:
        self._system, self._load, self._watcher = system, load, watcher
        self._clock, self._seed = clock, seed

    async def run(self, *, client_timeout_s: float, token: str | None) -> None:
        """Check the steady state, run load and faults to their end, wait for quiescence.

        Raises:
            SteadyStateError: The daemon does not answer before anything is broken.
            HarnessError: A process has ended, or a fault could not be put on or not be removed.
        """
        scenario, recorder = self._load.scenario, self._load.recorder
        clients = sum(phase.clients for phase in scenario.load)
        lead_s = _LEAD_S + 0.004 * clients  # a handshake takes about 2 ms of both sides
        recorder.begin(self._clock.now() + lead_s / self._clock.scale)
        witness = Witness(
            self._system.direct_url, clock=self._clock, start_at=recorder.start_at, token=token, note=recorder.note
        )
        self._load.injector = injector = self._injector()
        workload = Workload if self._system.daemon is not None else FreshWorkload  # a foreign one outlives the run
        self._load.driver = driver = LoadDriver(
            scenario,
            workload(scenario, self._seed),
            url=self._system.url,
            clock=self._clock,
            start_at=recorder.start_at,
            token=token,
            note=recorder.note,
            active_faults=injector.active,
            client_timeout_s=client_timeout_s,
            on_call=self._watcher.call_ended,
        )
        self._watcher.say("checking the steady state")
        try:
            await self._steady(driver)
            self._watcher.watch(self._load)
            probe = LagProbe(clock=self._clock, start_at=recorder.start_at, note=recorder.note)
            background = [witness.run(), probe.run(), self._check()]
            await _until_done([driver.run(), injector.run()], background)
            self._watcher.say("waiting for quiescence")
            await _until_done([witness.quiescent(_QUIESCENT_WITHIN_S)], [self._check()])
        finally:
            await asyncio.shield(driver.close())

    async def _steady(self, driver: LoadDriver) -> None:
        try:
            async with asyncio.timeout(_STEADY_WITHIN_S):
                await driver.connect()
        except TimeoutError:
            raise SteadyStateError(f"not every client was connected within {_STEADY_WITHIN_S:g} s") from None
        except HarnessError as error:
            raise SteadyStateError(str(error)) from error

    def _injector(self) -> Injector:
        system = self._system
        targets = Targets(
            proxies=system.proxies,
            daemon=system.daemon,
            provider_admin=system.provider_admin,
            proxied_ws_url=system.url,
        )
        recorder = self._load.recorder
        return Injector(
            targets,
            self._load.scenario.faults,
            clock=self._clock,
            start_at=recorder.start_at,
            note=recorder.note,
            say=self._watcher.say,
        )

    async def _check(self) -> None:
        """Look whether the processes run, until cancelled."""
        while True:
            self._system.check_running()
            await asyncio.sleep(_LOOK_EVERY_S)


async def _until_done(work: Iterable[Coroutine[Any, Any, Any]], background: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Run until all of `work` is done; the first error of any ends all of it, and is raised."""
    pending = {asyncio.ensure_future(each) for each in work}
    behind = {asyncio.ensure_future(each) for each in background}
    everything = pending | behind
    try:
        while pending:
            done, _ = await asyncio.wait(pending | behind, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            pending, behind = pending - done, behind - done
    finally:
        for task in everything:
            task.cancel()
        await asyncio.wait(everything)
