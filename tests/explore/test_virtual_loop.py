"""The loop and the network that exploring stands on."""

import asyncio
from random import Random
from typing import Any

import pytest

from tests.explore.network import Network
from tests.explore.virtual_loop import StuckError, VirtualLoop, context_of


class Talker(asyncio.Protocol):
    """A protocol that notes what happens to it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Note bytes."""
        self.seen.append(data)

    def pause_writing(self) -> None:
        """Note it."""
        self.seen.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.seen.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why."""
        self.seen.append(exc if exc is None else type(exc).__name__)


def a_loop(seed: int = 0, *, wild: bool = False) -> VirtualLoop:
    """Return a loop with nobody on it."""
    return VirtualLoop(Random(seed), Network(Random(seed)), wild=wild)


def run(loop: VirtualLoop, work: Any) -> Any:
    """Run work as a client, and leave nothing behind."""
    try:
        return loop.run_until_complete(loop.create_task(work, context=context_of("client")))
    finally:
        loop.end_everything()


async def two_ends(loop: VirtualLoop) -> tuple[Talker, Talker]:
    """Return the two ends of a connection."""
    far: list[Talker] = []

    def answer() -> Talker:
        far.append(Talker())
        return far[0]

    context = context_of("daemon")
    await asyncio.wait([loop.create_task(loop.create_server(answer, "127.0.0.1", 1), context=context)])
    _, near = await loop.create_connection(Talker, "127.0.0.1", 1)
    return near, far[0]


class TestTime:
    def test_an_hour_takes_no_time(self) -> None:
        """Time jumps to the next timer, and stands there to the tick."""
        loop = a_loop()

        async def sleep() -> float:
            await asyncio.sleep(3600.0)
            return loop.time()

        assert run(loop, sleep()) == 3600.0

    def test_waiting_for_nothing_is_an_error(self) -> None:
        """A run in which nothing can happen any more says so instead of hanging."""
        loop = a_loop()
        with pytest.raises(StuckError):
            run(loop, asyncio.Event().wait())

    @pytest.mark.parametrize("wild", [False, True])
    def test_a_seed_decides_who_comes_first(self, wild: bool) -> None:
        """What is due at one moment comes in an order that the seed draws, and always the same one."""

        def order(seed: int) -> list[int]:
            loop, came = a_loop(seed, wild=wild), list[int]()

            async def work() -> None:
                for number in range(6):
                    loop.call_at(1.0, came.append, number)
                await asyncio.sleep(2.0)

            run(loop, work())
            return came

        assert order(1) == order(1)
        assert len({tuple(order(seed)) for seed in range(10)}) > 5


class TestKill:
    def test_nothing_of_the_dead_runs(self) -> None:
        """Of a body that is killed no callback runs, not even a `finally`; its connections break."""
        loop = a_loop()
        ran: list[str] = []

        async def victim() -> None:
            try:
                await asyncio.sleep(5.0)
                ran.append("on")
            finally:
                ran.append("finally")

        async def work() -> tuple[list[str], list[Any]]:
            near, _ = await two_ends(loop)
            loop.create_task(victim(), context=context_of("daemon"))
            await asyncio.sleep(1.0)
            loop.kill("daemon")
            await asyncio.sleep(9.0)
            return list(ran), near.seen

        assert run(loop, work()) == ([], ["ConnectionResetError"])


class TestNetwork:
    def test_bytes_come_in_order(self) -> None:
        """However long each piece takes and however it is sliced, bytes come in the order in which they were sent."""
        loop = a_loop()

        async def work() -> bytes:
            near, far = await two_ends(loop)
            loop.network.links["client"].delay_s, loop.network.links["client"].slices = 0.5, True
            for number in range(50):
                near.transport.write(b"%02d," % number)
            await asyncio.sleep(1.0)
            return b"".join(far.seen)

        assert run(loop, work()) == b"".join(b"%02d," % number for number in range(50))

    def test_a_slow_reader_pauses_the_writer(self) -> None:
        """Who reads nothing fills the pipe, and its writer is told to pause, and to go on once it reads again."""
        loop = a_loop()

        async def work() -> tuple[list[Any], int]:
            near, far = await two_ends(loop)
            near.transport.pause_reading()
            for _ in range(100):
                far.transport.write(b"x" * 1000)
            await asyncio.sleep(1.0)
            paused = list(far.seen)
            near.transport.resume_reading()
            await asyncio.sleep(1.0)
            return [paused, far.seen], sum(map(len, near.seen))

        assert run(loop, work()) == ([["pause"], ["pause", "resume"]], 100_000)

    def test_a_cut_lets_half_a_piece_pass(self) -> None:
        """A cut at a piece breaks the connection for both, after the pieces before it and half of that one."""
        loop = a_loop()

        async def work() -> tuple[list[Any], list[Any]]:
            near, far = await two_ends(loop)
            loop.network.links["client"].cuts["up"] = 1, True
            for piece in (b"first", b"half", b"never"):
                near.transport.write(piece)
            await asyncio.sleep(1.0)
            return near.seen, far.seen

        assert run(loop, work()) == (["ConnectionResetError"], [b"first", b"ha", "ConnectionResetError"])

    def test_a_half_cut_is_seen_by_one_end(self) -> None:
        """Where packets vanish, one end can see the connection break and the other nothing."""
        loop = a_loop()

        async def work() -> tuple[list[Any], list[Any]]:
            near, far = await two_ends(loop)
            loop.network.cut_half("client", "up")
            near.transport.write(b"into the void")
            await asyncio.sleep(1.0)
            return near.seen, far.seen

        assert run(loop, work()) == ([], ["ConnectionResetError"])

    def test_nobody_listens(self) -> None:
        """Without a daemon a connection is refused."""
        loop = a_loop()
        with pytest.raises(ConnectionRefusedError):
            run(loop, loop.create_connection(Talker, "127.0.0.1", 9))
