"""Keys: duplicates, replays, takeovers, attaching."""

import hashlib
from typing import Any

import pytest

from tests.daemon.conftest import House
from tests.daemon.fake_tools import FakeTool, StubbornTool, echo, raising
from tests.daemon.raw_client import Frame, RawClient


def attach(key: str, request_id: str = "a") -> dict[str, Any]:
    """Return an `attach`."""
    return {"op": "attach", "request_id": request_id, "call_key": key}


class TestReplay:
    async def test_byte_for_byte(self, house: House) -> None:
        """The same explicit key again brings the stored payload, byte for byte, under the new request_id."""
        client = await house.enter(await house.start())
        await client.call("echo", "1", {"text": "héllo \u2028 </script> \x7f"}, call_key="k")
        first = await client.connection.recv()
        arguments = '{"text":"h\\u00e9llo \u2028 </script> \x7f"}'
        await client.send(f'{{"op":"call_tool","request_id":"2","name":"echo","call_key":"k","arguments":{arguments}}}')
        second = await client.connection.recv()
        assert isinstance(first, str)
        assert isinstance(second, str)
        payload = first.partition('"outputs":')[2].partition(',"duration"')[0]
        assert payload
        assert second.partition('"outputs":')[2].partition(',"duration"')[0] == payload
        assert '"request_id":"2"' in second
        assert '"replayed":true' in second
        assert house.tools["echo"].ran == 1

    async def test_executed_errors_are_replayed(self, house: House) -> None:
        """A call that failed has run: its error is the result of its key."""
        house.add(FakeTool("broken", raising(ValueError)))
        client = await house.enter(await house.start())
        await client.call("broken", "1", call_key="k")
        first = await client.result("1")
        second = await client.call("broken", "2", call_key="k")
        assert (second["error"], second["replayed"]) == (first["error"], True)
        assert house.tools["broken"].ran == 1

    async def test_refusals_are_not(self, house: House) -> None:
        """A refused call leaves nothing behind: when there is room the same key is admitted and runs."""
        daemon = await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
        client = await house.enter(daemon)
        await client.call("hold", "1")
        for number in range(3):
            refused = await client.call("echo", f"r{number}", call_key="k")
            assert refused["error"]["code"] == "OVER_CAPACITY"
        assert (await client.ask(attach("k")))["code"] == "UNKNOWN_CALL"
        house.tools["hold"].release.set()
        await client.result("1")
        assert (await client.call("echo", "again", call_key="k"))["op"] == "call_tool_ack"
        assert "replayed" not in await client.result("again")

    async def test_after_the_ttl_it_runs_again(self, house: House) -> None:
        """A result older than EXAI_WS_RESULT_TTL is not replayed."""
        client = await house.enter(await house.start(EXAI_WS_RESULT_TTL=1e-6))
        for request_id in ("1", "2"):
            assert (await client.call("echo", request_id, call_key="k"))["op"] == "call_tool_ack"
            await client.result(request_id)
        assert house.tools["echo"].ran == 2

    async def test_another_session_may_ask(self, house: House) -> None:
        """Keys belong to the daemon's one principal: the result is replayed to another session, too."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("echo", "1", call_key="k")
        await client.result("1")
        assert (await other.call("echo", "1", call_key="k"))["replayed"] is True


class TestDuplicates:
    async def test_a_thousand_of_one_key(self, house: House) -> None:
        """Of many calls with one key one runs; the others are told so, and name it."""
        daemon = await house.start()
        clients = [await house.enter(daemon) for _ in range(10)]
        for number in range(1000):
            message = {"op": "call_tool", "request_id": str(number), "name": "hold", "call_key": "k"}
            await clients[number % 10].send(message)
        answers = [await client.receive() for client in clients for _ in range(100)]
        acks = [answer["request_id"] for answer in answers if answer["op"] == "call_tool_ack"]
        assert len(acks) == 1
        assert {a["error"]["original_request_id"] for a in answers if "error" in a} == set(acks)
        house.tools["hold"].release.set()

    async def test_identical_work_without_a_key(self, house: House) -> None:
        """Without a key the work is the key, whatever the order of its arguments: 409 while it runs, not afterwards."""
        client = await house.enter(await house.start())
        await client.call("hold", "1", {"text": "a", "more": {"x": 1, "y": 2}})
        again = await client.call("hold", "2", {"more": {"y": 2, "x": 1}, "text": "a"})
        assert (again["error"]["code"], again["error"]["original_request_id"]) == ("DUPLICATE", "1")
        assert (await client.call("hold", "3", {"text": "b"}))["op"] == "call_tool_ack"
        house.tools["hold"].release.set()
        await client.result("3")
        assert (await client.call("hold", "4", {"text": "a", "more": {"x": 1, "y": 2}}))["op"] == "call_tool_ack"

    async def test_tools_that_never_share(self, house: House) -> None:
        """For tools in EXAI_WS_DISABLE_COALESCE_FOR_TOOLS identical work without a key is never a duplicate."""
        client = await house.enter(await house.start(EXAI_WS_DISABLE_COALESCE_FOR_TOOLS="hold"))
        acks = [await client.call("hold", request_id) for request_id in "12"]
        assert [ack["op"] for ack in acks] == ["call_tool_ack"] * 2
        assert len({ack["call_key_hash"] for ack in acks}) == 2
        assert (await client.call("hold", "3", call_key="k"))["op"] == "call_tool_ack"
        assert (await client.call("hold", "4", call_key="k"))["error"]["code"] == "DUPLICATE"

    async def test_request_id_in_flight(self, house: House) -> None:
        """A request_id that is in flight gets an `error`, so that the live call's terminal stays the only one."""
        client = await house.enter(await house.start())
        await client.call("hold", "r", {"text": "first"})
        for name in ("hold", "echo", "nobody"):
            assert (await client.call(name, "r", {"text": "second"}))["op"] == "error"
        assert (await client.ask(attach("k", "r")))["op"] == "error"
        house.tools["hold"].release.set()
        assert (await client.receive())["outputs"][0]["text"] == "first"
        assert await client.nothing_waits()

    async def test_a_used_request_id_is_free(self, house: House) -> None:
        """An answered request_id may be used again."""
        client = await house.enter(await house.start())
        for _ in range(2):
            assert (await client.call("echo", "r"))["op"] == "call_tool_ack"
            await client.result("r")

    async def test_keys_are_hashed_wherever_they_are_named(self, house: House) -> None:
        """The ack names a hash: the same for the same key, never the key."""
        house.add(FakeTool("other", echo))
        client = await house.enter(await house.start())
        first = await client.call("echo", "1", call_key="a key that is a secret")
        assert "secret" not in str(first)
        assert len(bytes.fromhex(first["call_key_hash"])) == 6


