"""TCP in memory: listening ports, connections, two pipes each. What a real network may do, a plan asks for.

Bytes come in order or not at all. A pipe delays what is sent, may cut it into other pieces, stand still, or break. An
end that reads too slowly fills its pipe, and the other end is told to pause.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

WAY = Literal["up", "down"]
"""From client to daemon, or back."""

UP: Final[WAY] = "up"
DOWN: Final[WAY] = "down"

_KERNEL_BYTES: Final = 8 * 1024
"""Bytes that a socket takes before its sender's buffer fills: small, so that slow readers show with small frames."""

_BACKLOG_S: Final = 0.02
"""Seconds that a refused connection takes."""


class _End:
    """The end of what is sent: after it comes nothing more."""


class _Reset:
    """The connection broke."""


Piece = bytes | _End | _Reset


@dataclass(slots=True)
class Link:
    """What the network does to the connections of one client.

    Attributes:
        delay_s: Each piece takes a part of this.
        slices: Whether pieces are cut into smaller ones.
        still_until: Moment until which nothing passes.
        cuts: Per way: after how many more pieces its connection breaks, and whether a part of the last one passes.
    """

    delay_s: float = 0.0
    slices: bool = False
    still_until: float = -math.inf
    cuts: dict[str, tuple[int, bool]] = field(default_factory=dict)


