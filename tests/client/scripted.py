"""A daemon in memory that does what a test says, in virtual time: no socket, no wait, exact moments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosedError

from reference_daemon import wire
from reference_daemon.channel import DaemonUnreachableError
from reference_daemon.clock import Clock

Action = Callable[["MemoryLink", Any], None]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.Request).decode


class MemoryLink:
    """The client's end of a connection in memory; it stands in for a `ClientLink`."""

    def __init__(self, daemon: ScriptedDaemon) -> None:
        """Connect to `daemon`."""
        self._daemon = daemon
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.open = True
        self.transport = self

    def post(self, frame: bytes) -> None:
        """Send a frame; it arrives in the next turn of the loop."""
        if self.open:
            asyncio.get_running_loop().call_soon(self._daemon.take, self, _decode(frame))

    def flush(self) -> None:
        """Nothing waits here."""

    def answer(self, *frames: msgspec.Struct) -> None:
        """Let the client receive frames."""
        for frame in frames:
            self.answer_raw(_encode(frame))

    def answer_raw(self, data: bytes) -> None:
        """Let the client receive whatever this is."""
        self._incoming.put_nowait(data)

    def abort(self) -> None:
        """End the connection, after what was sent before."""
        self.open = False
        self._incoming.put_nowait(None)

    async def close(self) -> None:
        """End the connection."""
        self.abort()

    def hand_to(self, handle: Callable[[str], None]) -> None:
        """Leave every frame to `read`, as a link may."""

    async def read(self) -> bytes:
        """Return the next frame.

        Raises:
            ConnectionClosed: There will be none.
        """
        data = await self._incoming.get()
        if data is None:
            raise ConnectionClosedError(None, None)
        return data


@dataclass
class ScriptedDaemon:
    """Answers as the test says.

    Attributes:
        clock: Source of time.
        boot_id: Which start of it this is.
        hello_error: Code with which it refuses each hello.
        absent_for: Connects that it does not answer, from now on.
        on_call: What to do with each `call_tool`, in order; the last goes on for ever.
        on_attach: The same for `attach`.
        frames: Every frame but hello, and when it came.
        connects: When each connection was tried.
        links: Connections made, the open and the lost.
        arrived: Set whenever a frame comes; a test that waits for one clears it.
    """

    clock: Clock
    boot_id: str | None = "boot-1"
    hello_error: str | None = None
    absent_for: int = 0
    on_call: list[Action] = field(default_factory=list)
    on_attach: list[Action] = field(default_factory=list)
    frames: list[tuple[float, Any]] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    links: list[MemoryLink] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, url: str, clock: Clock) -> MemoryLink:
        """Stand in for the function of `channel` that connects."""
        self.connects.append(clock.now())
        if self.absent_for > 0:
            self.absent_for -= 1
            raise DaemonUnreachableError(url, "nothing listens there")
        link = MemoryLink(self)
        self.links.append(link)
        return link

    def take(self, link: MemoryLink, frame: Any) -> None:
        """Take a frame of the client's."""
        if isinstance(frame, wire.Hello):
            refused = self.hello_error
            link.answer(wire.HelloAck(ok=refused is None, session_id="s", boot_id=self.boot_id, error=refused))
            return
        self.frames.append((self.clock.now(), frame))
        self.arrived.set()
        if isinstance(frame, wire.CallTool):
            _next(self.on_call)(link, frame)
        elif isinstance(frame, wire.Attach):
            _next(self.on_attach)(link, frame)

    def sent(self, kind: type[Any]) -> list[Any]:
        """Return the frames of one kind that came."""
        return [frame for _, frame in self.frames if isinstance(frame, kind)]

    def moments(self, kind: type[Any]) -> list[float]:
        """Return when they came."""
        return [at for at, frame in self.frames if isinstance(frame, kind)]

    async def until(self, kind: type[Any], count: int = 1) -> None:
        """Wait until so many frames of a kind have come."""
        while len(self.sent(kind)) < count:
            self.arrived.clear()
            await self.arrived.wait()


def _next(actions: list[Action]) -> Action:
    assert actions, "the test did not expect this frame"
    return actions.pop(0) if len(actions) > 1 else actions[0]


def ack(link: MemoryLink, frame: wire.CallTool) -> None:
    """Admit the call, and do nothing more."""
    link.answer(wire.CallToolAck(frame.request_id, frame.name, frame.timeout, frame.trace_id or "", "hash"))


def silence(link: MemoryLink, frame: object) -> None:
    """Do nothing at all."""


def drop(link: MemoryLink, frame: object) -> None:
    """Lose the connection."""
    link.abort()


def ack_and_drop(link: MemoryLink, frame: wire.CallTool) -> None:
    """Admit the call, then lose the connection."""
    ack(link, frame)
    link.abort()


def answer(text: str = "done", *, replayed: bool = False) -> Action:
    """Answer with a result."""

    def act(link: MemoryLink, frame: wire.CallTool | wire.Attach) -> None:
        link.answer(wire.CallToolReply(frame.request_id, outputs=[wire.Output(text)], replayed=replayed, duration=1.5))

    return act


def refuse(code: str, **facts: Any) -> Action:
    """Answer with an error in a `call_tool_res`."""

    def act(link: MemoryLink, frame: wire.CallTool | wire.Attach) -> None:
        why = wire.Error(code, wire.ERROR_STATUS[code], "no", **facts)
        link.answer(wire.CallToolReply(frame.request_id, error=why))

    return act


def refuse_attach(code: str, **facts: Any) -> Action:
    """Answer an attach with an `error` frame."""

    def act(link: MemoryLink, frame: wire.Attach) -> None:
        link.answer(wire.ErrorFrame(code, wire.ERROR_STATUS[code], "no", request_id=frame.request_id, **facts))

    return act


def beat(*moments_s: float) -> Action:
    """Admit a call, and send heartbeats so many seconds later."""

    def act(link: MemoryLink, frame: wire.CallTool) -> None:
        ack(link, frame)
        loop = asyncio.get_running_loop()
        for delay_s in moments_s:
            progress = wire.Progress(frame.request_id, frame.name, 0.0, "", "step", delay_s, 0.0)
            loop.call_later(delay_s, link.answer, progress)

    return act


def both(*actions: Action) -> Action:
    """Do one after the other."""

    def act(link: MemoryLink, frame: Any) -> None:
        for action in actions:
            action(link, frame)

    return act


def after(delay_s: float, action: Action) -> Action:
    """Do it later."""

    def act(link: MemoryLink, frame: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, action, link, frame)

    return act


def raw(*documents: object) -> Action:
    """Send documents as they are: bytes as bytes, others as JSON."""

    def act(link: MemoryLink, frame: object) -> None:
        for document in documents:
            link.answer_raw(document if isinstance(document, bytes) else json.dumps(document).encode())

    return act


class Draws:
    """A generator of which the test knows every number; it stands in for `random.Random`."""

    def __init__(self, draws: Sequence[float]) -> None:
        """Give these numbers in order, the last for ever."""
        self._draws = list(draws)

    def random(self) -> float:
        """Return the next number."""
        return self._draws.pop(0) if len(self._draws) > 1 else self._draws[0]
