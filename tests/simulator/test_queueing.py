"""The model against queueing theory: loss by Erlang B, waiting by Erlang C, and Little's law.

Intervals are joint: each family of points holds with 99 % confidence as a whole (Bonferroni). Each point is one run,
cut into batches that last many relaxation times, since calls that are refused, or wait, come in clusters; the interval
is Student's, over the means of the batches. Seeds are fixed, so that no test fails by chance later.
"""

import math
from collections import deque
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from reference_daemon.policy.config import Caps, PolicyConfig, Timeouts
from scenarios.history import Outcome
from scenarios.model import Scenario
from simulator.model.census import Census
from simulator.model.engine import ModelRun, simulate
from simulator.model.provider import NEVER, Done, Execution, ProviderModel, Request
from simulator.model.queueing import (
    Little,
    LittlesLawError,
    erlang_b,
    erlang_c,
    erlang_c_wait_s,
    hold_littles_law,
    littles_law,
)
from simulator.model.virtual_time import VirtualTime

MEAN_S = 1.0
FOREVER_S = 100_000.0
PLENTY = 1_000_000
BATCHES = 20
CONFIDENCE = 0.99

LOSS_POINTS = [
    (2, 2.0, "global"),
    (4, 2.0, "session"),
    (3, 4.0, "tool"),
    (6, 5.0, "provider"),
    (10, 8.0, "global"),
    (16, 12.0, "session"),
    (16, 20.0, "tool"),
    (30, 25.0, "provider"),
    (45, 50.0, "global"),
    (80, 75.0, "session"),
    (100, 110.0, "tool"),
    (150, 150.0, "provider"),
    (200, 200.0, "global"),
]
WAIT_POINTS = [(1, 0.5), (1, 0.8), (2, 1.4), (4, 3.0), (8, 6.4), (16, 13.6), (40, 34.0), (100, 85.0), (200, 170.0)]


def a_scenario(offered: float, calls: float) -> Scenario:
    """Return Poisson arrivals of so many erlangs of chats, which take exponential times and are tried once."""
    phase: dict[str, Any] = {
        "phase": "load",
        "duration": MEAN_S * calls / offered,
        "arrivals": {"poisson": {"rate": offered / MEAN_S}},
        "sequence": ["chat"],
    }
    values: dict[str, Any] = {
        "name": "theory",
        "title": "Theory",
        "providers": {"GLM": {"latency": {"weibull": {"scale": MEAN_S, "shape": 1}}, "concurrency": PLENTY}},
        "load": [phase],
        "retry": {"max_attempts": 1},
        "expect": [{"invariants": "all"}],
    }
    return Scenario.model_validate(values)


def a_config(servers: int, scope: str = "none") -> PolicyConfig:
    """Return settings with one cap, of the scope, and with deadlines that never come."""
    caps = Caps(
        total=servers if scope == "global" else PLENTY,
        session=servers if scope == "session" else PLENTY,
        tools={"chat": servers} if scope == "tool" else {},
        providers={"GLM": servers} if scope == "provider" else {},
    )
    return PolicyConfig(caps=caps, timeouts=Timeouts(call_s=FOREVER_S))


def a_run(scenario: Scenario, config: PolicyConfig, **more: Any) -> ModelRun:
    """Run a scenario with clients that wait for ever."""
    return simulate(scenario, config, seed=11, client_timeout_s=FOREVER_S, **more)


def the_interval(values: "np.typing.NDArray[np.float64]", points: int) -> tuple[float, float]:
    """Return mean and half width of the interval of one point among so many, by batch means."""
    means = np.array([batch.mean() for batch in np.array_split(values, BATCHES)])
    quantile = float(t.ppf(1 - (1 - CONFIDENCE) / (2 * points), BATCHES - 1))
    return float(means.mean()), quantile * float(means.std(ddof=1)) / math.sqrt(BATCHES)


# --- loss ------------------------------------------------------------------------------------------------------------


def refused(servers: int, offered: float, scope: str) -> "np.typing.NDArray[np.float64]":
    """Return which calls were refused, in their order, after a warm-up of ten mean durations.

    A loss system forgets its past within about a mean duration: batches last eight of them, and 300 calls at least.
    """
    calls = max(BATCHES * 8 * offered, BATCHES * 300)
    run = a_run(a_scenario(offered, calls + 10 * offered), a_config(servers, scope))
    steady = sorted((call for call in run.ended if call.at >= 10 * MEAN_S), key=lambda call: call.at)
    return np.array([call.outcome is Outcome.OVER_CAPACITY for call in steady], dtype=float)


def test_without_retries_every_pool_is_erlangs_loss_system() -> None:
    """Poisson arrivals, exponential service, no retry: the share refused is Erlang B's, whichever cap refuses.

    The intervals can tell: Erlang B of one server more, or less, is outside at the smaller systems.
    """
    off, told = [], []
    for servers, offered, scope in LOSS_POINTS:
        share, half = the_interval(refused(servers, offered, scope), len(LOSS_POINTS))
        more, exact, less = (erlang_b(servers + step, offered) for step in (1, 0, -1))
        if abs(share - exact) > half:
            off.append((servers, offered, scope, share, half, exact))
        if abs(share - more) > half and abs(share - less) > half:
            told.append((servers, offered, scope))
    assert off == []
    assert set(LOSS_POINTS[:5]) <= set(told)


# --- waiting ---------------------------------------------------------------------------------------------------------


