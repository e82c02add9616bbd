"""One model run: the drill's load, the daemon's decisions, modelled providers; the drill's history comes out."""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from random import Random
from typing import Final

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.events import CallKey, SessionId
from reference_daemon.policy.ladder import ANALYSIS_TOOLS
from reference_daemon.policy.retry import RetryConfig, RetryPolicy
from scenarios.model import Scenario
from scenarios.model_faults import Fault
from scenarios.model_load import Phase
from scenarios.workload import PlannedCall, Workload
from simulator.model.connections import Door, ExposedCall, ExposedClient
from simulator.model.daemon import DaemonModel
from simulator.model.faults import Faults, disturbs, exposes_clients, not_carried
from simulator.model.lines import ProviderLine
from simulator.model.logical_call import Client, Kind, LogicalCall, World
from simulator.model.provider import Asked, ProviderModel
from simulator.model.queueing import hold_littles_law
from simulator.model.routing import kind_of, provider_of
from simulator.model.run import ModelRun, Rows
from simulator.model.virtual_time import Timer, VirtualTime

UNCOALESCED: Final = "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS"
"""Setting that names the tools whose identical calls are never taken for one another."""

ProviderFactory = Callable[[str, Scenario, VirtualTime], ProviderModel]
"""Makes the model of a scenario's provider."""


def simulate(
    scenario: Scenario,
    config: PolicyConfig,
    *,
    seed: int,
    client_timeout_s: float = 180.0,
    uncoalesced: Collection[str] | None = None,
    heartbeat_s: float = 5.0,
    provider: ProviderFactory | None = None,
) -> ModelRun:
    """Run a scenario in the model. The same arguments give the same history, byte for byte.

    Args:
        scenario: What is run; its time scale has no meaning here.
        config: The daemon's settings.
        seed: Start of every source of chance; a drill with this seed makes the same calls.
        client_timeout_s: Seconds that a client waits for a call, where its phase says nothing else.
        uncoalesced: Tools for which the daemon derives no key; None: as the scenario's settings say, or as shipped.
        heartbeat_s: Seconds between two heartbeats of a call.
        provider: Makes the providers; None: the usual ones.

    Raises:
        LittlesLawError: The run contradicts itself, a bug of ours.
    """
    names = _uncoalesced(scenario) if uncoalesced is None else frozenset(uncoalesced)
    make = provider if provider is not None else _provider
    return _Engine(scenario, config, seed, client_timeout_s, names, make).run(heartbeat_s)


Choice = tuple[float, int, int, str, float]
"""Moment, number of the phase among the open ones, client, tool, draw."""

Arrival = tuple[int, Choice]
"""Number of a call, and its choice."""


def client_by_client(choices: Iterable[Choice], *, together: bool) -> Iterator[Arrival]:
    """Number the calls of the open phases, and return those of one moment in the order in which they reach a daemon.

    What a client sends at one moment is read at one moment, so a burst arrives connection by connection, not in turns.
    Which connection comes first is the operating system's choice in a drill; here it is the client's number.

    Args:
        choices: The calls in the order of their moments.
        together: Whether there may be several at one moment.
    """
    numbered = enumerate(choices)
    if together:
        bursts = groupby(numbered, key=lambda call: call[1][0])
        return (call for _, burst in bursts for call in sorted(burst, key=lambda call: (call[1][2], call[0])))
    return numbered