async def lapsed(house: House, tool: str, **settings: Any) -> RawClient:
    """Return a client whose call `old` of `tool` runs under the key "k", which has lapsed."""
    client = await house.enter(await house.start(EXAI_WS_INFLIGHT_TTL_SECS=1e-6, **settings))
    await client.call(tool, "old", call_key="k")
    await house.started(tool)
    return client


async def take_over(client: RawClient, tool: str) -> tuple[Frame, Frame]:
    """Send a call `new` with the key "k"; return the old call's end and the new one's ack."""
    await client.send({"op": "call_tool", "request_id": "new", "name": tool, "call_key": "k"})
    return await client.receive(), await client.receive()


class TestTakeover:
    async def test_newcomer_waits_until_the_owners_work_has_stopped(self, house: House) -> None:
        """The owner of a lapsed key is fenced; the newcomer is acked at once, and starts when the work has stopped."""
        client = await lapsed(house, "stubborn", scale=0.05, EXAI_WS_PROGRESS_INTERVAL_SECS=1.0)
        end, ack = await take_over(client, "stubborn")
        assert (end["request_id"], end["error"]["code"]) == ("old", "SUPERSEDED")
        assert (ack["op"], ack["request_id"]) == ("call_tool_ack", "new")
        beat = await client.receive()
        assert (beat["op"], beat["request_id"], beat["phase"]) == ("progress", "new", "waiting")
        tool = house.tools["stubborn"]
        assert (tool.ran, tool.running) == (1, 1)
        tool.release.set()
        result = await client.result("new")
        assert result["outputs"][0]["text"] == "late"
        assert (tool.ran, tool.most_running) == (2, 1)

    async def test_the_slot_passes_on(self, house: House) -> None:
        """A takeover needs no slot of its own: it gets the owner's, and both are never held twice."""
        client = await lapsed(house, "hold", EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
        end, ack = await take_over(client, "hold")
        assert (end["error"]["superseded_by"], ack["op"]) == ("new", "call_tool_ack")
        assert (await house.started("hold")).phase == "step"
        assert (await client.health())["global_inflight"] == 1
        house.tools["hold"].release.set()
        assert "error" not in await client.result("new")

    async def test_cancelling_the_one_that_waits(self, house: House) -> None:
        """A newcomer that is cancelled while it waits ends at once, and never runs."""
        client = await lapsed(house, "stubborn")
        await take_over(client, "stubborn")
        assert (await client.ask({"op": "cancel", "request_id": "new"}))["error"]["code"] == "CANCELLED"
        tool = house.tools["stubborn"]
        tool.release.set()
        await house.until_idle()
        assert tool.ran == 1

    async def test_a_newcomer_that_is_late(self, house: House) -> None:
        """A newcomer's deadline passes while it waits: 504 in phase waiting, and it never runs."""
        client = await lapsed(house, "stubborn")
        message = {"op": "call_tool", "request_id": "new", "name": "stubborn", "call_key": "k", "timeout": 0.05}
        await client.send(message)
        error = (await client.result("new"))["error"]
        assert (error["code"], error["phase"]) == ("TIMEOUT", "waiting")
        assert house.tools["stubborn"].ran == 1

    async def test_chain_of_takeovers(self, house: House) -> None:
        """Of many that take one key over, one after another, only the last runs."""
        client = await lapsed(house, "stubborn")
        for number in range(5):
            await client.send({"op": "call_tool", "request_id": str(number), "name": "stubborn", "call_key": "k"})
        frames = [await client.receive() for _ in range(10)]
        ends = [f["request_id"] for f in frames if f["op"] == "call_tool_res"]
        assert ends == ["old", "0", "1", "2", "3"]
        house.tools["stubborn"].release.set()
        assert (await client.receive())["request_id"] == "4"
        assert house.tools["stubborn"].ran == 2

    async def test_fenced_work_ends_with_its_tool(self, house: House) -> None:
        """What a fenced tool returns is nobody's result: the key's result is the newcomer's."""
        house.add(StubbornTool("other"))
        client = await lapsed(house, "stubborn")
        await take_over(client, "stubborn")
        house.tools["stubborn"].release.set()
        result = await client.result("new")
        replay = await client.ask(attach("k"))
        assert replay["trace_id"] == result["trace_id"]


class TestAttach:
    async def test_live_call(self, house: House) -> None:
        """Who attaches gets a heartbeat at once, then what the sender gets, under a request_id of its own."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        ack = await client.call("hold", "r", {"text": "shared"}, call_key="k")
        beat = await other.ask(attach("k"))
        assert (beat["op"], beat["request_id"], beat["trace_id"]) == ("progress", "a", ack["trace_id"])
        house.tools["hold"].release.set()
        first, second = await client.result("r"), await other.receive()
        assert (second["request_id"], second["outputs"]) == ("a", first["outputs"])

    async def test_call_that_ended(self, house: House) -> None:
        """Who attaches after the end gets the stored answer, its error too."""
        house.add(FakeTool("broken", raising(ValueError)))
        client = await house.enter(await house.start())
        await client.call("broken", "r", call_key="k")
        first = await client.result("r")
        second = await client.ask(attach("k"))
        assert (second["error"], second["replayed"], second["trace_id"]) == (first["error"], True, first["trace_id"])

    async def test_call_that_was_answered_and_goes_on(self, house: House) -> None:
        """Who attaches to a call that was cancelled, its work not stopped yet, gets that answer."""
        client = await house.enter(await house.start())
        await client.call("stubborn", "r", call_key="k")
        await house.started("stubborn")
        await client.ask({"op": "cancel", "request_id": "r"})
        assert (await client.ask(attach("k")))["error"]["code"] == "CANCELLED"

    async def test_derived_key(self, house: House) -> None:
        """A duplicate without a key can attach by the key that the work has: SHA-256 of name and arguments."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", {"text": "é", "b": 1})
        key = hashlib.sha256('["hold",{"b":1,"text":"é"}]'.encode()).hexdigest()
        assert (await other.ask(attach(key)))["op"] == "progress"
        assert (await other.ask({"op": "cancel", "request_id": "a"}))["code"] == "UNKNOWN_CALL"
        house.tools["hold"].release.set()
        assert (await other.receive())["op"] == "call_tool_res"

    async def test_cancel_by_one_who_attached(self, house: House) -> None:
        """Who attached by an explicit key may cancel: everybody who waits is told, each once."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", call_key="k")
        await other.ask(attach("k"))
        assert (await other.ask({"op": "cancel", "request_id": "a"}))["error"]["code"] == "CANCELLED"
        assert (await client.receive())["error"]["code"] == "CANCELLED"
        assert await client.nothing_waits()
        assert await other.nothing_waits()

    async def test_who_leaves_is_forgotten(self, house: House) -> None:
        """A connection that attached and is gone harms neither the call nor its sender."""
        daemon = await house.start()
        client, other = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", call_key="k")
        await other.ask(attach("k"))
        await other.connection.close()
        while (await client.health())["sessions"] == 2:
            pass
        assert daemon.calls.in_flight()[0].followers == []
        house.tools["hold"].release.set()
        assert (await client.receive())["request_id"] == "r"

    @pytest.mark.parametrize("key", ["", "x" * 256])
    async def test_key_out_of_bounds(self, house: House, key: str) -> None:
        """A key has 1 to 255 characters, also where it is asked for."""
        client = await house.enter(await house.start())
        answer = await client.ask(attach(key))
        assert (answer["code"], answer["field"], answer["request_id"]) == ("BAD_REQUEST", "call_key", "a")
