"""Every fault of the scenario language, on a real Toxiproxy server: it bites, it heals, and none stays."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.canary import Link
from chaos.faults import Injector, Targets, names
from chaos.processes import Children
from chaos.toxiproxy import LOOPBACK, Proxy, start_server
from chaos.toxiproxy_server import find_server
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, FaultMove
from scenarios.model_faults import Fault

pytestmark = pytest.mark.drill

CLOCK = Clock(0.1)
LINK = "daemon-provider:GLM"
BODY = b"x" * 3000
LATENCY = {"latency": {"latency": 1, "jitter": 0.1}}  # 100 ± 10 ms on the wall; loopback takes less than one


def silent(text: str) -> None:
    """Say nothing."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one HTTP request, and close."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def proxied(folder: Path) -> AsyncIterator[Proxy]:
    """Serve HTTP behind a proxy."""
    async with Children(say=silent) as children:
        server = await start_server(
            find_server().path, children, environment=os.environ, folder=folder, log=folder / "log"
        )
        async with await asyncio.start_server(answer, LOOPBACK, 0, limit=1_000_000) as http:
            yield await server.proxy("link", upstream_port=http.sockets[0].getsockname()[1])


def injector(
    faults: list[Fault], proxy: Proxy | None, *, note: Callable[[AnyEvent], None] = lambda event: None, **more: Any
) -> Injector:
    """Return an injector that starts 3 s before its faults' moment 0."""
    proxies = {} if proxy is None else {LINK: proxy, "client-daemon": proxy}
    targets = Targets(**({"proxies": proxies, "daemon": None, "provider_admin": None, "proxied_ws_url": ""} | more))
    return Injector(targets, faults, clock=CLOCK, start_at=CLOCK.now() + 3.0, note=note, say=silent)


def a_fault(toxic: Any, **changes: Any) -> Fault:
    """Return a fault of half a wall second on the provider's link."""
    return Fault.model_validate({"at": 0, "for": 5, "link": LINK, "toxic": toxic, **changes})


@pytest.mark.parametrize(
    "fault",
    [
        a_fault(LATENCY, stream="upstream"),
        a_fault(LATENCY, stream="downstream"),
        a_fault(LATENCY),
        a_fault({"bandwidth": {"rate": 1}}, stream="upstream"),
        a_fault({"bandwidth": {"rate": 1}}, stream="downstream"),
        a_fault({"slow_close": {"delay": 2}}, stream="downstream"),
        a_fault({"timeout": {}}),
        a_fault({"timeout": {"timeout": 1}}, stream="downstream"),
        a_fault({"timeout": {}}, stream="upstream"),
        a_fault({"reset_peer": {}}, stream="upstream"),
        a_fault({"reset_peer": {}}, stream="downstream"),
        a_fault({"slicer": {"average_size": 50, "size_variation": 10, "delay": 0.01}}, stream="upstream"),
        a_fault({"slicer": {"average_size": 50, "size_variation": 10, "delay": 0.01}}, stream="downstream"),
        a_fault({"limit_data": {"bytes": 100}}, stream="upstream"),
        a_fault({"limit_data": {"bytes": 100}}, stream="downstream"),
        a_fault({"timeout": {}}, toxicity=0.5),
        a_fault("down"),
    ],
    ids=lambda fault: f"{fault.title}-{fault.stream}",
)
async def test_a_fault_on_a_link_bites_and_heals(tmp_path: Path, fault: Fault) -> None:
    """What is seen on the link shows the fault while it is on, and not afterwards."""
    moves: list[AnyEvent] = []
    async with proxied(tmp_path) as proxy:
        running = injector([fault], proxy, note=moves.append)
        await running.run()
    (window,) = running.windows
    assert window.proof is not None
    assert (window.proof.bit, window.proof.healed) == (True, True), window.proof.evidence
    assert [move.on for move in moves if isinstance(move, FaultMove)] == [True, False]


async def test_cancelled_everything_is_removed(tmp_path: Path) -> None:
    """Whoever cancels the injector gets a link as it was, whatever was on it, and the cancellation."""
    on = asyncio.Event()
    faults = [a_fault(LATENCY, **{"for": 500}), a_fault("down", **{"for": 500}, at=1)]

    def note(event: AnyEvent) -> None:
        if isinstance(event, FaultMove) and event.name.startswith("down"):
            on.set()  # while the server is still being asked to take the link down

    async with proxied(tmp_path) as proxy:
        running = injector(faults, proxy, note=note)
        task = asyncio.ensure_future(running.run())
        await on.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        trip = await Link(proxy.port, "/").trip(patience_s=2.0)
        assert trip.first_s is not None
        assert trip.first_s < 0.09  # what the latency would take at least
    assert running.active() == ()


async def test_a_fault_that_cannot_be_put_on_did_not_bite() -> None:
    """An unknown link, a foreign daemon, a missing stub: each ends with `bit` False and the reason."""
    faults = [
        a_fault("down"),
        Fault.model_validate({"at": 0, "signal": "SIGKILL"}),
        Fault.model_validate({"at": 0, "for": 1, "provider": {"name": "GLM", "mode": "hang"}}),
    ]
    running = injector(faults, None)
    await running.run()
    proofs = {window.link: window.proof for window in running.windows}
    assert set(proofs) == {LINK, "daemon", "provider:GLM"}
    assert all(proof is not None and proof.bit is False for proof in proofs.values())


async def test_a_latency_of_nothing_does_not_bite(tmp_path: Path) -> None:
    """A toxic that changes nothing is not proven by a link that works."""
    async with proxied(tmp_path) as proxy:
        running = injector([a_fault({"latency": {"latency": 0}})], proxy)
        await running.run()
    assert running.windows[0].proof is not None
    assert running.windows[0].proof.bit is False


class FakeDaemon:
    """A daemon whose process is a note of what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pid: int | None = 1

    def signal(self, name: str) -> None:
        """Note the signal."""
        self.told.append(name)

    async def wait_ended(self) -> int:
        """End as SIGKILL ends."""
        return -9

    async def start_again(self) -> None:
        """Note the start."""
        self.told.append("start")


async def test_a_killed_daemon_is_started_again(tmp_path: Path) -> None:
    """SIGKILL shows in the exit status; after the restart the link answers."""
    daemon = FakeDaemon()
    async with proxied(tmp_path) as proxy:
        running = injector([Fault.model_validate({"at": 0, "for": 1, "signal": "SIGKILL"})], proxy, daemon=daemon)
        await running.run()
    assert daemon.told == ["SIGKILL", "start"]
    assert running.windows[0].proof is not None
    assert (running.windows[0].proof.bit, running.windows[0].proof.healed) == (True, True)


async def test_a_stopped_daemon_goes_on_after_a_cancellation(tmp_path: Path) -> None:
    """SIGSTOP is followed by SIGCONT when the run is cancelled in between."""
    daemon = FakeDaemon()
    on = asyncio.Event()
    fault = Fault.model_validate({"at": 0, "for": 500, "signal": "SIGSTOP"})
    async with proxied(tmp_path) as proxy:
        running = injector([fault], proxy, daemon=daemon, note=lambda event: on.set())
        task = asyncio.ensure_future(running.run())
        await on.wait()
        await asyncio.wait([task], timeout=0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert daemon.told == ["SIGSTOP", "SIGCONT"]


def test_repeated_titles_are_numbered() -> None:
    """Names are unique within a run."""
    assert names([a_fault("down")] * 3) == [f"down-daemon-provider-glm{end}" for end in ("", "-2", "-3")]