class _Engine:
    def __init__(
        self,
        scenario: Scenario,
        config: PolicyConfig,
        seed: int,
        client_timeout_s: float,
        uncoalesced: frozenset[str],
        provider: ProviderFactory,
    ) -> None:
        self._scenario, self._seed = scenario, seed
        self._client_timeout_s, self._uncoalesced = client_timeout_s, uncoalesced
        self._time = VirtualTime()
        self._providers = {name: provider(name, scenario, self._time) for name in scenario.providers}
        self._lines = _lines(scenario.faults, self._providers, seed)
        asked: dict[str, Asked] = {name: self._lines.get(name, model) for name, model in self._providers.items()}
        self._daemon = daemon = DaemonModel(config, asked, self._time)
        self._door = Door(self._time, Random(f"{seed}/clients-line"), daemon)
        start = partial(DaemonModel, config, asked, self._time, daemon.counts, daemon.census)
        self._faults = Faults(self._time, self._providers, self._lines, self._door, start)
        self._world = World(self._time, daemon, RetryPolicy(_retry_config(scenario)))
        self._workload = Workload(scenario, seed)
        self._phases = self._workload.open_phases()
        together = any(phase.arrivals.poisson is None for phase in self._phases)
        self._arrivals = client_by_client(self._workload.open_choices(), together=together)
        self._exposed = any(map(exposes_clients, scenario.faults))
        self._next: Arrival
        self._arrival = Timer(self._arrive)
        self._clients: dict[int, Client] = {}
        self._kinds: dict[tuple[int | str, str], Kind] = {}

    def run(self, heartbeat_s: float) -> ModelRun:
        """Run to the end."""
        self._faults.place(self._scenario.faults)
        self._wait_for_next()
        for _, user in self._workload.closed_users():
            self._next_closed(user, 0.0)
        with _without_collections():
            self._time.run()
        ended = self._world.ended
        rows = Rows(self._scenario.name, self._planned, self._faults.active, heartbeat_s)
        censuses = {"daemon": self._daemon.census, "clients": self._world.census}
        censuses |= {name: model.census for name, model in self._providers.items()}
        hold_littles_law(censuses, self._time.now)
        return ModelRun(
            calls=lambda: rows.of(ended),
            counts=self._daemon.counts,
            not_carried=tuple(not_carried(self._scenario)),
            ended_at=self._time.now,
            censuses=censuses,
            ended=ended,
            windows=self._faults.windows,
        )

    def _planned(self) -> list[PlannedCall]:
        return list(Workload(self._scenario, self._seed).open_calls())

    # --- load --------------------------------------------------------------------------------------------------------

    def _wait_for_next(self) -> None:
        """Wait for the next call of the open phases; only one is held at a time, however many there are."""
        for arrival in self._arrivals:
            self._next = arrival
            self._time.enter(arrival[1][0], self._arrival)
            break

    def _arrive(self, _: object) -> None:
        number, (at, index, client, tool, draw) = self._next
        self._wait_for_next()
        kind = self._kinds.get((index, tool)) or self._new_kind(index, self._phases[index], tool)
        self._call(kind, client, at, draw, number).begin()
        if kind.copies:
            for copy in range(1, kind.copies + 1):
                self._copy(copy, self._call(kind, client, at, draw, number)).begin()

    def _next_closed(self, user: int, now: float) -> None:
        planned = self._workload.next_call(user, now)
        if planned is not None:
            self._time.call_at(planned.at, partial(self._use, user, planned))

    def _use(self, user: int, planned: PlannedCall, _: object) -> None:
        """Let a user of a closed phase call, and call again when that and its copies are over."""
        phase, tool = planned.phase, planned.tool
        kind = self._kinds.get((phase.phase, tool)) or self._new_kind(phase.phase, phase, tool)
        left = 1 + kind.copies

        def then(now: float) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._next_closed(user, now)

        for copy in range(left):
            call = self._call(kind, planned.client, planned.at, planned.draw, planned.number)
            call.planned, call.then = planned, then
            self._copy(copy, call).begin()

    def _call(self, kind: Kind, client: int, at: float, draw: float, number: int) -> LogicalCall:
        who = self._clients.get(client) or self._client(kind.phase, client, number)
        return (ExposedCall if type(who) is ExposedClient else LogicalCall)(self._world, kind, who, at, draw, number)

    @staticmethod
    def _copy(copy: int, call: LogicalCall) -> LogicalCall:
        if copy:
            call.copy = copy
        return call

    def _client(self, phase: Phase, client: int, number: int) -> Client:
        """Return a new client: one that is shared from now on, or one for this call alone."""
        behaviour, seed = phase.behaviour, f"{self._seed}/client-{client}"
        if behaviour is not None and (behaviour.early_close is not None or behaviour.stop_reading is not None):
            chance = Random(f"{seed}/call-{number}")
            return ExposedClient(SessionId(f"{client}.call-{number}"), chance, self._door)
        session_id, chance = SessionId(str(client)), Random(seed)
        if self._exposed or (behaviour is not None and behaviour.cancel is not None):
            self._clients[client] = ExposedClient(session_id, chance, self._door)
        else:
            self._clients[client] = Client(session_id, chance)
        return self._clients[client]

    def _new_kind(self, group: int | str, phase: Phase, tool: str) -> Kind:
        """Work out what calls of a phase with a tool have in common: their key, too, where they do the same work."""
        kind = kind_of(tool, expert=phase.expert)
        key = None
        if phase.keys == "shared":
            key = CallKey(f"shared by {phase.phase}")
        elif phase.keys == "derived" and tool not in self._uncoalesced:
            key = CallKey(f"derived by {phase.phase} for {tool}")
        made = self._kinds[group, tool] = Kind(
            phase=phase,
            tool=tool,
            kind=kind,
            provider=provider_of(tool, kind, phase.model),
            timeout_s=phase.client_timeout or self._client_timeout_s,
            key=key,
            keyed=key is not None or phase.keys == "unique",
            explicit=phase.keys != "derived",
            copies=phase.behaviour.duplicates or 0 if phase.behaviour is not None else 0,
        )
        return made


@contextmanager
def _without_collections() -> Iterator[None]:
    """Look for no cycles of garbage: a run makes hardly any, and looking at all that it keeps takes a tenth of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _provider(name: str, scenario: Scenario, time: VirtualTime) -> ProviderModel:
    return ProviderModel(name, scenario.providers[name], time)


def _lines(faults: tuple[Fault, ...], providers: dict[str, ProviderModel], seed: int) -> dict[str, ProviderLine]:
    """Return the lines to those providers whose line a fault touches."""
    names = dict.fromkeys(filter(None, map(disturbs, faults)))
    return {name: ProviderLine(providers[name], Random(f"{seed}/line-{name}")) for name in names}


def _retry_config(scenario: Scenario) -> RetryConfig:
    retry = scenario.retry
    return RetryConfig(max_attempts=retry.max_attempts, jitter=retry.jitter, first_s=retry.first, max_s=retry.max)


def _uncoalesced(scenario: Scenario) -> frozenset[str]:
    """Return the tools whose identical calls are never taken for one another, by the scenario's settings."""
    value = scenario.settings.get(UNCOALESCED)
    if value is None:
        return frozenset(ANALYSIS_TOOLS)
    return frozenset(name.strip() for name in str(value).split(",") if name.strip())


__all__ = ["ModelRun", "simulate"]
