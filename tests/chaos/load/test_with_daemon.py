"""A load on a real daemon with a stub provider, over real sockets."""

import asyncio
from pathlib import Path

import pytest

from chaos.load import LagProbe, LoadDriver, Witness
from reference_daemon.assembly import running_daemon
from reference_daemon.clock import Clock
from reference_daemon.settings import Settings
from scenarios.events import AnyEvent, Connection, Frame, HealthSeen
from scenarios.history import Outcome
from scenarios.workload import Workload
from tests.chaos.load.conftest import a_phase, a_scenario

SCALE = 0.05  # a provider that takes 4 s takes 0.2 s: long enough to be in flight when its client does something


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A daemon on a free port whose stub takes 4 s."""
    values = {
        "EXAI_WS_PORT": 0,
        "EXAI_LOG_DIR": tmp_path,
        "EXAI_STUB_LATENCY": "constant:4",
        "EXAI_WS_<PROVIDER>_MAX_INFLIGHT": {"GLM": 16},  # nobody is to be refused
    }
    return Settings.model_validate(values)


async def test_a_load_of_many_kinds_ends_quiet(settings: Settings) -> None:
    """Open and closed phases, all behaviours, derived keys: every call has its row, and nothing is left in flight."""
    burst = {"burst": {"size": 4}}
    phases = (
        a_phase(phase="open", duration=4, clients=2, arrivals={"uniform": {"gap": 1}}, mix={"analyze": 1, "chat": 1}),
        a_phase(phase="closed", duration=4, start=0, arrivals={"closed": {"users": 2, "calls": 1}}),
        a_phase(phase="derived", duration=1, start=0, arrivals={"burst": {"size": 2}}, mix={"chat": 1}, keys="derived"),
        a_phase(phase="local", duration=1, start=0, arrivals=burst, mix={"version": 1}),
        a_phase(phase="vanish", duration=1, start=6, arrivals={"burst": {"size": 1}}, behaviour={"early_close": 2}),
        a_phase(phase="cancel", duration=1, start=6, arrivals={"burst": {"size": 1}}, behaviour={"cancel": 2}),
        a_phase(phase="stuck", duration=1, start=6, arrivals={"burst": {"size": 1}}, behaviour={"stop_reading": 6}),
        a_phase(phase="copies", duration=1, start=14, arrivals={"burst": {"size": 1}}, behaviour={"duplicates": 2}),
    )
    scenario = a_scenario(*phases)
    events: list[AnyEvent] = []
    clock = Clock(SCALE)
    async with running_daemon(settings, clock) as running:
        url, start_at = f"ws://127.0.0.1:{running.daemon.port}", clock.now() + 10.0
        driver = LoadDriver(
            scenario,
            Workload(scenario, scenario.seed),
            url=url,
            clock=clock,
            start_at=start_at,
            note=events.append,
            active_faults=tuple,
            client_timeout_s=180.0,
        )
        witness = Witness(url, clock=clock, start_at=start_at, token=None, note=events.append)
        probe = LagProbe(clock=clock, start_at=start_at, note=events.append)
        behind = [asyncio.create_task(witness.run()), asyncio.create_task(probe.run())]
        await driver.connect()
        await driver.run()
        for task in behind:
            task.cancel()
        await asyncio.wait(behind)
        assert await witness.quiescent(5.0)
        await driver.close()

    of = {phase.phase: sorted(row.outcome for row in driver.calls if row.phase == phase.phase) for phase in phases}
    assert of == {
        "open": [Outcome.OK] * 4,
        "closed": [Outcome.OK] * 2,
        "derived": [Outcome.DUPLICATE, Outcome.OK],
        "local": [Outcome.OK] * 4,
        "vanish": [Outcome.UNKNOWN],
        "cancel": [Outcome.CANCELLED],
        "stuck": [Outcome.OK],
        "copies": [Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.OK],
    }
    assert driver.in_flight == 0
    frames = [event for event in events if isinstance(event, Frame)]
    nonces = {frame.request_id: frame.nonce for frame in frames if frame.op == "call_tool" and frame.nonce}
    results = [frame for frame in frames if frame.op == "call_tool_res" and frame.request_id in nonces]
    good = [frame for frame in results if frame.status is None]
    assert len(good) == 9
    assert all(frame.summary for frame in good)
    opened = [event for event in events if isinstance(event, Connection) and event.what == "opened"]
    assert len({event.connection for event in opened}) == len(opened) == 11  # with two of the witness
    assert [event.quiescent for event in events if isinstance(event, HealthSeen)][-1]