class QueueingProvider(ProviderModel):
    """A provider that lets requests wait in line where others refuse them.

    The daemon itself has no line: what it cannot take it refuses. So the line stands where there may be one in
    practice, and each request still goes through the daemon and its policy.
    """

    def __init__(self, name: str, scenario: Scenario, time: VirtualTime, servers: int) -> None:
        """Begin idle."""
        super().__init__(name, scenario.providers[name], time)
        self._servers = servers
        self._line: deque[_Waiting] = deque()
        self.waits: list[float] = []

    def request(self, tool: str, draw: float, done: Done, until: float = NEVER) -> Request:
        """Begin an execution, or take a place at the end of the line."""
        if self.census.inside >= self._servers:
            waiting = _Waiting(tool, draw, done, self.time.now)
            self._line.append(waiting)
            return waiting
        self.waits.append(0.0)
        return super().request(tool, draw, done, until)

    def leave(self, began_at: float) -> None:
        """Let the first in line begin."""
        super().leave(began_at)
        if self._line:
            waiting = self._line.popleft()
            self.waits.append(self.time.now - waiting.since)
            execution = super().request(waiting.tool, waiting.draw, waiting.done)
            assert isinstance(execution, Execution)


class _Waiting:
    """A request in line."""

    ends_at = NEVER

    def __init__(self, tool: str, draw: float, done: Done, since: float) -> None:
        self.tool, self.draw, self.done, self.since = tool, draw, done, since

    def cancel(self) -> None:
        """Nobody gives up here."""
        raise AssertionError


def waits(servers: int, offered: float) -> "np.typing.NDArray[np.float64]":
    """Return how long each request waited, in the order of their beginnings, after a warm-up.

    The relaxation time of the line is about ρ / (1 - √ρ)² arrivals: batches last twelve of them.
    """
    load = offered / servers
    relaxation = load / (1 - math.sqrt(load)) ** 2
    calls = BATCHES * max(12 * relaxation, 400)
    made: list[QueueingProvider] = []

    def make(name: str, scenario: Scenario, time: VirtualTime) -> ProviderModel:
        made.append(QueueingProvider(name, scenario, time, servers))
        return made[-1]

    run = a_run(a_scenario(offered, calls + 10 * (relaxation + offered)), a_config(servers), provider=make)
    assert {call.outcome for call in run.ended} == {Outcome.OK}
    return np.array(made[0].waits[int(10 * (relaxation + offered)) :])


def test_where_calls_wait_it_is_erlangs_waiting_system() -> None:
    """Poisson arrivals, exponential service, a line: the share that waits, and how long, is Erlang C's.

    The intervals can tell: the share that waits with one server more is outside at all systems of up to 16.
    """
    off, told = [], []
    for servers, offered in WAIT_POINTS:
        waited = waits(servers, offered)
        share, share_half = the_interval((waited > 0.0).astype(float), 2 * len(WAIT_POINTS))
        mean_s, mean_half = the_interval(waited, 2 * len(WAIT_POINTS))
        if abs(share - erlang_c(servers, offered)) > share_half:
            off.append((servers, offered, "share", share, share_half))
        if abs(mean_s - erlang_c_wait_s(servers, offered, MEAN_S)) > mean_half:
            off.append((servers, offered, "mean", mean_s, mean_half))
        if abs(share - erlang_c(servers + 1, offered)) > share_half:
            told.append(servers)
    assert off == []
    assert {servers for servers, _ in WAIT_POINTS if servers <= 16} <= set(told)


# --- Little's law ----------------------------------------------------------------------------------------------------


def in_the_house(calls: ModelRun) -> tuple[float, float]:
    """Return L and λW of the clients' calls, from the history alone: by its moments in order, and by its latencies."""
    moments = sorted(
        [(call.intended_at, 1) for call in calls.calls] + [(call.finished_at or 0.0, -1) for call in calls.calls]
    )
    area_s, inside, before = 0.0, 0, 0.0
    for at, step in moments:
        area_s += inside * (at - before)
        inside, before = inside + step, at
    return area_s, math.fsum(call.latency_s or 0.0 for call in calls.calls)


def test_littles_law_holds_for_daemon_provider_and_clients() -> None:
    """L = λW in each system; what the daemon counted is what its answers say that calls took."""
    scenario = a_scenario(12.0, 2000)
    scenario = scenario.model_copy(update={"retry": scenario.retry.model_copy(update={"max_attempts": 3})})
    run = simulate(scenario, PolicyConfig(), seed=3)
    laws = {name: littles_law(census, run.ended_at) for name, census in run.censuses.items()}
    assert all(law.holds and law.inside > 1.0 for law in laws.values())
    area_s, latencies_s = in_the_house(run)
    assert area_s == pytest.approx(run.censuses["clients"].area_s)
    assert latencies_s == pytest.approx(run.censuses["clients"].stays_s)
    served_s = math.fsum(call.service_s or 0.0 for call in run.calls)
    assert served_s == pytest.approx(run.censuses["daemon"].area_s)


def test_a_census_that_misses_an_end_is_found_out() -> None:
    """One that left without being counted out, or was counted at the wrong moment, breaks the law."""
    missed, late = Census(), Census()
    missed.enter(1.0)
    for census, left_at in ((missed, 3.0), (late, 4.0)):
        census.enter(2.0)
        census.leave(left_at, 2.0)
    late.stays_s -= 1.0
    assert littles_law(late, 10.0) == Little(0.2, 0.1)
    for census in (missed, late):
        with pytest.raises(LittlesLawError, match="the daemon: L = "):
            hold_littles_law({"the daemon": census}, 10.0)
