"""One run of a plan: the real daemon, client and shim on the virtual loop, and the history of what happened."""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from random import Random
from typing import Any, Final

from chaos.settings_of import caps_of, timeouts_of
from reference_daemon.settings import Settings
from scenarios.events import AnyEvent, FaultMove, Probe, ProcessMove
from scenarios.history import Body
from scenarios.record import Record, encode_events
from scenarios.run import Run
from tests.explore.callers import ARGUMENT, WITNESS, Callers
from tests.explore.clocks import GivenClock, TrueClock
from tests.explore.house import TOKEN, House, settings_of
from tests.explore.log import TOLD, errors_logged
from tests.explore.network import Link, Network
from tests.explore.plan import (
    Ask,
    Attach,
    Call,
    Cancel,
    Cut,
    CutAtPiece,
    Plan,
    Restart,
    SlowReader,
    StandStill,
    Step,
    Vanish,
    WallStep,
)
from tests.explore.provider import SECRET, Behaviour, Providers
from tests.explore.same_chance import drawn_from
from tests.explore.virtual_loop import StuckError, VirtualLoop, context_of

LONGEST_S: Final = 900.0
"""Virtual seconds after which a run that has not ended is called endless: far beyond any timeout of a plan."""

HEALTH_EVERY_S: Final = 3.0
QUIET_S: Final = 2.0
"""Seconds of quiet before the last look: longer than any rule waits."""


@dataclass(slots=True)
class Happened:
    """What came of a run.

    Attributes:
        record: The history.
        complaints: What the loop, the log or the run itself complained about.
        digest: Hash of the history: equal for runs that went the same way.
        turns: Turns of the loop.
    """

    record: Record
    complaints: list[str] = field(default_factory=list)
    digest: str = ""
    turns: int = 0


