"""The Toxiproxy wrapper, on a real server: proxies on ports of their own, toxics that bite and heal."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos import toxiproxy
from chaos.processes import ChildFailedError, Children
from chaos.toxics import STREAMS, Stream, WireToxic, wire_toxics
from chaos.toxiproxy import LOOPBACK, ToxiproxyFailedError, ToxiproxyServer, start_server
from chaos.toxiproxy_server import find_server
from reference_daemon.clock import Clock
from scenarios.model_faults import Fault

pytestmark = pytest.mark.drill

CLOCK = Clock(0.1)
LEAST_S = 0.3
FAULT = Fault.model_validate(  # 40 ± 10 ms on the wall; loopback takes less than one
    {"at": 0, "for": 1, "link": "client-daemon", "toxic": {"latency": {"latency": 0.4, "jitter": 0.1}}}
)


def latency(stream: Stream) -> WireToxic:
    """Return the toxic of one direction."""
    return next(toxic for toxic in wire_toxics(FAULT, CLOCK) if toxic.stream == stream)


def silent(text: str) -> None:
    """Say nothing."""


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[ToxiproxyServer]:
    """Run a server of one's own."""
    async with Children(say=silent) as children:
        yield await start_server(
            find_server().path, children, environment=os.environ, folder=folder, log=folder / "log"
        )


@contextlib.asynccontextmanager
async def echo_port() -> AsyncIterator[int]:
    """Serve what sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]


class Line:
    """An open connection to an echo, through a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def round_trip_s(self) -> float:
        """Return how long a byte takes there and back, in unscaled seconds."""
        sent_at = CLOCK.now()
        self._writer.write(b"x")
        await self._reader.readexactly(1)
        return CLOCK.now() - sent_at

    async def fastest_s(self) -> float:
        """Return the fastest of some round trips: a busy machine slows single ones down."""
        return min([await self.round_trip_s() for _ in range(5)])


@contextlib.asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Connect."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield Line(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


class TestLatency:
    @pytest.mark.parametrize("stream", STREAMS)
    async def test_slows_an_open_connection_and_heals(self, tmp_path: Path, stream: Stream) -> None:
        """A toxic acts on connections that stand, by at least latency minus jitter, until it is removed."""
        async with running(tmp_path) as server, echo_port() as port:
            proxy = await server.proxy("link", upstream_port=port)
            async with line_to(proxy.port) as line:
                assert await line.fastest_s() < LEAST_S
                toxic = await proxy.add(latency(stream))
                assert await line.fastest_s() >= LEAST_S
                await proxy.remove(toxic)
                assert await line.fastest_s() < LEAST_S

    async def test_on_both_streams_adds_up(self, tmp_path: Path) -> None:
        """There and back are two toxics with names of their own."""
        async with running(tmp_path) as server, echo_port() as port:
            proxy = await server.proxy("link", upstream_port=port)
            async with line_to(proxy.port) as line:
                for stream in STREAMS:
                    await proxy.add(latency(stream))
                assert await line.fastest_s() >= 2 * LEAST_S

    async def test_the_same_toxic_twice_is_two_toxics(self, tmp_path: Path) -> None:
        """Two faults of one kind may overlap on a link: each has a name of its own."""
        async with running(tmp_path) as server, echo_port() as port:
            proxy = await server.proxy("link", upstream_port=port)
            first, second = await proxy.add(latency("upstream")), await proxy.add(latency("upstream"))
            assert first != second
            await proxy.remove(first)
            async with line_to(proxy.port) as line:
                assert await line.fastest_s() >= LEAST_S

    async def test_a_toxic_that_is_not_there_cannot_be_removed(self, tmp_path: Path) -> None:
        """A drill that thinks that it healed what it never broke is told."""
        async with running(tmp_path) as server, echo_port() as port:
            proxy = await server.proxy("link", upstream_port=port)
            with pytest.raises(ToxiproxyFailedError, match="remove latency-upstream: NotFound"):
                await proxy.remove("latency-upstream")

    async def test_a_cut_link_drops_what_is_open_and_takes_nothing_new(self, tmp_path: Path) -> None:
        """A link that is down ends its connections; restored, it listens on the same port."""
        async with running(tmp_path) as server, echo_port() as port:
            proxy = await server.proxy("link", upstream_port=port)
            reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
            await proxy.cut()
            assert await reader.read() == b""
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOOPBACK, proxy.port)
            await proxy.restore()
            async with line_to(proxy.port) as line:
                assert await line.fastest_s() < LEAST_S


class TestServer:
    async def test_proxies_of_one_link_do_not_collide(self, tmp_path: Path) -> None:
        """Names are unique, ports are the kernel's."""
        async with running(tmp_path) as server, echo_port() as port:
            proxies = [await server.proxy("link", upstream_port=port) for _ in range(2)]
            assert len({proxy.port for proxy in proxies}) == 2

    async def test_takes_another_port_when_a_stranger_answers_on_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another drill's server looks the same from outside; ours is known by its mark."""
        async with running(tmp_path) as stranger:
            ports = iter([stranger.port, toxiproxy._free_port()])
            monkeypatch.setattr(toxiproxy, "_free_port", lambda: next(ports))
            async with running(tmp_path) as server, echo_port() as port:
                assert server.port != stranger.port
                await server.proxy("link", upstream_port=port)

    async def test_gives_up_when_every_port_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing of ours ever answers, the error shows what the server said."""
        monkeypatch.setattr(toxiproxy, "_START_WITHIN_S", 0.3)
        with socket.create_server((LOOPBACK, 0)) as taken:
            monkeypatch.setattr(toxiproxy, "_free_port", lambda: taken.getsockname()[1])
            with pytest.raises(ChildFailedError, match=r"(?s)any of 3 ports.*address already in use"):
                async with running(tmp_path):
                    pass

    async def test_a_server_that_died_is_named(self, tmp_path: Path) -> None:
        """The error is the server's end, not the connection that failed because of it."""
        async with running(tmp_path) as server:
            await server.child.stop(grace_s=5.0)
            with pytest.raises(ChildFailedError, match="toxiproxy-server ended with exit status 0"):
                await server.proxy("link", upstream_port=1)

    async def test_proxies_of_the_environment_are_not_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The way to a loopback address must not lead over another machine."""
        monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:9")
        monkeypatch.setenv("NO_PROXY", "")
        async with running(tmp_path) as server, echo_port() as port:
            await server.proxy("link", upstream_port=port)
