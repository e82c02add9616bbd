"""Calls as a client sees them: ack, heartbeats, one terminal answer; many at once; cancelled."""

from typing import Any

import pytest

from reference_daemon.wire import ERROR_STATUS
from tests.daemon.conftest import House
from tests.daemon.fake_tools import FakeTool, asleep


class TestOneCall:
    async def test_minimal_client(self, house: House) -> None:
        """A client that sends no more than older clients did is served: ack, then the result."""
        client = await house.enter(await house.start(EXAI_WS_TOKEN="t" * 16), {"session_id": "s", "token": "t" * 16})
        message = {"op": "call_tool", "request_id": "r1", "name": "echo", "arguments": {"text": "héllo"}}
        ack = await client.ask(message)
        assert ack.pop("trace_id")
        assert ack.pop("call_key_hash")
        assert ack == {"op": "call_tool_ack", "request_id": "r1", "accepted": True, "timeout": 180.0, "name": "echo"}
        result = await client.receive()
        assert (result["op"], result["request_id"]) == ("call_tool_res", "r1")
        assert result["outputs"] == [{"type": "text", "text": "héllo"}]
        assert "error" not in result
        assert "replayed" not in result

    async def test_arguments_may_be_missing(self, house: House) -> None:
        """A call without arguments has none."""
        client = await house.enter(await house.start())
        await client.send({"op": "call_tool", "request_id": "r", "name": "echo"})
        assert (await client.result("r"))["outputs"] == [{"type": "text", "text": "echo"}]

    async def test_trace_id_is_the_clients(self, house: House) -> None:
        """Ack, result and the tool's context have the trace_id that the client sent."""
        client = await house.enter(await house.start())
        trace_id = "0123456789abcdef0123456789abcdef"
        assert (await client.call("echo", "r", trace_id=trace_id))["trace_id"] == trace_id
        assert (await client.result("r"))["trace_id"] == trace_id
        assert (await house.started("echo")).trace_id == trace_id

    @pytest.mark.parametrize("sent", ["", "short", "G" * 32, "0" * 32, "A" * 32, "a" * 33, "x\n" * 5000, 7, ["a"]])
    async def test_malformed_trace_id_is_replaced(self, house: House, sent: object) -> None:
        """A trace_id that is none is replaced by a new one; the call goes on."""
        client = await house.enter(await house.start())
        trace_id = (await client.call("echo", "r", trace_id=sent))["trace_id"]
        assert trace_id != sent
        assert len(bytes.fromhex(trace_id)) == 16
        assert (await client.result("r"))["trace_id"] == trace_id

    async def test_heartbeats(self, house: House) -> None:
        """A call of 2 s with heartbeats every 0.2 s gets them: elapsed grows, remaining shrinks, then the result."""
        daemon = await house.start(scale=0.5, EXAI_WS_PROGRESS_INTERVAL_SECS=0.2, EXAI_WS_CALL_TIMEOUT=30)
        client = await house.enter(daemon)
        await client.call("sleep", "r", {"s": 2.0})
        *beats, result = await client.frames_until("call_tool_res")
        assert {beat["op"] for beat in beats} == {"progress"}
        assert 5 <= len(beats) <= 10  # ten are due, the last one at the very end; a machine that stalls leaves some out
        assert {(beat["request_id"], beat["name"], beat["phase"]) for beat in beats} == {("r", "sleep", "step")}
        elapsed = [beat["elapsed"] for beat in beats]
        remaining = [beat["remaining"] for beat in beats]
        assert elapsed == sorted(set(elapsed))
        assert remaining == sorted(set(remaining), reverse=True)
        assert all(abs(a + b - 30) < 0.002 for a, b in zip(elapsed, remaining, strict=True))  # rounded to ms, each
        assert {beat["trace_id"] for beat in beats} == {result["trace_id"]}
        assert result["outputs"][0]["text"] == "slept"

    async def test_first_heartbeat_comes_within_one_interval(self, house: House) -> None:
        """The first heartbeat tells of at least one interval, and never comes before the ack."""
        daemon = await house.start(scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0)
        client = await house.enter(daemon)
        assert (await client.call("hold", "r"))["op"] == "call_tool_ack"
        assert (await client.receive())["elapsed"] >= 1.0
        house.tools["hold"].release.set()

    async def test_calls_of_a_provider_have_the_experts_interval(self, house: House) -> None:
        """A call that may ask a provider has heartbeats as often as the expert's, if that is more often."""
        daemon = await house.start(scale=0.05, EXPERT_HEARTBEAT_INTERVAL_SECS=1.0, EXAI_WS_PROGRESS_INTERVAL_SECS=100)
        client = await house.enter(daemon)
        await client.call("held_chat", "r")
        assert (await client.receive())["op"] == "progress"

    async def test_the_phase_is_the_tools(self, house: House) -> None:
        """A heartbeat names the phase that the tool says it is in."""
        client = await house.enter(await house.start(scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0))
        await client.call("hold", "r")
        context = await house.started("hold")
        context.phase = "web"
        assert (await client.frames_until("progress"))[-1]["phase"] == "web"