class World:
    """A run while it lasts."""

    def __init__(self, plan: Plan, *, wall_is_set: bool = True) -> None:
        """Build everything; `wall_is_set` says whether the plan's steps of the wall clock are made, or left out."""
        self._plan, self._wall_is_set = plan, wall_is_set
        self.network = Network(Random(f"network/{plan.seed}"))
        self.loop = VirtualLoop(Random(f"order/{plan.seed}"), self.network, wild=plan.setup.wild)
        self._events: list[AnyEvent] = []
        self._clock, self._true = GivenClock(self.loop), TrueClock(self.loop)
        self._settings: Settings = settings_of(plan.setup)
        self.providers = Providers(self._true, self._note)
        self._complaints: list[str] = []
        self._over = False
        self._jobs: set[asyncio.Task[None]] = set()
        self.house: House
        self.callers: Callers

    def _note(self, event: AnyEvent) -> None:
        if not self._over:
            self._events.append(event)

    # --- from start to end -------------------------------------------------------------------------------------------

    def happen(self) -> Happened:
        """Run the plan, and clean up."""
        with errors_logged((TOKEN, SECRET, ARGUMENT)) as errors, drawn_from(Random(f"ids/{self._plan.seed}")):
            try:
                self.loop.run_until_complete(self.loop.create_task(self._main()))
            except StuckError as stuck:
                self._complaints.append(f"stuck: {stuck}")
            self._over = True
            told = [line for line in errors if line.startswith(TOLD)]
            self._events.append(
                self._probe_of("INV-35", "what is logged", "no secret", told[0] if told else "none", not told)
            )
            self._complaints += [*(line for line in errors if line not in told), *self.loop.complaints]
            turns = self.loop.turns
            for log in self.house.logs:
                log.closed = True
            self._clean_up()
        record = self._record()
        digest = sha256(encode_events(replace(record.run, wall_s=0.0), record.events)).hexdigest()
        return Happened(record, self._complaints, digest, turns)

    def _clean_up(self) -> None:
        try:
            self.loop.end_everything()
        except (StuckError, RuntimeError) as left:
            self._complaints.append(f"left over: {left}")
            self.loop.close()

    async def _main(self) -> None:
        setup = self._plan.setup
        chance = Random(f"ids of tools/{self._plan.seed}")
        self.house = House(self.loop, self._settings, self._clock, self.providers, self._note, chance)
        self.callers = Callers(
            self._clock, self._true, self._settings, self._note, seed=self._plan.seed, instant=not setup.delay_s
        )
        for step in self._plan.steps:
            label = getattr(step, "client", WITNESS)
            own = Link() if label == WITNESS else Link(delay_s=setup.delay_s, slices=setup.slices)
            self.network.links.setdefault(label, own)
            if isinstance(step, Call):
                self.providers.behaviours[f"{step.n + 1:032x}"] = Behaviour(step.takes_s, step.ending)
        if setup.delay_s:  # rules know no tolerance for a network that takes time, but for a fault
            self._note(FaultMove(at=0.0, name="delays", on=True, link="client-daemon"))
        await self.house.start()
        try:
            async with asyncio.timeout(LONGEST_S):
                health = self.loop.create_task(self._look(), context=context_of(WITNESS))
                await self._make_steps()
                await self._until_quiet()
                health.cancel()
                await asyncio.wait([health])
                await self._end()
        except TimeoutError:
            self._complaints.append(f"no end within {LONGEST_S:g} s")

    async def _make_steps(self) -> None:
        """Begin each step at its moment, and wait for all of them."""
        for step in self._plan.steps:
            wait_s = step.at - self.loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._as(getattr(step, "client", ""), self._make(step))
        while self._jobs:
            await asyncio.wait(self._jobs)

    def _as(self, body: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let work be done as a client."""
        task = self.loop.create_task(work, context=context_of(body))
        self._jobs.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._complaints.append(f"a step failed: {task.exception()!r}")

    async def _make(self, step: Step) -> None:  # noqa: C901 - one line for each kind of step
        match step:
            case Call():
                await self.callers.call(step)
            case Attach():
                await self.callers.attach(step)
            case Cancel():
                await self.callers.cancel(step)
            case Ask():
                await self.callers.ask(step)
            case Vanish():
                self.callers.vanish(step.client)
            case Cut():
                await self._cut(step)
            case CutAtPiece():
                self.network.links[step.client].cuts[step.way] = step.after, step.part
            case StandStill():
                await self._for_a_while(step.client, step.for_s, reads=True)
            case SlowReader():
                await self._for_a_while(step.client, step.for_s, reads=False)
            case Restart():
                await self.house.restart(step.how, step.down_s)
                self.callers.token_is_old()
            case WallStep():
                self._clock.shift_s += step.by_s if self._wall_is_set else 0.0

    async def _cut(self, step: Cut) -> None:
        """Break connections; where only one end sees it, the link is blind until the other has noticed."""
        if step.seen_by == "both":
            self.network.cut_all(step.client)
            return
        name = f"cut {step.client} {step.at:g}"
        ends = self.network.of(step.client)
        self._note(FaultMove(at=self.loop.time(), name=name, on=True, link="client-daemon"))
        self.network.cut_half(step.client, step.seen_by)
        while not all(end.lost and end.inward.sender.lost for end in ends):  # noqa: ASYNC110 - the network tells nobody
            await asyncio.sleep(0.5)
        self._note(FaultMove(at=self.loop.time(), name=name, on=False, link="client-daemon"))

    async def _for_a_while(self, client: str, for_s: float, *, reads: bool) -> None:
        """Let a link stand still, or its client read nothing."""
        name = f"slow {client} {self.loop.time():g} {reads}"
        self._note(FaultMove(at=self.loop.time(), name=name, on=True, link="client-daemon"))
        if reads:
            self.network.stand_still(client, self.loop.time() + for_s)
            await asyncio.sleep(for_s)
        else:
            await self.callers.read_slowly(client, for_s)
        await asyncio.sleep(1.0 + self._plan.setup.delay_s)  # what had piled up comes in this time
        self._note(FaultMove(at=self.loop.time(), name=name, on=False, link="client-daemon"))

    async def _look(self) -> None:
        """Ask for health again and again, as the witness."""
        while True:
            if self.house.daemon is not None:
                await self.callers.health()
            await asyncio.sleep(HEALTH_EVERY_S)

    async def _until_quiet(self) -> None:
        """Wait until nothing runs any more, anywhere."""
        quiet_s = 0.0
        while quiet_s < QUIET_S:
            await asyncio.sleep(1.0)
            daemon = self.house.daemon
            busy = not self.providers.idle or (daemon is not None and daemon.calls.in_flight())
            quiet_s = 0.0 if busy else quiet_s + 1.0

    async def _end(self) -> None:
        """Take the last look, end the clients and the daemon, and see what is left of it."""
        if self.house.daemon is None:
            return
        await self._as(WITNESS, self.callers.health(quiescent=True))
        self._look_inside()
        await self.callers.close()
        await self.house.terminate()
        await asyncio.sleep(2.0)
        body = self.house.body
        left = [repr(task.get_coro()) for task in self.loop.tasks_of(body)]
        left += [repr(timer) for timer in self.loop.timers_of(body)]
        self._probe("INV-45", "tasks and timers after the daemon's end", "none", ", ".join(left) or "none", not left)

    def _look_inside(self) -> None:
        """Look at what the daemon holds when nothing is in flight: nothing but results."""
        assert self.house.daemon is not None
        calls = self.house.daemon.calls
        figures = calls.snapshot()
        pools = [figures.total, *(used for used, _ in [*figures.tools.values(), *figures.providers.values()])]
        seen = f"{len(calls.in_flight())} calls, slots {pools}, {dict(figures.sessions)}, {figures.live_keys} keys"
        empty = not calls.in_flight() and not any(pools) and not figures.sessions and not figures.live_keys
        self._probe("INV-07", "what the daemon holds at rest", "nothing", seen, empty)
        kept = len(calls._results)
        at_most = figures.results == kept <= self._plan.setup.results
        self._probe("INV-37", "results held at rest", f"{figures.results}, its bound kept", str(kept), at_most)

    def _probe(self, rule: str, case: str, expected: str, seen: str, held: bool) -> None:
        self._note(self._probe_of(rule, case, expected, seen, held))

    def _probe_of(self, rule: str, case: str, expected: str, seen: str, held: bool) -> Probe:
        return Probe(at=self.loop.time(), rule=rule, case=case, expected=expected, seen=seen, held=held)

    # --- the history -------------------------------------------------------------------------------------------------

    def _record(self) -> Record:
        events: list[AnyEvent] = list(self._events)
        for boot, log in enumerate(self.house.logs, start=1):
            events += log.events(boot)
        bounded = {"EXAI_WS_RESULT_MAX_ENTRIES": "2"} if self._plan.setup.results < 100 else {}
        run = Run(
            scenario="explore",
            title="a plan in virtual time",
            body=Body.SIMULATED,
            started_at="1970-01-01T00:00:00Z",
            wall_s=0.0,
            time_scale=1.0,
            seed=self._plan.seed,
            timeouts_s=timeouts_of(self._settings),
            caps=caps_of(self._settings),
            settings=bounded,
        )
        return Record(run, tuple(self.callers.rows), sorted(events, key=lambda event: event.at))


def happen(plan: Plan) -> Happened:
    """Run a plan. If somebody sets the wall clock in it, run it again without that: nothing may change."""
    happened = World(plan).happen()
    if any(isinstance(step, WallStep) for step in plan.steps):
        still = World(plan, wall_is_set=False).happen()
        probe = Probe(
            at=happened.record.events[-1].at if happened.record.events else 0.0,
            rule="INV-23",
            case="the same run with and without steps of the wall clock",
            expected=still.digest,
            seen=happened.digest,
            held=still.digest == happened.digest,
        )
        happened.record = replace(happened.record, events=[*happened.record.events, probe])
    return happened


def boots(events: Iterable[AnyEvent]) -> int:
    """Return how often the daemon was started."""
    return sum(1 for event in events if isinstance(event, ProcessMove) and event.what == "started")
