"""Drives a scenario's load: each call at its moment, whatever became of the others.

Open phases never wait for answers: one task sleeps from moment to moment, and each call gets a task of its own. Users
of closed phases have a task each, which thinks, makes a call, and thinks again. Latency counts from the moment
that was intended; how late the driver itself began is kept apart: one that cannot keep its schedule says little.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Final, cast

from chaos.load.behaviour import Attempted, copies_of, perform
from chaos.load.fault_times import FaultTimes
from chaos.load.virtual_client import VirtualClients, label_of
from chaos.observe import Intent, ended, unfinished
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent
from scenarios.history import Call
from scenarios.model import Scenario
from scenarios.workload import CHAT_TOOLS, LOCAL_TOOLS, PlannedCall, Workload

_AT_ONCE: Final = 16
"""Calls begun in one turn of the event loop: a burst of thousands must not keep the first of them from being sent."""

_LATE_QUANTILE: Final = 0.99
_NO_EXPERT: Final = CHAT_TOOLS | LOCAL_TOOLS


class LoadDriver:
    """Makes the calls of a scenario; one instance, one run.

    Attributes:
        calls: Rows of the calls that have ended, and at the end of those that did not.
    """

    def __init__(  # noqa: PLR0913 - what a run is, each by its name
        self,
        scenario: Scenario,
        workload: Workload,
        *,
        url: str,
        clock: Clock,
        start_at: float,
        token: str | None = None,
        note: Callable[[AnyEvent], None],
        active_faults: Callable[[], tuple[str, ...]],
        client_timeout_s: float,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        """Prepare the load; nothing is connected yet.

        Args:
            scenario: Whose phases, rules of retry and seed of jitter.
            workload: Says what is called, and when.
            url: The daemon's.
            clock: Source of time.
            start_at: Start of the load, a reading of the clock.
            token: The daemon's token, if it has one.
            note: Takes the events of the clients' frames and connections.
            active_faults: Returns the names of the faults that are active now.
            client_timeout_s: Seconds that clients wait for a call where their phase does not say.
            on_call: Is told of each call that has ended.

        Raises:
            ConfigError: `url` is none.
        """
        self.calls: list[Call] = []
        self._scenario, self._workload = scenario, workload
        self._clock, self._start_at, self._timeout_s = clock, start_at, client_timeout_s
        self._on_call = on_call
        self._clients = VirtualClients(scenario, url=url, clock=clock, start_at=start_at, token=token, note=note)
        self._faults = FaultTimes(active_faults, clock)
        self._running: dict[asyncio.Task[None], Attempted] = {}  # a user's task is here while the user calls
        self._users: set[asyncio.Task[None]] = set()
        self._lags_s: list[float] = []
        self._last_arrival_at = start_at
        self._over = False
        self._failed: BaseException | None = None

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return 0 if self._over else len(self._running)

    async def connect(self) -> None:
        """Open the connections of all clients that share one among their calls, some at a time.

        Raises:
            HarnessError: One cannot connect.
        """
        await self._clients.connect()

    async def run(self) -> None:
        """Make all calls; end when each has ended, or so long after the last one as the scenario says.

        What has no end by then, or when this is cancelled, gets a row without one.
        """
        watch = asyncio.create_task(self._faults.watch())
        self._users = users = {self._owned(self._use(user)) for _, user in self._workload.closed_users()}
        opened = asyncio.create_task(self._open())
        everybody = {opened, *users}
        try:
            await self._done(users, until=self._start_at + self._scenario.load_s)  # after that, no user calls again
            await self._done({opened})
            await self._done({*users, *self._running}, until=self._last_arrival_at + self._scenario.quiesce)
        finally:
            idle = (everybody | {watch}) - self._running.keys()
            for task in idle:
                task.cancel()
            await asyncio.wait(idle)
            self._give_up_the_rest()

    def lag_p99_s(self) -> float | None:
        """Return how late the driver began its open calls, at the 99th percentile; None without such calls.

        It counts until the client has the call: that a client then waits for a lost connection is the run's matter.
        """
        if not self._lags_s:
            return None
        lags_s = sorted(self._lags_s)
        return lags_s[math.ceil(_LATE_QUANTILE * len(lags_s)) - 1]

    async def close(self) -> None:
        """Close all connections. Calls that still run are not cancelled in the daemon, which would look like a heal."""
        self._give_up_the_rest()
        try:
            await self._clients.close()
        finally:
            left = [*self._running.keys() | self._users]
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    async def _done(self, tasks: set[asyncio.Task[None]], *, until: float = math.inf) -> None:
        """Wait until all tasks are done, or the moment has come; an error of any call or task ends it."""
        wall_s = None if until == math.inf else self._clock.wall_s(max(self._left_s(until), 0.0))
        done: set[asyncio.Task[None]] = set()
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=wall_s, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if self._failed is not None:
            raise self._failed

    # --- arrivals ----------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Start the calls of all open phases at their moments."""
        begun = 0
        for planned in self._workload.open_calls():
            wait_s = self._left_s(self._start_at + planned.at)
            if wait_s > 0.0:
                await self._clock.sleep(wait_s)
                begun = 0
            elif begun >= _AT_ONCE:
                await asyncio.sleep(0)
                begun = 0
            self._begin(planned)
            begun += 1

    async def _use(self, user: int) -> None:
        """Be a user: think, call, wait for the end of the call and of its copies."""
        this_task = cast("asyncio.Task[None]", asyncio.current_task())
        planned = self._workload.next_call(user, 0.0)
        while planned is not None and not self._over:
            wait_s = self._left_s(self._start_at + planned.at)
            if wait_s > 0.0:
                await self._clock.sleep(wait_s)
            self._arrives(planned)
            copies = [self._start(copy) for copy in copies_of(planned)]
            self._running[this_task] = call = self._attempted(planned)
            await self._call(call)
            del self._running[this_task]  # if the call failed, the end of the task does so
            for copy in copies:
                await _end_of(copy)
            planned = self._workload.next_call(user, self._clock.now() - self._start_at)

    def _begin(self, planned: PlannedCall) -> None:
        """Start a call, and the further copies that its phase sends of it."""
        self._arrives(planned)
        for one in (planned, *copies_of(planned)):
            self._start(one)

    def _arrives(self, planned: PlannedCall) -> None:
        """Take note that a call begins; where one has failed, begin no other."""
        if self._failed is not None:
            raise self._failed
        self._last_arrival_at = max(self._last_arrival_at, self._start_at + planned.at)

    def _start(self, planned: PlannedCall) -> asyncio.Task[None]:
        call = self._attempted(planned)
        task = self._owned(self._call(call))
        self._running[task] = call
        return task

    def _attempted(self, planned: PlannedCall) -> Attempted:
        return Attempted(planned, planned.phase.client_timeout or self._timeout_s, self._start_at + planned.at)

    def _owned(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` in a task whose end is noticed."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _call(self, call: Attempted) -> None:
        """Make one call and write its row."""
        call.started_at = self._clock.now()
        if call.planned.user is None:
            self._lags_s.append(max(call.started_at - self._start_at - call.planned.at, 0.0))
        result = await perform(call, self._clients, self._clock)
        if self._over:
            return
        row = ended(self._intent(call), result, start_at=self._start_at, faults=self._faults.since(call.started_at))
        self.calls.append(row)
        if self._on_call is not None:
            self._on_call(row)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a task; what it raised is a bug, and ends the run."""
        self._running.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self._failed = self._failed or task.exception()

    def _give_up_the_rest(self) -> None:
        """Write the rows of the calls that have no end; what comes of them from now on is nobody's."""
        if self._over:
            return
        self._over = True
        self.calls += [
            unfinished(
                self._intent(call), call.result, start_at=self._start_at, faults=self._faults.since(call.started_at)
            )
            for call in self._running.values()
        ]

    def _intent(self, call: Attempted) -> Intent:
        planned = call.planned
        return Intent(
            scenario=self._scenario.name,
            phase=planned.phase.phase,
            session=label_of(planned.phase, planned.client),
            tool=planned.tool,
            expert=planned.phase.expert and planned.tool not in _NO_EXPERT,
            trace_id=planned.trace_id,
            at=self._start_at + planned.at,
            keyed=planned.call_key is not None,
        )

    def _left_s(self, at: float) -> float:
        return at - self._clock.now()


def _end_of(task: asyncio.Task[None]) -> asyncio.Future[None]:
    """Return what is done when the task is, however it ends; whoever waits for it and is cancelled cancels no call."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task.add_done_callback(lambda _: None if end.done() else end.set_result(None))
    return end
