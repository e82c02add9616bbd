"""What a client does with calls whose connection was lost."""

import asyncio

import pytest

from reference_daemon import wire
from reference_daemon.client import CallOutcome, DaemonClient
from tests.client.conftest import MakeClient
from tests.client.scripted import (
    ScriptedDaemon,
    ack,
    ack_and_drop,
    after,
    answer,
    beat,
    both,
    drop,
    raw,
    refuse,
    refuse_attach,
    silence,
)

pytestmark = pytest.mark.looptime


class TestAttach:
    async def test_lost_call_is_followed(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """After a reconnect the client attaches by the call's key, and takes the answer that comes."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [after(30.0, answer("late, but here"))]
        result = await client.call("analyze", {}, timeout_s=180.0)
        (attach,) = daemon.sent(wire.Attach)
        assert attach.call_key == result.call_key
        assert attach.request_id != daemon.sent(wire.CallTool)[0].request_id
        assert (result.outcome, result.outputs) == (CallOutcome.OK, ["late, but here"])
        assert (result.attempts, result.reconnects, len(daemon.links)) == (1, 1, 2)

    async def test_ended_call_is_replayed(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """An answer that was stored meanwhile is taken, and told as a replay."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [answer("stored", replayed=True)]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.outputs) == (CallOutcome.REPLAYED, ["stored"])

    async def test_stored_error_is_its_outcome(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A call that failed while nobody listened has failed; it is not sent again."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [refuse("INTERRUPTED")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.INTERRUPTED, 1)

    async def test_heartbeats_go_on_after_a_reconnect(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Heartbeats of both connections belong to the one call."""
        daemon.on_call = [both(beat(5.0), after(6.0, drop))]
        daemon.on_attach = [
            both(
                lambda link, frame: link.answer(wire.Progress(frame.request_id, "analyze", 0.0)),
                after(2.0, answer()),
            )
        ]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert result.heartbeats == [5.0, 6.5]  # the reconnect waits half a second

    async def test_attach_that_is_lost_is_made_again(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A second loss is like the first: attaching costs no attempt."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [drop, drop, drop, answer("at last")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outputs, result.attempts, result.reconnects) == (["at last"], 1, 4)

    async def test_full_session_attaches_later(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A refusal for want of room says nothing about the call: the client asks again, and sends nothing twice."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [refuse_attach("OVER_CAPACITY", retry_after=4.0), refuse_attach("OVER_CAPACITY"), answer()]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.ok, result.attempts, result.reconnects) == (True, 1, 1)
        assert daemon.moments(wire.Attach) == [0.5, 4.5, 5.5]

    async def test_cancelling_a_followed_call_cancels_it(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """`cancel` names the request that attached: the session that sent the call is gone."""
        daemon.on_call, daemon.on_attach = [ack_and_drop], [silence]
        call = asyncio.create_task(client.call("analyze", {}, timeout_s=180.0))
        await daemon.until(wire.Attach)
        call.cancel()
        await asyncio.wait([call])
        await daemon.until(wire.Cancel)
        assert daemon.sent(wire.Cancel)[0].request_id == daemon.sent(wire.Attach)[0].request_id


class TestCallThatNeverArrived:
    async def test_is_sent_again_to_the_same_daemon(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Same boot_id and 404: the daemon never saw the key, so sending it again cannot run it twice."""
        daemon.on_call = [drop, answer("first run")]
        daemon.on_attach = [refuse_attach("UNKNOWN_CALL")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        first, second = daemon.sent(wire.CallTool)
        assert (first.call_key, first.trace_id) == (second.call_key, second.trace_id)
        assert first.request_id != second.request_id
        assert (result.ok, result.attempts) == (True, 2)

    async def test_is_sent_three_times_at_most(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Attempts that get lost count; after the third the call is given up as never arrived."""
        daemon.on_call, daemon.on_attach = [drop], [refuse_attach("UNKNOWN_CALL")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.CONNECTION_LOST, 3)
        assert len(daemon.sent(wire.CallTool)) == 3

    async def test_conflict_with_its_own_key_means_attach(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The first frame arrived late, after all: the duplicate that is in the way is the call itself."""
        daemon.on_call = [drop, refuse("DUPLICATE", original_request_id="r")]
        daemon.on_attach = [refuse_attach("UNKNOWN_CALL"), answer("the first one's")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outputs, result.attempts) == (["the first one's"], 2)

    async def test_conflict_without_a_loss_is_final(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A key that another call holds is told as a duplicate; nothing is attached to by accident."""
        daemon.on_call = [refuse("DUPLICATE", original_request_id="r")]
        result = await client.call("analyze", {}, timeout_s=180.0, call_key="shared")
        assert (result.outcome, daemon.sent(wire.Attach)) == (CallOutcome.DUPLICATE, [])


class TestOutcomeUnknown:
    async def test_restarted_daemon_gets_no_second_execution(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """Another boot_id and 404: the call may have run before the restart. It is never sent again."""

        def restart(link: object, frame: object) -> None:
            daemon.boot_id = "boot-2"

        daemon.on_call = [both(ack_and_drop, restart)]
        daemon.on_attach = [refuse_attach("UNKNOWN_CALL")]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.ok) == (CallOutcome.UNKNOWN, False)
        assert len(daemon.sent(wire.CallTool)) == 1

    @pytest.mark.parametrize("code", ["GONE", "BAD_REQUEST"])
    async def test_what_cannot_be_told_is_unknown(
        self, client: DaemonClient, daemon: ScriptedDaemon, code: str
    ) -> None:
        """410, or a daemon that cannot attach at all: the call may have run, and is not sent again."""
        daemon.on_call, daemon.on_attach = [ack_and_drop], [refuse_attach(code)]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.UNKNOWN, 1)

    async def test_daemon_without_boot_id_is_never_taken_for_the_same(
        self, make_client: MakeClient, daemon: ScriptedDaemon
    ) -> None:
        """A daemon that does not say which start it is may have restarted: its 404 proves nothing."""
        daemon.boot_id = None
        daemon.on_call, daemon.on_attach = [drop], [refuse_attach("UNKNOWN_CALL")]
        async with make_client() as client:
            result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.UNKNOWN, 1)

    async def test_daemon_that_stays_away_is_given_up(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """After 30 s without a daemon, and a last try then, a call that was sent is told as unknown."""
        daemon.on_call = [both(ack_and_drop, lambda link, frame: setattr(daemon, "absent_for", 10**6))]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert result.outcome is CallOutcome.UNKNOWN
        assert (result.finished_at, daemon.connects[-1], result.attempts) == (30.0, 30.0, 1)

    async def test_deadline_while_there_is_no_daemon_is_unknown(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """A client that gives up while its call is lost cannot say that the call timed out."""
        daemon.on_call = [both(ack_and_drop, lambda link, frame: setattr(daemon, "absent_for", 10**6))]
        result = await client.call("analyze", {}, timeout_s=5.0)
        assert (result.outcome, result.timeout_layer, result.finished_at) == (CallOutcome.UNKNOWN, None, 5.0)

    async def test_call_that_never_found_a_daemon_never_ran(
        self, make_client: MakeClient, daemon: ScriptedDaemon
    ) -> None:
        """Nothing was sent, so the outcome is known: it never reached the daemon."""
        daemon.absent_for = 10**6
        client = make_client()
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts, result.sent_at) == (CallOutcome.CONNECTION_LOST, 0, None)

    async def test_drained_daemon_that_stays_away_is_told_as_draining(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """A refusal stays the outcome where the next attempt finds no daemon: the call did not run."""

        def leave(link: object, frame: object) -> None:
            daemon.absent_for = 10**6

        daemon.on_call = [both(refuse("DRAINING", retry_after=2.0), leave, after(1.0, drop))]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.DRAINING, 1)

    async def test_drained_daemon_that_restarts_gets_the_call(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """A refused call left nothing behind, so it may be sent to the next daemon."""
        daemon.on_call = [both(refuse("DRAINING", retry_after=2.0), after(1.0, drop)), answer()]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.ok, result.attempts, daemon.sent(wire.Attach)) == (True, 2, [])


class TestReconnect:
    async def test_calls_share_one_reconnect(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Six calls that lost their connection together make one new one, and each attaches over it."""
        daemon.on_call = [*[ack] * 5, ack_and_drop]
        daemon.on_attach = [answer()]
        calls = [client.call("analyze", {"n": n}, timeout_s=180.0) for n in range(6)]
        results = await asyncio.gather(*calls)
        assert all(result.ok and result.reconnects == 1 for result in results)
        assert len(daemon.connects) == 2
        assert len({attach.call_key for attach in daemon.sent(wire.Attach)}) == 6

    async def test_waits_double_below_a_full_jitter(self, make_client: MakeClient, daemon: ScriptedDaemon) -> None:
        """The n-th reconnect waits draw × 2^(n-1) s, the first one too: clients that lost a daemon come one by one."""
        daemon.on_call = [ack_and_drop]
        daemon.on_attach = [answer()]
        async with make_client(0.5) as client:
            daemon.absent_for = 3
            await client.call("analyze", {}, timeout_s=180.0)
        assert daemon.connects == [0.0, 0.5, 1.5, 3.5, 7.5]

    async def test_daemon_that_hangs_up_at_once_is_not_stormed(
        self, make_client: MakeClient, daemon: ScriptedDaemon
    ) -> None:
        """A connection that brought nothing does not reset the backoff."""
        daemon.on_call, daemon.on_attach = [drop], [drop, drop, drop, answer()]
        async with make_client(0.5) as client:
            await client.call("analyze", {}, timeout_s=180.0)
        assert daemon.connects == [0.0, 0.5, 1.5, 3.5, 7.5]

    async def test_cancelled_call_does_not_end_the_search(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The search belongs to all calls: the one that began it may be cancelled."""
        daemon.on_call, daemon.on_attach = [ack, ack_and_drop], [answer()]
        first = asyncio.create_task(client.call("analyze", {}, timeout_s=180.0))
        second = asyncio.create_task(client.call("codereview", {}, timeout_s=180.0))
        await daemon.until(wire.CallTool, 2)
        await asyncio.sleep(0.1)
        first.cancel()
        await asyncio.wait([first])
        assert (await second).ok

    async def test_client_let_in_no_more_says_why(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A token that was replaced meanwhile ends the search at once; what became of the call is unknown."""

        def lock(link: object, frame: object) -> None:
            daemon.hello_error = "unauthorized"

        daemon.on_call = [both(ack_and_drop, lock)]
        result = await client.call("analyze", {}, timeout_s=180.0)
        assert (result.outcome, result.finished_at) == (CallOutcome.UNKNOWN, 0.5)
        assert result.error is not None
        assert result.error.code == "unauthorized"

    async def test_full_daemon_is_asked_again(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Too many sessions is a refusal that passes."""

        def fill(link: object, frame: object) -> None:
            daemon.hello_error = "too_many_sessions"
            asyncio.get_running_loop().call_later(10.0, setattr, daemon, "hello_error", None)

        daemon.on_call, daemon.on_attach = [both(ack_and_drop, fill)], [answer()]
        assert (await client.call("analyze", {}, timeout_s=180.0)).ok

    async def test_closing_ends_calls_and_search(self, make_client: MakeClient, daemon: ScriptedDaemon) -> None:
        """A client that is closed connects no more; a call in flight then is unknown, a new one never sent."""
        daemon.on_call = [ack]
        async with make_client() as client:
            call = asyncio.create_task(client.call("analyze", {}, timeout_s=180.0))
            await daemon.until(wire.CallTool)
        assert (await call).outcome is CallOutcome.UNKNOWN
        assert (await client.call("analyze", {}, timeout_s=180.0)).outcome is CallOutcome.CONNECTION_LOST
        assert len(daemon.connects) == 1

    async def test_closing_while_it_searches(self, make_client: MakeClient, daemon: ScriptedDaemon) -> None:
        """The search ends with the client, and those who wait for it are told."""
        daemon.on_call = [both(ack_and_drop, lambda link, frame: setattr(daemon, "absent_for", 10**6))]
        async with make_client() as client:
            call = asyncio.create_task(client.call("analyze", {}, timeout_s=180.0))
            await asyncio.sleep(3.0)
        result = await call
        assert (result.outcome, result.finished_at) == (CallOutcome.UNKNOWN, 3.0)


class TestBadFrames:
    async def test_garbage_harms_nobody(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """What cannot be read belongs to nobody: the call goes on."""
        garbage = raw(b"{", b"\xff\xfe", b"[" * 100_000, [], 3, None, {"op": "hello_ack", "ok": True}, {"op": "x"}, {})
        daemon.on_call = [both(ack, garbage, answer())]
        assert (await client.call("chat", {}, timeout_s=60.0)).ok

    async def test_answers_of_strangers_are_ignored(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Frames that name another request, or none, change nothing."""
        others = raw(
            {"op": "call_tool_res", "request_id": "r", "outputs": []},
            {"op": "progress", "request_id": "r", "name": "chat", "t": 0},
            {"op": "error", "code": "BAD_REQUEST", "message": "whose?"},
            {"op": "health_res", "ok": True, "health": {}},
        )
        daemon.on_call = [both(ack, others, after(9.0, answer("mine")))]
        result = await client.call("chat", {}, timeout_s=60.0)
        assert (result.outputs, result.heartbeats, result.finished_at) == (["mine"], [], 9.0)

    async def test_second_answer_is_ignored(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The first terminal answer counts."""
        daemon.on_call = [both(answer("one"), answer("two"))]
        assert (await client.call("chat", {}, timeout_s=60.0)).outputs == ["one"]

    async def test_daemon_of_another_make_is_understood(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The fields that our protocol adds may be missing from every frame."""

        def old_style(link: object, frame: wire.CallTool) -> None:
            request = {"request_id": frame.request_id}
            raw(
                {"op": "call_tool_ack", **request, "accepted": True, "timeout": 180, "name": "chat"},
                {"op": "progress", **request, "name": "chat", "t": 1.0},
                {"op": "call_tool_res", **request, "error": {"code": "OVER_CAPACITY", "message": "full"}},
            )(link, frame)  # type: ignore[arg-type]

        daemon.on_call = [old_style, answer()]
        result = await client.call("chat", {}, timeout_s=60.0)
        assert (result.ok, result.attempts, len(result.heartbeats)) == (True, 2, 1)


class TestProgress:
    async def test_heartbeats_are_recorded_and_shown(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Each heartbeat is noted with its moment, and handed on."""
        seen: list[float] = []
        daemon.on_call = [both(beat(5.0, 10.0, 15.0), after(18.0, answer()))]
        result = await client.call("chat", {}, timeout_s=60.0, on_progress=lambda frame: seen.append(frame.elapsed))
        assert result.heartbeats == [5.0, 10.0, 15.0] == seen

    async def test_caller_that_raises_harms_only_itself(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """What `on_progress` raises is raised by its own call, which is cancelled; other calls go on."""

        def broken(frame: wire.Progress) -> None:
            raise BrokenPipeError

        daemon.on_call = [beat(5.0), both(beat(5.0), after(9.0, answer()))]
        bad = asyncio.create_task(client.call("chat", {}, timeout_s=60.0, on_progress=broken))
        good = asyncio.create_task(client.call("chat", {}, timeout_s=60.0))
        with pytest.raises(BrokenPipeError):
            await bad
        assert (await good).ok
        assert [cancel.request_id for cancel in daemon.sent(wire.Cancel)] == [daemon.sent(wire.CallTool)[0].request_id]