class TestManyCalls:
    async def test_calls_of_one_connection_run_at_once(self, house: House) -> None:
        """Three calls of one connection run at the same time, and end in any order."""
        tools = [house.add(FakeTool(name)) for name in ("a", "b", "c")]
        client = await house.enter(await house.start())
        for tool in tools:
            await client.call(tool.name, tool.name, {"text": tool.name})
            await house.started(tool.name)
        assert [tool.running for tool in tools] == [1, 1, 1]
        for tool in reversed(tools):
            tool.release.set()
            result = await client.receive()
            assert (result["request_id"], result["outputs"][0]["text"]) == (tool.name, tool.name)

    async def test_calls_of_a_second_take_a_second(self, house: House) -> None:
        """Three calls of 1 s over one connection take 1 s together."""
        tool = house.add(FakeTool("nap", asleep))
        client = await house.enter(await house.start(scale=0.25, EXAI_WS_DISABLE_COALESCE_FOR_TOOLS="nap"))
        for number in "123":
            await client.send({"op": "call_tool", "request_id": number, "name": "nap", "arguments": {"s": 1.0}})
        ends = [await client.receive() for _ in range(6)]
        assert sorted(end["request_id"] for end in ends if end["op"] == "call_tool_res") == ["1", "2", "3"]
        assert tool.most_running == 3

    async def test_reading_never_waits_for_a_call(self, house: House) -> None:
        """While a call runs, the same connection's health and lists are answered."""
        client = await house.enter(await house.start())
        await client.call("stubborn", "r")
        assert (await client.health())["global_inflight"] == 1
        answer = await client.ask({"op": "list_tools", "request_id": "l"})
        assert (answer["op"], answer["request_id"]) == ("list_tools_res", "l")
        assert answer["tools"][0] == {
            "name": "hold",
            "description": "A tool of the tests.",
            "inputSchema": {"type": "object"},
        }
        assert [tool["name"] for tool in answer["tools"]] == list(house.tools)

    async def test_no_mixing(self, house: House) -> None:
        """Each result is that of its own request, over many connections and calls."""
        daemon = await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=1000, EXAI_WS_SESSION_MAX_INFLIGHT=100)
        clients = [await house.enter(daemon) for _ in range(5)]
        for number in range(50):
            for index, client in enumerate(clients):
                arguments = {"text": f"{index}-{number}"}
                await client.send(
                    {"op": "call_tool", "request_id": str(number), "name": "echo", "arguments": arguments}
                )
        for index, client in enumerate(clients):
            frames = [await client.receive() for _ in range(100)]
            results = {f["request_id"]: f["outputs"][0]["text"] for f in frames if f["op"] == "call_tool_res"}
            assert results == {str(number): f"{index}-{number}" for number in range(50)}

    async def test_a_thousand_calls_in_one_write(self, house: House) -> None:
        """Each of 1,000 calls in one write is answered, ack or 429; a neighbour is served meanwhile."""
        daemon = await house.start(EXAI_WS_SESSION_MAX_INFLIGHT=10)
        client, neighbour = await house.enter(daemon), await house.enter(daemon)
        async with client.connection.send_context():
            for number in range(1000):
                message = f'{{"op":"call_tool","request_id":"{number}","name":"hold","arguments":{{"n":{number}}}}}'
                client.connection.protocol.send_text(message.encode())
        assert (await neighbour.health())["global_inflight"] in {0, 10}
        answers = [await client.receive() for _ in range(1000)]
        assert [answer["request_id"] for answer in answers] == [str(number) for number in range(1000)]
        assert [answer["op"] for answer in answers[:10]] == ["call_tool_ack"] * 10
        assert {answer["error"]["code"] for answer in answers[10:]} == {"OVER_CAPACITY"}
        assert {answer["error"]["scope"] for answer in answers[10:]} == {"session"}
        house.tools["hold"].release.set()

    async def test_a_session_gets_no_frames_of_another(self, house: House) -> None:
        """Heartbeats and results go to the session that waits for them, though request_ids are equal."""
        daemon = await house.start(scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0)
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", {"text": "mine"})
        await client.frames_until("progress")
        assert await other.nothing_waits()
        house.tools["hold"].release.set()
        assert (await client.result("r"))["outputs"][0]["text"] == "mine"
        assert await other.nothing_waits()


