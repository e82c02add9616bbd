"""The driver: each call at its moment, a row for each call, and nothing made up about those that never ended."""

import asyncio

import pytest

from reference_daemon import wire
from reference_daemon.channel import DaemonUnreachableError
from reference_daemon.clock import Clock
from scenarios.history import Call, Outcome, TimeoutLayer
from tests.chaos.load.conftest import LEAD_S, FakeWorkload, MakeLoad, a_call, a_phase, a_scenario, later
from tests.client.scripted import ScriptedDaemon, ack, answer, beat, refuse, silence

pytestmark = pytest.mark.looptime


class TestOpenCalls:
    async def test_start_at_their_moments_whatever_the_others_do(
        self, daemon: ScriptedDaemon, make_load: MakeLoad
    ) -> None:
        """A call that takes long holds up no other: that is what makes a load open."""
        phase = a_phase()
        calls = [a_call(0, 0.0, phase), a_call(1, 1.5, phase), a_call(2, 1.5, phase), a_call(3, 4.0, phase)]
        daemon.on_call = [later(50.0, answer())]
        rows = await make_load(FakeWorkload(calls), a_scenario(phase)).run()
        assert [row.sent_at for row in rows] == pytest.approx([0.0, 1.5, 1.5, 4.0])
        assert [row.finished_at for row in rows] == pytest.approx([50.0, 51.5, 51.5, 54.0])

    async def test_latency_counts_from_the_intended_start(
        self, clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad
    ) -> None:
        """A driver that is late does not make the daemon look fast, and says how late it was."""
        phase = a_phase()
        daemon.on_call = [later(2.0, answer())]
        load = make_load(FakeWorkload([a_call(0, 0.0, phase)]), a_scenario(phase))
        await load.driver.connect()
        await clock.sleep(LEAD_S + 3.0)
        await load.driver.run()
        await load.driver.close()
        assert load.driver.calls[0].latency_s == pytest.approx(5.0)
        assert load.driver.lag_p99_s() == pytest.approx(3.0)

    async def test_all_of_a_burst_are_sent_at_once(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A thousand calls of one moment need no virtual time, and each has its row."""
        phase = a_phase()
        calls = [a_call(number, 1.0, phase) for number in range(1000)]
        daemon.on_call = [answer()]
        load = make_load(FakeWorkload(calls), a_scenario(phase))
        rows = await load.run()
        assert {row.trace_id for row in rows} == {call.trace_id for call in calls}
        assert {round(row.sent_at or 0.0, 6) for row in rows} == {1.0}
        assert load.driver.lag_p99_s() == pytest.approx(0.0)

    async def test_rows_are_told_as_they_end(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """Whoever looks on sees each call once."""
        phase = a_phase()
        daemon.on_call = [answer()]
        load = make_load(FakeWorkload([a_call(0, 0.0, phase), a_call(1, 1.0, phase)]), a_scenario(phase))
        assert await load.run() == load.told
        assert load.driver.in_flight == 0

    async def test_the_lag_is_that_of_the_slow_ones(self, make_load: MakeLoad) -> None:
        """Without open calls there is no schedule to keep."""
        phase = a_phase()
        assert make_load(FakeWorkload(), a_scenario(phase)).driver.lag_p99_s() is None


class TestRows:
    async def test_say_what_the_scenario_meant(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """Phase, session, tool and key of the plan; provider and model of the daemon's own summary."""
        phase = a_phase(mix={"analyze": 1})
        daemon.on_call = [answer("=== MCP CALL SUMMARY ===\nModel: glm-4.6\nProvider: GLM\n=== END SUMMARY ===")]
        (row,) = await make_load(FakeWorkload([a_call(0, 0.0, phase, tool="analyze")]), a_scenario(phase)).run()
        assert (row.scenario, row.phase, row.session, row.tool) == ("made-up", "steady", "steady-0", "analyze")
        assert (row.outcome, row.provider, row.model, row.expert) == (Outcome.OK, "GLM", "glm-4.6", True)
        assert row.trace_id == f"{1:032x}"

    async def test_only_workflow_tools_have_an_expert(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A chat asks for none."""
        phase = a_phase()
        daemon.on_call = [answer()]
        (row,) = await make_load(FakeWorkload([a_call(0, 0.0, phase)]), a_scenario(phase)).run()
        assert row.expert is False

    async def test_a_refused_call_is_sent_again_as_the_scenario_says(
        self, daemon: ScriptedDaemon, make_load: MakeLoad
    ) -> None:
        """All attempts are one row."""
        phase = a_phase()
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=2.0), refuse("OVER_CAPACITY", retry_after=2.0)]
        scenario = a_scenario(phase, retry={"max_attempts": 2, "jitter": 0})
        (row,) = await make_load(FakeWorkload([a_call(0, 0.0, phase)]), scenario).run()
        assert (row.outcome, row.status, row.attempts) == (Outcome.OVER_CAPACITY, 429, 2)
        assert row.retry_wait_s == pytest.approx(2.0)

    async def test_every_fault_of_their_time_is_named(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """Also one that came and went while the call ran."""
        phase = a_phase()
        active: list[str] = ["early"]
        daemon.on_call = [later(10.0, answer())]
        calls = [a_call(0, 0.0, phase), a_call(1, 20.0, phase)]
        load = make_load(FakeWorkload(calls), a_scenario(phase), faults=lambda: tuple(active))
        loop = asyncio.get_running_loop()
        loop.call_later(LEAD_S + 2.0, active.clear)
        loop.call_later(LEAD_S + 4.0, active.append, "short")
        loop.call_later(LEAD_S + 5.0, active.clear)
        rows = await load.run()
        assert [row.faults for row in rows] == [("early", "short"), ()]

    async def test_a_client_that_gives_up_says_so(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """The phase's own patience is in force."""
        phase = a_phase(client_timeout=7)
        daemon.on_call = [ack]
        (row,) = await make_load(FakeWorkload([a_call(0, 0.0, phase)]), a_scenario(phase)).run()
        assert (row.outcome, row.timeout_layer) == (Outcome.TIMEOUT, TimeoutLayer.CLIENT)
        assert row.latency_s == pytest.approx(7.0)

    async def test_derived_keys_are_not_sent(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """The daemon derives the key, or keeps none: the row does not claim one."""
        phase = a_phase(keys="derived")
        daemon.on_call = [answer()]
        (row,) = await make_load(FakeWorkload([a_call(0, 0.0, phase, call_key=None)]), a_scenario(phase)).run()
        (frame,) = daemon.sent(wire.CallTool)
        assert frame.call_key is None
        assert row.call_key_hash is None


class TestClosedUsers:
    async def test_wait_for_the_end_before_they_think_again(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A slow daemon gets less load from them."""
        phase = a_phase(arrivals={"closed": {"users": 2}})
        daemon.on_call = [later(10.0, answer())]
        workload = FakeWorkload(users=[[0.0, 5.0], [2.0]], phase=phase)
        load = make_load(workload, a_scenario(phase))
        rows = await load.run()
        assert [row.intended_at for row in rows] == pytest.approx([0.0, 2.0, 15.0])
        assert [at for _, at in workload.asked] == pytest.approx([0.0, 0.0, 10.0, 12.0, 25.0])
        assert load.driver.lag_p99_s() is None

    async def test_wait_for_the_copies_of_their_call(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A call is sent as often as the phase says, the first one first, and the user waits for all of them."""
        phase = a_phase(arrivals={"closed": {"users": 1}}, behaviour={"duplicates": 1})
        daemon.on_call = [later(1.0, answer()), later(4.0, answer()), answer()]
        workload = FakeWorkload(users=[[0.0, 2.0]], phase=phase)
        rows = await make_load(workload, a_scenario(phase)).run()
        assert daemon.sent(wire.CallTool)[0].trace_id == rows[0].trace_id
        assert workload.asked[1][1] == pytest.approx(4.0)

    async def test_a_bug_in_a_call_ends_the_run(
        self, daemon: ScriptedDaemon, make_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What nobody expected ends all users, whoever met it."""

        def broken(row: Call) -> None:
            raise ZeroDivisionError

        phase = a_phase(arrivals={"closed": {"users": 2}})
        daemon.on_call = [answer(), silence]
        load = make_load(FakeWorkload(users=[[0.0], [5.0]], phase=phase), a_scenario(phase))
        monkeypatch.setattr(load.driver, "_on_call", broken)
        with pytest.raises(ZeroDivisionError):
            await load.run()


class TestTheEnd:
    async def test_comes_with_the_last_answer(self, clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """A load whose calls have all ended waits for nothing."""
        phase = a_phase()
        daemon.on_call = [later(3.0, answer())]
        began_at = clock.now() + LEAD_S
        await make_load(FakeWorkload([a_call(0, 0.0, phase)]), a_scenario(phase)).run()
        assert clock.now() - began_at == pytest.approx(3.0)

    async def test_comes_after_the_time_to_quiesce_and_cancels_nothing(
        self, clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad
    ) -> None:
        """A call that hangs has a row without an end, and goes on hanging in the daemon: a cancel would heal it."""
        phase = a_phase()
        daemon.on_call = [answer(), beat(5.0, 20.0)]
        load = make_load(FakeWorkload([a_call(0, 0.0, phase), a_call(1, 2.0, phase)]), a_scenario(phase, quiesce=30))
        began_at = clock.now() + LEAD_S
        rows = await load.run()
        assert clock.now() - began_at == pytest.approx(32.0)
        assert [(row.outcome, row.finished_at) for row in rows][1] == (Outcome.UNKNOWN, None)
        assert (rows[1].sent_at, rows[1].acked_at, rows[1].max_heartbeat_gap_s) == pytest.approx((2.0, 2.0, 15.0))
        assert daemon.sent(wire.Cancel) == []
        assert load.told == rows[:1]

    async def test_of_users_whose_call_hangs(self, clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """The time to quiesce counts from the last arrival of a phase whose users could still have called."""
        phase = a_phase(arrivals={"closed": {"users": 1}}, duration=10)
        daemon.on_call = [silence]
        load = make_load(FakeWorkload(users=[[0.0, 1.0]], phase=phase), a_scenario(phase, quiesce=30))
        began_at = clock.now() + LEAD_S
        rows = await load.run()
        assert clock.now() - began_at == pytest.approx(30.0)
        assert [row.finished_at for row in rows] == [None]

    async def test_of_a_load_that_is_stopped_keeps_what_was_seen(
        self, clock: Clock, daemon: ScriptedDaemon, make_load: MakeLoad
    ) -> None:
        """An interrupted drill has its history: calls that ended, and calls that did not."""
        phase = a_phase()
        daemon.on_call = [answer(), silence]
        calls = [a_call(0, 0.0, phase), a_call(1, 1.0, phase), a_call(2, 50.0, phase)]
        load = make_load(FakeWorkload(calls), a_scenario(phase))
        running = asyncio.create_task(load.run())
        await clock.sleep(LEAD_S + 2.0)
        assert load.driver.in_flight == 1
        running.cancel()
        await asyncio.wait([running])
        assert [row.outcome for row in load.driver.calls] == [Outcome.OK, Outcome.UNKNOWN]

    async def test_a_bug_in_a_call_ends_the_run(
        self, daemon: ScriptedDaemon, make_load: MakeLoad, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing that nobody expected is swallowed."""

        def broken(row: Call) -> None:
            raise ZeroDivisionError

        phase = a_phase()
        daemon.on_call = [answer()]
        load = make_load(FakeWorkload([a_call(0, 0.0, phase), a_call(1, 9.0, phase)]), a_scenario(phase))
        monkeypatch.setattr(load.driver, "_on_call", broken)
        with pytest.raises(ZeroDivisionError):
            await load.run()


class TestConnect:
    async def test_opens_every_client_of_every_phase(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """More clients than handshakes at once all get their connection."""
        first, second = a_phase(clients=50), a_phase(phase="more", clients=30)
        load = make_load(FakeWorkload(), a_scenario(first, second))
        await load.driver.connect()
        assert len(daemon.connects) == 80
        await load.driver.close()

    async def test_without_a_daemon_fails(self, daemon: ScriptedDaemon, make_load: MakeLoad) -> None:
        """No load is begun on a system that is not there."""
        daemon.absent_for = 1000
        load = make_load(FakeWorkload(), a_scenario(a_phase(clients=3)))
        with pytest.raises(DaemonUnreachableError):
            await load.driver.connect()
        await load.driver.close()
