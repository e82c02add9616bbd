"""What clients do besides waiting: what the daemon sees of it, and what stands in the row."""

from collections.abc import Callable
from typing import Any

import pytest

from reference_daemon import wire
from reference_daemon.clock import Clock
from scenarios.events import Connection
from scenarios.history import Outcome, TimeoutLayer
from tests.chaos.load.conftest import LEAD_S, FakeWorkload, MakeLoad, a_call, a_phase, a_scenario, later
from tests.client.scripted import MemoryLink, ScriptedDaemon, ack, answer, refuse

pytestmark = pytest.mark.looptime


async def test_a_cancelled_call_is_cancelled_in_the_daemon(daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
    """The daemon is told once, and the row ends at that moment."""
    phase = a_phase(behaviour={"cancel": 6})
    daemon.on_call = [ack]
    load = make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase))
    (row,) = await load.run()
    assert (row.outcome, row.status, row.timeout_layer) == (Outcome.CANCELLED, None, None)
    assert row.finished_at == pytest.approx(7.0)
    (call,), (cancel,) = daemon.sent(wire.CallTool), daemon.sent(wire.Cancel)
    assert cancel.request_id == call.request_id


async def test_a_call_that_was_answered_before_is_not_cancelled(daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
    """Who has the answer has nothing to cancel."""
    phase = a_phase(behaviour={"cancel": 6})
    daemon.on_call = [answer()]
    (row,) = await make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase)).run()
    assert row.outcome is Outcome.OK
    assert daemon.sent(wire.Cancel) == []


class TestEarlyClose:
    async def test_ends_the_connection_without_a_word(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """The client gave up; whether the call ran nobody can tell from there."""
        phase = a_phase(behaviour={"early_close": 5})
        daemon.on_call = [ack]
        load = make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase))
        (row,) = await load.run()
        assert (row.outcome, row.status, row.timeout_layer) == (Outcome.UNKNOWN, None, TimeoutLayer.CLIENT)
        assert (row.acked_at, row.finished_at) == pytest.approx((1.0, 6.0))
        assert [type(frame) for _, frame in daemon.frames] == [wire.CallTool]
        assert [(seen.what, round(seen.at, 3)) for seen in load.of(Connection)] == [("opened", 1.0), ("closed", 6.0)]

    async def test_of_one_call_harms_no_other(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """Each such call has a connection of its own."""
        phase = a_phase(behaviour={"early_close": 5})
        daemon.on_call = [ack, later(4.5, answer())]
        rows = await make_load(FakeWorkload([a_call(0, 1.0, phase), a_call(1, 2.0, phase)]), a_scenario(phase)).run()
        assert [row.outcome for row in rows] == [Outcome.UNKNOWN, Outcome.OK]
        assert len(daemon.links) == 2

    async def test_ends_a_wait_for_another_attempt_too(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A client that is gone does not come back when it was told to."""
        phase = a_phase(behaviour={"early_close": 5})
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=20.0)]
        (row,) = await make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase)).run()
        assert (row.outcome, row.status, row.attempts) == (Outcome.UNKNOWN, None, 1)
        assert row.finished_at == pytest.approx(6.0)


async def test_a_client_that_stops_reading_reads_on_later(
    clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads nothing from the moment of sending, for the time that the scenario says."""
    turns: list[tuple[str, float]] = []

    def noting(what: str) -> Callable[[MemoryLink], Any]:
        return lambda link: turns.append((what, round(clock.now() - began_at, 3)))

    monkeypatch.setattr(MemoryLink, "pause_reading", noting("pause"), raising=False)
    monkeypatch.setattr(MemoryLink, "resume_reading", noting("resume"), raising=False)
    phase = a_phase(behaviour={"stop_reading": 30})
    daemon.on_call = [later(40.0, answer())]
    began_at = clock.now() + LEAD_S
    (row,) = await make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase)).run()
    assert row.outcome is Outcome.OK
    assert turns[:2] == [("pause", 1.0), ("resume", 31.0)]


async def test_duplicates_are_calls_of_their_own(daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
    """Every copy has the key and the work of the first, a trace of its own, and a row."""
    phase = a_phase(behaviour={"duplicates": 2})
    daemon.on_call = [answer(), refuse("DUPLICATE", original_request_id="r")]
    load = make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase))
    rows = await load.run()
    assert [row.outcome for row in rows] == [Outcome.OK, Outcome.DUPLICATE, Outcome.DUPLICATE]
    sent = daemon.sent(wire.CallTool)
    assert len({frame.call_key for frame in sent}) == len({str(frame.arguments) for frame in sent}) == 1
    assert len({frame.trace_id for frame in sent} & {row.trace_id for row in rows}) == 3
    assert len(daemon.links) == 1


async def test_without_a_daemon_looks_for_one_like_any_call(daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
    """That its own connection cannot be made is an outcome, not an error of the drill."""
    phase = a_phase(behaviour={"early_close": 100}, client_timeout=200)
    daemon.absent_for = 10_000
    load = make_load(FakeWorkload([a_call(0, 1.0, phase)]), a_scenario(phase))
    (row,) = await load.run()
    assert (row.outcome, row.sent_at) == (Outcome.CONNECTION_LOST, None)