class TestCancel:
    async def test_own_call(self, house: House) -> None:
        """A cancelled call is answered 499 at once, its work is stopped, and its slot is free."""
        client = await house.enter(await house.start())
        await client.call("hold", "r")
        await house.started("hold")
        await client.send({"op": "cancel", "request_id": "r"})
        result = await client.result("r")
        assert (result["error"]["code"], result["error"]["status"]) == ("CANCELLED", ERROR_STATUS["CANCELLED"])
        assert await client.nothing_waits()
        assert house.tools["hold"].running == 0
        assert (await client.health())["global_inflight"] == 0

    async def test_work_that_goes_on_keeps_its_slot(self, house: House) -> None:
        """A cancelled call whose tool does not stop is answered at once; its slot is free when it has stopped."""
        client = await house.enter(await house.start())
        await client.call("stubborn", "r")
        await house.started("stubborn")
        assert (await client.ask({"op": "cancel", "request_id": "r"}))["error"]["code"] == "CANCELLED"
        assert (await client.health())["global_inflight"] == 1
        assert (await client.ask({"op": "cancel", "request_id": "r"}))["code"] == "UNKNOWN_CALL"
        house.tools["stubborn"].release.set()
        await house.until_idle()
        assert (await client.health())["global_inflight"] == 0

    async def test_foreign_call(self, house: House) -> None:
        """A session cannot cancel another's call, and learns nothing about it."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", {"text": "kept"})
        foreign = await other.ask({"op": "cancel", "request_id": "r"})
        assert foreign == await other.ask({"op": "cancel", "request_id": "r"})
        assert (foreign["op"], foreign["code"], foreign["status"]) == ("error", "UNKNOWN_CALL", 404)
        house.tools["hold"].release.set()
        assert (await client.result("r"))["outputs"][0]["text"] == "kept"

    async def test_unknown_and_finished_calls(self, house: House) -> None:
        """There is nothing to cancel under a request_id that was never used, or was answered."""
        client = await house.enter(await house.start())
        await client.call("echo", "done")
        await client.result("done")
        for request_id in ("done", "never"):
            answer = await client.ask({"op": "cancel", "request_id": request_id})
            assert (answer["op"], answer["code"], answer["request_id"]) == ("error", "UNKNOWN_CALL", request_id)

    async def test_racing_a_finish(self, house: House) -> None:
        """A cancel in the same write as the call's end harms nothing: one terminal answer, whichever it is."""
        client = await house.enter(await house.start())
        for number in range(50):
            arguments = {"text": str(number)}
            await client.send({"op": "call_tool", "request_id": str(number), "name": "echo", "arguments": arguments})
            await client.send({"op": "cancel", "request_id": str(number)})
        await client.send({"op": "health", "request_id": "end"})
        frames = await client.frames_until("health_res")
        terminals = [frame["request_id"] for frame in frames if frame["op"] == "call_tool_res"]
        assert sorted(terminals) == sorted(str(number) for number in range(50))


class TestLostClient:
    async def test_disconnect_keeps_work_and_result(self, house: House) -> None:
        """A lost client cancels nothing: a new session attaches to the work and gets its result."""
        daemon = await house.start(scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0)
        client = await house.enter(daemon)
        await client.call("hold", "r", {"text": "kept"}, call_key="k")
        await house.started("hold")
        client.connection.transport.abort()
        later = await house.enter(daemon)
        await later.send({"op": "attach", "request_id": "a", "call_key": "k"})
        assert (await later.frames_until("progress"))[-1]["request_id"] == "a"
        house.tools["hold"].release.set()
        assert (await later.result("a"))["outputs"][0]["text"] == "kept"

    async def test_a_result_that_nobody_heard_is_kept(self, house: House) -> None:
        """A call that ends after its client is gone can be asked for, within the result TTL."""
        daemon = await house.start()
        client, later = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", {"text": "kept"}, call_key="k")
        await client.connection.close()
        while (await later.health())["sessions"] == 2:
            pass
        house.tools["hold"].release.set()
        await house.until_idle()
        answer = await later.ask({"op": "attach", "request_id": "a", "call_key": "k"})
        assert (answer["request_id"], answer["replayed"]) == ("a", True)
        assert answer["outputs"][0]["text"] == "kept"
        assert (await later.call("hold", "b", {"text": "kept"}, call_key="k"))["outputs"] == answer["outputs"]
        assert house.tools["hold"].ran == 1


class TestHealth:
    async def test_figures(self, house: House) -> None:
        """Health tells what is in use, and of how much, per tool and provider."""
        daemon = await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=5, EXAI_WS_TOOL_MAX_INFLIGHT="hold=2")
        client, _ = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "1")
        await client.call("held_chat", "2")
        answer = await client.ask({"op": "health", "request_id": "h"})
        assert (answer["op"], answer["ok"], answer["request_id"]) == ("health_res", True, "h")
        figures: dict[str, Any] = answer["health"]
        assert figures["sessions"] == 2
        assert (figures["global_inflight"], figures["global_capacity"]) == (2, 5)
        assert figures["tools"] == {"hold": {"inflight": 1, "capacity": 2}}
        assert figures["providers"]["GLM"] == {"inflight": 1, "capacity": 4}
        assert figures["draining"] is False
        assert figures["uptime"] >= 0
        assert figures["boot_id"] == client.hello_ack["boot_id"]
