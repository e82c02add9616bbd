"""The daemon's end: draining, the grace, and what becomes of calls and connections."""

import asyncio

import pytest

from reference_daemon import daemon as daemon_module
from reference_daemon.daemon import PortTakenError
from tests.daemon.conftest import House
from tests.daemon.raw_client import BOUND_S, a_frame


class TestDrain:
    async def test_calls_in_flight_end_within_the_grace(self, house: House) -> None:
        """While the daemon drains, new calls get 503, and those in flight their results."""
        daemon = await house.start()
        client = await house.enter(daemon)
        await client.call("hold", "r", {"text": "kept"}, call_key="k")
        draining = asyncio.create_task(daemon.drain())
        refused = await client.call("echo", "2")
        assert (refused["error"]["code"], refused["error"]["status"]) == ("DRAINING", 503)
        assert 0 < refused["error"]["retry_after"] <= 60
        assert (await client.health())["draining"] is True
        assert (await client.ask({"op": "attach", "request_id": "a", "call_key": "k"}))["op"] == "progress"
        assert not draining.done()
        house.tools["hold"].release.set()
        assert (await client.result("r"))["outputs"][0]["text"] == "kept"
        async with asyncio.timeout(BOUND_S):
            await draining

    async def test_a_new_client_is_told_too(self, house: House) -> None:
        """A draining daemon still lets in, to say that it drains and to answer those who attach."""
        daemon = await house.start()
        await daemon.drain()
        client = await house.enter(daemon)
        assert (await client.call("echo", "r"))["error"]["code"] == "DRAINING"

    async def test_calls_are_interrupted_when_the_grace_is_over(self, house: House) -> None:
        """A call that outlives the grace is answered 500 INTERRUPTED, also where its tool does not stop."""
        daemon = await house.start(EXAI_WS_DRAIN_GRACE_SECS=0.05)
        client = await house.enter(daemon)
        for tool in ("hold", "stubborn"):
            await client.call(tool, tool)
        await daemon.drain()
        for _ in range(2):
            error = (await client.receive())["error"]
            assert (error["code"], error["status"]) == ("INTERRUPTED", 500)
        assert await client.nothing_waits()

    async def test_nothing_in_flight(self, house: House) -> None:
        """A daemon without calls drains at once; a second drain changes nothing."""
        daemon = await house.start()
        async with asyncio.timeout(BOUND_S):
            await daemon.drain()
            await daemon.drain()


class TestEnd:
    async def test_every_call_gets_its_terminal_and_every_client_a_close(self, house: House) -> None:
        """A daemon that ends without a drain interrupts what is in flight, says so, and closes with 1001."""
        async with house.build() as daemon:
            client, stranger = await house.enter(daemon), await house.dial(daemon)
            await client.call("hold", "r")
        assert (await client.receive())["error"]["code"] == "INTERRUPTED"
        assert await client.close_code() == 1001
        assert await stranger.close_code() == 1001

    async def test_a_tool_that_does_not_stop(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Work that swallows cancellation delays the end by a bounded time, and the log says that it was left."""
        monkeypatch.setattr(daemon_module, "WORK_STOP_WALL_S", 0.05)
        async with house.build() as daemon:
            client = await house.enter(daemon)
            await client.call("stubborn", "r")
            await house.started("stubborn")
        assert (await client.receive())["error"]["code"] == "INTERRUPTED"
        assert await client.close_code() == 1001
        house.tools["stubborn"].release.set()
        await house.until_idle()

    async def test_a_client_that_reads_nothing(self, house: House) -> None:
        """A client that does not read what waits for it cannot hold up the end."""
        async with asyncio.timeout(BOUND_S):
            async with house.build() as daemon:
                socket = await house.socket(daemon)
                socket.write(
                    a_frame(b'{"op":"call_tool","request_id":"r","name":"many_bytes","arguments":{"n":20000000}}')
                )
                await house.started("many_bytes")
                await house.until_idle()

    async def test_what_waits_for_a_slow_client_is_sent_before_the_close(self, house: House) -> None:
        """A client that reads late gets its INTERRUPTED behind all that waited for it, and then the close."""
        async with house.build() as daemon:
            socket = await house.socket(daemon)
            message = b'{"op":"call_tool","request_id":"r","name":"many_bytes","arguments":{"n":9000000}}'
            socket.write(a_frame(message))
            await house.started("many_bytes")
            socket.write(a_frame(b'{"op":"call_tool","request_id":"h","name":"hold"}'))
            await house.started("hold")
            reading = asyncio.create_task(socket.read_all())
        async with asyncio.timeout(BOUND_S):
            received = await reading
        assert received.index(b'"call_tool_ack","request_id":"h"') < received.index(b'"INTERRUPTED"')

    async def test_the_port_is_free_afterwards(self, house: House) -> None:
        """While a daemon runs its port is taken, which a second one says; afterwards it is free."""
        async with house.build() as daemon:
            with pytest.raises(
                PortTakenError, match=f"cannot listen on 127.0.0.1:{daemon.port}: the address is in use"
            ):
                await house.start(EXAI_WS_PORT=daemon.port)
            house.daemons.pop()
        await house.start(EXAI_WS_PORT=daemon.port)

    async def test_it_listens_on_loopback_alone(self, house: House) -> None:
        """Unless told otherwise the daemon has one socket, on 127.0.0.1."""
        daemon = await house.start()
        assert daemon._server is not None
        assert [socket.getsockname()[0] for socket in daemon._server.sockets] == ["127.0.0.1"]
