"""A daemon that says what it is told to: before it, whoever calls shows what is sent again, when, and as what."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chaos.probes.raw import Stopwatch

Frame = Mapping[str, Any]

CUT: Final = "cut"
"""Instead of frames: the connection is lost."""

Script = Callable[["Came"], Sequence[Frame] | str]
"""What comes after a request, given that request: frames, or `CUT`."""


@dataclass(frozen=True, slots=True)
class Came:
    """A request of a client.

    Attributes:
        frame: The frame.
        number: Its number among those of the same op, from 0.
        at: Wall seconds since the daemon was up.
        boot_id: Which start of the daemon it reached.
    """

    frame: Frame
    number: int
    at: float
    boot_id: str

    @property
    def op(self) -> str:
        """Its op."""
        return str(self.frame.get("op"))

    def ack(self) -> Frame:
        """Return an ack for it."""
        return self._of("call_tool_ack", name=self.frame.get("name"), timeout=60.0, accepted=True)

    def result(self, text: str = "done") -> Frame:
        """Return a result for it."""
        return self._of("call_tool_res", outputs=[{"type": "text", "text": text}], duration=0.1)

    def failed(self, code: str, status: int, **more: object) -> Frame:
        """Return a terminal error for it; an attach gets an error frame."""
        if self.op == "attach":
            return {"op": "error", "request_id": self.frame.get("request_id"), "code": code, "status": status, **more}
        return self._of("call_tool_res", error={"code": code, "status": status, "message": "", **more})

    def _of(self, op: str, **more: object) -> Frame:
        return {
            "op": op,
            "request_id": self.frame.get("request_id"),
            "trace_id": self.frame.get("trace_id") or "0" * 31 + "1",
            **more,
        }


@dataclass
class ScriptedDaemon:
    """Listens on loopback while its `async with` block runs.

    Attributes:
        script: What it says.
        came: Every call and attach that came, in order.
        boot_id: What it calls its present start.
        port: Where it listens.
    """

    script: Script
    came: list[Came] = field(default_factory=list)
    boot_id: str = "boot-1"
    port: int = field(default=0, init=False)
    _server: Server | None = field(default=None, init=False)
    _watch: Stopwatch = field(default_factory=Stopwatch, init=False)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await serve(self._talk, "127.0.0.1", 0, compression=None, ping_interval=None, close_timeout=0.2)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every connection."""
        assert self._server is not None  # noqa: S101 - __aenter__ ran
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def calls(self) -> list[Came]:
        """The calls that came."""
        return [each for each in self.came if each.op == "call_tool"]

    async def _talk(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()
            hello = {"op": "hello_ack", "ok": True, "session_id": "s", "boot_id": self.boot_id, "protocol": 1}
            await connection.send(json.dumps(hello))
            async for message in connection:
                frame = json.loads(message)
                if frame.get("op") not in {"call_tool", "attach"}:
                    continue
                number = sum(each.op == frame["op"] for each in self.came)
                self.came.append(came := Came(frame, number, self._watch.s(), self.boot_id))
                said = self.script(came)
                if said == CUT or isinstance(said, str):
                    connection.transport.abort()
                    return
                for answer in said:
                    await connection.send(json.dumps(answer))
            await asyncio.sleep(0)