class Transport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: "Network", protocol: Any, body: str, peer: str) -> None:
        """Carry the bytes of `protocol`, which belongs to `body`."""
        super().__init__({"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 8765), "socket": None})
        self.network, self.protocol, self.body, self.peer = network, protocol, body, peer
        self.context = copy_context()
        self.out: Pipe
        self.inward: Pipe
        self.lost = False
        self._closing = self._reading_paused = self._writing_paused = False
        self._high, self._low = 64 * 1024, 16 * 1024

    # --- asked by the protocol ---------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send bytes; on a connection that is gone, nothing."""
        if self._closing or not data:
            return
        self.out.push(bytes(data))
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return that one way can be closed alone."""
        return True

    def write_eof(self) -> None:
        """Close the way out."""
        if not self._closing:
            self.out.push(_End())

    def close(self) -> None:
        """Close both ways once everything is sent."""
        if self._closing:
            return
        self._closing = True
        self.out.push(_End())
        if not self.get_write_buffer_size():
            self._lose(None)

    def abort(self) -> None:
        """Close at once; what was not delivered is lost."""
        if self.lost:
            return
        self._closing = True
        self.out.clear()
        self.out.push(_Reset())
        self._lose(None)

    def is_closing(self) -> bool:
        """Return whether it is closed, or about to be."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what comes in the pipe."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Take it again."""
        if self._reading_paused:
            self._reading_paused = False
            self.inward.wake()

    def is_reading(self) -> bool:
        """Return whether what comes is taken."""
        return not self._reading_paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how much may wait before the protocol is told to pause."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here: those that the sockets do not hold."""
        return max(0, self.out.waiting_bytes - _KERNEL_BYTES)

    def set_protocol(self, protocol: Any) -> None:
        """Hand what comes to another protocol."""
        self.protocol = protocol

    def get_protocol(self) -> Any:
        """Return who gets what comes."""
        return self.protocol

    # --- asked by the pipes ------------------------------------------------------------------------------------------

    def take(self, piece: Piece) -> None:
        """Take a piece that has arrived."""
        if isinstance(piece, _Reset):
            self._closing = True
            self._lose(ConnectionResetError("reset by peer"))
        elif self._closing:
            if isinstance(piece, bytes):  # a closed socket answers data with a reset
                self.out.push(_Reset())
        elif isinstance(piece, bytes):
            self.protocol.data_received(piece)
        elif not self.protocol.eof_received():
            self.close()

    def drained(self) -> None:
        """Note that the pipe has less in it."""
        size = self.get_write_buffer_size()
        if self._writing_paused and size <= self._low and not self.lost:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self._closing and not size:
            self._lose(None)

    def break_(self) -> None:
        """Break, as seen from this end."""
        self._closing = True
        self._lose(ConnectionResetError("the network broke"))

    def _lose(self, why: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.network.loop.call_soon(self.protocol.connection_lost, why, context=self.context)


class Pipe:
    """One way of a connection."""

    def __init__(self, network: "Network", sender: Transport, receiver: Transport, link: Link, way: str) -> None:
        """Carry pieces from `sender` to `receiver`."""
        self._network, self.sender, self._receiver, self._link, self._way = network, sender, receiver, link, way
        self._pieces: deque[tuple[float, Piece]] = deque()
        self._last_due = 0.0
        self._awake = False
        self.waiting_bytes = 0
        self.vanishes = False

    def push(self, piece: Piece) -> None:
        """Send a piece."""
        cut = self._link.cuts.get(self._way)
        if cut is not None and isinstance(piece, bytes):
            if cut[0] <= 0:
                del self._link.cuts[self._way]
                if cut[1]:
                    self._put(piece[: max(1, len(piece) // 2)])
                self._network.cut(self.sender, self._receiver)
                return
            self._link.cuts[self._way] = cut[0] - 1, cut[1]
        self._put(piece)

    def _put(self, piece: Piece) -> None:
        if self.vanishes:
            return
        chance, now = self._network.chance, self._network.loop.time()
        if self._link.slices and isinstance(piece, bytes) and len(piece) > 1 and chance.random() < 0.5:
            at = 1 + int(chance.random() * (len(piece) - 1))  # one draw, however long the piece is
            self._put_one(piece[:at], now)
            piece = piece[at:]
        self._put_one(piece, now)
        self.wake()

    def _put_one(self, piece: Piece, now: float) -> None:
        delay_s = self._link.delay_s * self._network.chance.random() if self._link.delay_s else 0.0
        self._last_due = max(self._last_due, now + delay_s)
        self._pieces.append((self._last_due, piece))
        if isinstance(piece, bytes):
            self.waiting_bytes += len(piece)

    def clear(self) -> None:
        """Lose what is under way."""
        self._pieces.clear()
        self.waiting_bytes = 0

    def wake(self) -> None:
        """See to it that what is due is delivered."""
        if self._awake or not self._pieces:
            return
        self._awake = True
        loop, due = self._network.loop, max(self._pieces[0][0], self._link.still_until)
        if due <= loop.time():
            loop.call_soon(self._deliver, context=self._receiver.context)
        else:
            loop.call_at(due, self._deliver, context=self._receiver.context)

    def _deliver(self) -> None:
        self._awake = False
        now = self._network.loop.time()
        receiver = self._receiver
        while self._pieces and max(self._pieces[0][0], self._link.still_until) <= now:
            if not receiver.is_reading() and not receiver.is_closing():
                break
            _, piece = self._pieces.popleft()
            if isinstance(piece, bytes):
                self.waiting_bytes -= len(piece)
            if receiver.lost:
                continue
            receiver.take(piece)
        self.sender.drained()
        if receiver.is_reading() or receiver.is_closing():
            self.wake()


class Server:
    """A listening port, as asyncio shows one."""

    def __init__(self, network: "Network", factory: Callable[[], Any], port: int, body: str) -> None:
        """Listen for `body`."""
        self.network, self.factory, self.port, self.body = network, factory, port, body
        self.context = copy_context()

    @property
    def sockets(self) -> tuple["Server", ...]:
        """Return something that knows its address."""
        return (self,)

    family = 2

    def getsockname(self) -> tuple[str, int]:
        """Return the address."""
        return "127.0.0.1", self.port

    def is_serving(self) -> bool:
        """Return whether it listens."""
        return self.network.servers.get(self.port) is self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self.network.loop

    def close(self) -> None:
        """Listen no more."""
        if self.is_serving():
            del self.network.servers[self.port]

    async def wait_closed(self) -> None:
        """Return at once: who listens no more has nothing open of its own."""


class Network:
    """All ports and connections of a run.

    Attributes:
        servers: Who listens, by port.
        chance: Draws delays and slices.
        links: What the network does to each client's connections, by its label.
    """

    def __init__(self, chance: Random) -> None:
        """Start with nobody on it."""
        self.chance = chance
        self.servers: dict[int, Server] = {}
        self.links: dict[str, Link] = {}
        self.transports: list[Transport] = []
        self.loop: asyncio.AbstractEventLoop
        self._who: Callable[[], str]
        self._ports = 8765

    def bind(self, loop: asyncio.AbstractEventLoop, who: Callable[[], str]) -> None:
        """Run on `loop`; `who` says whose code runs."""
        self.loop, self._who = loop, who

    def listen(self, factory: Callable[[], Any], port: int) -> Server:
        """Listen on a port; 0 for a free one.

        Raises:
            OSError: Somebody else does.
        """
        if port in self.servers:
            raise OSError(98, "address in use")
        if not port:
            self._ports += 1
            port = self._ports
        server = Server(self, factory, port, self._who())
        self.servers[port] = server
        return server

    async def connect(self, factory: Callable[[], Any], port: int) -> tuple[Transport, Any]:
        """Connect, as the body whose code runs.

        Raises:
            ConnectionRefusedError: Nobody listens.
        """
        label = self._who()
        link = self.links.setdefault(label, Link())
        still_s = max(0.0, min(link.still_until - self.loop.time(), 60.0))
        await asyncio.sleep(link.delay_s * self.chance.random() + still_s)
        server = self.servers.get(port)
        if server is None:
            await asyncio.sleep(_BACKLOG_S)
            raise ConnectionRefusedError(111, "connection refused")
        protocol = factory()
        near = Transport(self, protocol, label, server.body)
        far = Transport(self, server.context.run(server.factory), server.body, label)
        far.context = server.context.copy()
        near.out = far.inward = Pipe(self, near, far, link, UP)
        far.out = near.inward = Pipe(self, far, near, link, DOWN)
        self.transports += [near, far]
        far.context.run(far.protocol.connection_made, far)
        protocol.connection_made(near)
        return near, protocol

    # --- faults ------------------------------------------------------------------------------------------------------

    def of(self, label: str) -> list[Transport]:
        """Return a client's ends of its connections that are open."""
        return [end for end in self.transports if end.body == label and not end.lost]

    def cut(self, one: Transport, other: Transport) -> None:
        """Break a connection; what is under way towards either end still comes."""
        for end in (one, other):
            end.out.push(_Reset())
            end.out.vanishes = True

    def cut_all(self, label: str) -> None:
        """Break every connection of a client; what is under way is lost."""
        for end in self.of(label):
            for pipe in (end.out, end.inward):
                pipe.clear()
            other = end.inward.sender
            end.break_()
            other.break_()

    def cut_half(self, label: str, way: str) -> None:
        """Let the daemon's end (`up`) or the client's (`down`) see the connection break; the other sees nothing."""
        for end in self.of(label):
            other = end.inward.sender
            for pipe in (end.out, end.inward):
                pipe.clear()
                pipe.vanishes = True
            (other if way == UP else end).break_()

    def stand_still(self, label: str, until: float) -> None:
        """Let nothing of a client's pass until then."""
        link = self.links.setdefault(label, Link())
        link.still_until = max(link.still_until, until)

    def break_all(self, body: str) -> None:
        """Break the connections of a body that has died; its port is free."""
        for port, server in list(self.servers.items()):
            if server.body == body:
                del self.servers[port]
        for end in self.transports:
            if end.body == body and not end.lost:
                end.out.push(_Reset())
                end.out.vanishes = True
                end.inward.vanishes = True
                end.inward.clear()
                end.break_()

    def forget(self) -> None:
        """Let go of everything."""
        self.transports.clear()
        self.servers.clear()
