"""When a client sends a call again, and what stays the same."""

import asyncio

import pytest

from reference_daemon import wire
from reference_daemon.client import CallOutcome, DaemonClient, TimeoutLayer
from tests.client.conftest import MakeClient
from tests.client.scripted import ScriptedDaemon, ack, after, answer, both, refuse, silence

pytestmark = pytest.mark.looptime

FINAL_CODES = sorted(set(wire.ERROR_STATUS) - {"OVER_CAPACITY", "DRAINING"})


class TestOneAttempt:
    async def test_result_is_told_with_all_its_moments(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A call that is admitted and answered has its texts, its moments and one attempt."""
        daemon.on_call = [both(after(1.0, ack), after(40.0, answer("the text")))]
        result = await client.call("analyze", {"step": 1}, timeout_s=180.0)
        assert (result.ok, result.outcome, result.outputs) == (True, CallOutcome.OK, ["the text"])
        assert (result.sent_at, result.acked_at, result.finished_at) == (0.0, 1.0, 40.0)
        assert (result.attempts, result.reconnects, result.retry_wait_s) == (1, 0, 0.0)
        assert (result.duration_s, result.timeout_s, result.error) == (1.5, 179.0, None)

    async def test_frame_carries_what_was_asked(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Name, arguments, key, trace_id and the time that is left, less a grace, go to the daemon."""
        daemon.on_call = [answer()]
        await client.call("chat", {"prompt": "hi"}, timeout_s=60.0, call_key="k", trace_id="ab" * 16)
        (frame,) = daemon.sent(wire.CallTool)
        assert (frame.name, frame.arguments, frame.call_key) == ("chat", {"prompt": "hi"}, "k")
        assert (frame.trace_id, frame.timeout) == ("ab" * 16, 59.0)

    async def test_each_call_has_its_own_ids(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Two logical calls share no key, trace_id or request_id, also for the same work."""
        daemon.on_call = [answer()]
        first = await client.call("chat", {}, timeout_s=60.0)
        second = await client.call("chat", {}, timeout_s=60.0)
        assert first.call_key != second.call_key
        assert first.trace_id != second.trace_id
        assert first.request_id != second.request_id
        assert first.call_key_hash not in first.call_key

    @pytest.mark.parametrize("trace_id", ["", "0" * 32, "AB" * 16, "ab" * 16 + "\n", "x" * 10_000])
    async def test_malformed_trace_id_is_replaced(
        self, client: DaemonClient, daemon: ScriptedDaemon, trace_id: str
    ) -> None:
        """What is no trace_id is replaced once, by the client, so that all parties use the same."""
        daemon.on_call = [answer()]
        result = await client.call("chat", {}, timeout_s=60.0, trace_id=trace_id)
        assert result.trace_id == daemon.sent(wire.CallTool)[0].trace_id != trace_id
        assert len(result.trace_id) == 32

    async def test_replay_is_told_from_a_result(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A stored result counts as success, and says that it was replayed."""
        daemon.on_call = [answer(replayed=True)]
        result = await client.call("chat", {}, timeout_s=60.0, call_key="k")
        assert (result.ok, result.outcome) == (True, CallOutcome.REPLAYED)

    @pytest.mark.parametrize("code", FINAL_CODES)
    async def test_any_other_error_is_final(self, client: DaemonClient, daemon: ScriptedDaemon, code: str) -> None:
        """Only OVER_CAPACITY and DRAINING are tried again, however tempting a retry_after is."""
        daemon.on_call = [refuse(code, retry_after=1.0), answer()]
        result = await client.call("chat", {}, timeout_s=180.0)
        assert (result.ok, result.attempts) == (False, 1)
        assert result.error is not None
        assert result.error.code == code

    async def test_request_id_in_flight_is_final(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """An `error` frame that names the request ends it."""
        daemon.on_call = [lambda link, frame: link.answer(wire.ErrorFrame("DUPLICATE", 409, "no", frame.request_id))]
        result = await client.call("chat", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.DUPLICATE, 1)

    @pytest.mark.parametrize(
        ("code", "layer"),
        [
            ("TIMEOUT", TimeoutLayer.DAEMON),
            ("STEP_TIMEOUT", TimeoutLayer.STEP),
            ("EXPERT_TIMEOUT", TimeoutLayer.EXPERT),
        ],
    )
    async def test_timeout_names_who_gave_up(
        self, client: DaemonClient, daemon: ScriptedDaemon, code: str, layer: TimeoutLayer
    ) -> None:
        """The three budgets of the daemon are told apart."""
        daemon.on_call = [refuse(code)]
        result = await client.call("chat", {}, timeout_s=180.0)
        assert (result.outcome, result.timeout_layer) == (CallOutcome.TIMEOUT, layer)


class TestRetries:
    @pytest.mark.parametrize("code", ["OVER_CAPACITY", "DRAINING"])
    async def test_refused_call_is_sent_again(self, client: DaemonClient, daemon: ScriptedDaemon, code: str) -> None:
        """After "later" the call is sent again, and its outcome is the last answer's."""
        daemon.on_call = [refuse(code, retry_after=10.0), answer()]
        result = await client.call("chat", {}, timeout_s=180.0)
        assert (result.ok, result.attempts, result.error) == (True, 2, None)

    async def test_there_are_three_attempts_in_all(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The third refusal is the outcome; there is no fourth attempt."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=1.0, scope="global")]
        result = await client.call("chat", {}, timeout_s=180.0)
        assert (result.outcome, result.attempts) == (CallOutcome.OVER_CAPACITY, 3)
        assert len(daemon.sent(wire.CallTool)) == 3
        assert isinstance(result.error, wire.Error)
        assert result.error.scope == "global"

    async def test_key_and_trace_stay_and_request_ids_are_new(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """Attempts of one call share call_key and trace_id; each has a request_id of its own."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=1.0)]
        result = await client.call("chat", {}, timeout_s=180.0)
        frames = daemon.sent(wire.CallTool)
        assert {frame.call_key for frame in frames} == {result.call_key}
        assert {frame.trace_id for frame in frames} == {result.trace_id}
        assert len({frame.request_id for frame in frames}) == 3
        assert result.request_id == frames[-1].request_id

    @pytest.mark.parametrize(("draw", "wait_s"), [(0.0, 30.0), (0.5, 31.5), (0.999, 32.997)])
    async def test_wait_is_the_advice_and_up_to_a_tenth(
        self, make_client: MakeClient, daemon: ScriptedDaemon, draw: float, wait_s: float
    ) -> None:
        """The wait is retry_after × (1 + 0.1 × draw): never less, spread evenly above it."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=30.0), answer()]
        async with make_client(draw) as client:
            result = await client.call("chat", {}, timeout_s=180.0)
        assert daemon.moments(wire.CallTool) == [0.0, pytest.approx(wait_s)]
        assert result.retry_wait_s == pytest.approx(wait_s)

    async def test_backoff_counts_where_it_is_longer(self, make_client: MakeClient, daemon: ScriptedDaemon) -> None:
        """Advice below the backoff of 1 s, then 2 s, does not shorten it."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=0.001)]
        async with make_client(0.0) as client:
            await client.call("chat", {}, timeout_s=180.0)
        assert daemon.moments(wire.CallTool) == [0.0, 1.0, 3.0]

    @pytest.mark.parametrize("advice", [None, 0.0, -5.0, 1e9])
    async def test_senseless_advice_is_replaced(
        self, make_client: MakeClient, daemon: ScriptedDaemon, advice: float | None
    ) -> None:
        """No retry_after, or one that nobody can keep, leaves the backoff."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=advice), answer()]
        async with make_client(0.0) as client:
            await client.call("chat", {}, timeout_s=180.0)
        assert daemon.moments(wire.CallTool) == [0.0, 1.0]

    @pytest.mark.parametrize(("timeout_s", "attempts"), [(61.0, 2), (60.9, 1)])
    async def test_no_attempt_that_could_not_end_in_time(
        self, make_client: MakeClient, daemon: ScriptedDaemon, timeout_s: float, attempts: int
    ) -> None:
        """Advice that leaves less than a second before the deadline is not waited for: the refusal is told at once."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=60.0), answer()]
        async with make_client(0.0) as client:
            result = await client.call("chat", {}, timeout_s=timeout_s)
        assert result.attempts == attempts
        assert result.finished_at == (60.0 if attempts == 2 else 0.0)

    async def test_budget_shrinks_over_attempts(self, make_client: MakeClient, daemon: ScriptedDaemon) -> None:
        """Each attempt tells the daemon what is left of the whole, not what there was at first."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=50.0)]
        async with make_client(0.0) as client:
            await client.call("chat", {}, timeout_s=180.0)
        assert [frame.timeout for frame in daemon.sent(wire.CallTool)] == [179.0, 129.0, 79.0]

    async def test_nothing_is_sent_while_it_waits_in_vain(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Cancelling a call between two attempts sends nothing more: nothing of it is in flight."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=50.0)]
        call = asyncio.create_task(client.call("chat", {}, timeout_s=180.0))
        await daemon.until(wire.CallTool)
        await asyncio.sleep(10.0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await asyncio.sleep(100.0)
        assert len(daemon.frames) == 1


class TestDeadlines:
    async def test_client_gives_up_at_its_deadline(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A daemon that never answers costs exactly the client's time; the layer says who gave up."""
        daemon.on_call = [silence]
        result = await client.call("chat", {}, timeout_s=33.0)
        assert (result.outcome, result.timeout_layer) == (CallOutcome.TIMEOUT, TimeoutLayer.CLIENT)
        assert (result.finished_at, result.attempts) == (33.0, 1)

    async def test_client_that_gives_up_cancels(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """What nobody waits for any more need not go on: the daemon is told."""
        daemon.on_call = [ack]
        result = await client.call("chat", {}, timeout_s=33.0)
        await daemon.until(wire.Cancel)
        assert [cancel.request_id for cancel in daemon.sent(wire.Cancel)] == [result.request_id]

    async def test_attempt_has_its_own_limit(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A shim's limit of one attempt ends the call earlier than its deadline; a late call is not sent again."""
        daemon.on_call = [silence, answer()]
        result = await client.call("chat", {}, timeout_s=180.0, attempt_timeout_s=150.0)
        assert (result.outcome, result.finished_at, result.attempts) == (CallOutcome.TIMEOUT, 150.0, 1)
        assert daemon.sent(wire.CallTool)[0].timeout == 149.0

    async def test_late_call_after_a_refusal_tells_no_old_reason(
        self, make_client: MakeClient, daemon: ScriptedDaemon
    ) -> None:
        """A second attempt that is late ends as a timeout, without the error of the first."""
        daemon.on_call = [refuse("OVER_CAPACITY", retry_after=10.0), silence]
        async with make_client(0.0) as client:
            result = await client.call("chat", {}, timeout_s=50.0)
        assert (result.outcome, result.error, result.attempts) == (CallOutcome.TIMEOUT, None, 2)

    async def test_short_call_still_gets_a_moment(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A client with less time than its grace sends a timeout that the daemon accepts."""
        daemon.on_call = [answer()]
        await client.call("chat", {}, timeout_s=0.5)
        assert daemon.sent(wire.CallTool)[0].timeout == 0.1

    async def test_cancelling_a_call_cancels_it_in_the_daemon(
        self, client: DaemonClient, daemon: ScriptedDaemon
    ) -> None:
        """The task that waits ends as cancelled, and `cancel` names the attempt in flight."""
        daemon.on_call = [ack]
        call = asyncio.create_task(client.call("chat", {}, timeout_s=180.0))
        await daemon.until(wire.CallTool)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await daemon.until(wire.Cancel)
        assert daemon.sent(wire.Cancel)[0].request_id == daemon.sent(wire.CallTool)[0].request_id
