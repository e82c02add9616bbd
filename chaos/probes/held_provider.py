"""A provider that answers when it is told to, and sees who comes and who goes: the truth about what a daemon runs.

It speaks just enough HTTP for a daemon's client, one request a connection. Nothing in it takes time, so a question that
needs a call to run for a while holds its answer back, and lets go of it when it has seen enough.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from chaos.probes.raw import BOUND_S

_LONGEST_HEAD: Final = 64 * 1024
_LONGEST_BODY: Final = 8 * 1024 * 1024
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Headers besides the usual ones.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def completion(text: str) -> Reply:
    """Return the answer of a model."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = {"id": "held", "object": "chat.completion", "model": "held", "choices": [choice], "usage": usage}
    return Reply(_OK, json.dumps(whole).encode())


@dataclass(slots=True, eq=False)
class Asked:
    """One request that came.

    Attributes:
        provider: Name of the provider that was asked, from the path.
        trace_id: Trace that it names; None if it names none.
        text: Its body.
        gone: Whether its client went away before it was answered.
    """

    provider: str
    trace_id: str | None
    text: str
    gone: bool = False
    _answer: "asyncio.Future[Reply]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def answer(self, reply: Reply | None = None) -> None:
        """Let go of it; a request that is over is left alone."""
        if not self._answer.done():
            self._answer.set_result(completion("held, and let go") if reply is None else reply)

    async def answered(self) -> Reply:
        """Wait for the answer."""
        return await asyncio.shield(self._answer)


class HeldProvider:
    """Providers by path, on a port of loopback, while its `async with` block runs.

    Attributes:
        asked: Every request that came, in order.
        running: Those that wait for their answer.
        most: The most that ever waited at once, since it was last set to 0.
        at_once: Answers every request at once, where it is set.
        port: Where it listens.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.asked: list[Asked] = []
        self.running: list[Asked] = []
        self.most = 0
        self.at_once: Callable[[Asked], Reply] | None = None
        self.port = 0
        self._changed = asyncio.Event()
        self._talks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=_LONGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cut every connection."""
        assert self._server is not None  # noqa: S101 - __aenter__ ran
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)

    def url(self, provider: str) -> str:
        """Return the base URL of a provider."""
        return f"http://127.0.0.1:{self.port}/{provider}/v1"

    async def until(self, seen: Callable[[], bool], *, bound_s: float = BOUND_S) -> bool:
        """Wait until something is so; return whether it was within the bound, in wall seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound_s):
                while not seen():
                    self._changed.clear()
                    await self._changed.wait()
        return seen()

    async def until_running(self, count: int, *, bound_s: float = BOUND_S) -> bool:
        """Wait until so many requests wait for their answer."""
        return await self.until(lambda: len(self.running) >= count, bound_s=bound_s)

    def held_for(self, words: str) -> Asked | None:
        """Return the first that waits whose body has these words; requests come in any order."""
        return next((asked for asked in self.running if words in asked.text), None)

    def let_go(self, reply: Reply | None = None) -> None:
        """Answer everything that waits."""
        for asked in list(self.running):
            asked.answer(reply)

    def open_up(self) -> None:
        """Answer everything that waits, and whatever comes from now on."""
        self.at_once = lambda _: completion("at once")
        self.let_go()

    # --- one request -------------------------------------------------------------------------------------------------

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        try:
            asked = await _read(reader)
            if asked is not None:
                await self._serve(asked, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever sends no request gets no answer
        finally:
            writer.close()

    async def _serve(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(asked)
        self.running.append(asked)
        self.most = max(self.most, len(self.running))
        self._changed.set()
        if self.at_once is not None:
            asked.answer(self.at_once(asked))
        answered, gone = asyncio.create_task(asked.answered()), asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
            asked.gone = not answered.done()
        finally:
            self.running.remove(asked)
            self._changed.set()
            for task in (answered, gone):
                task.cancel()
            await asyncio.wait({answered, gone})
            if not gone.cancelled():
                gone.exception()  # a reset is a way to go, too
        if not asked.gone:
            await _write(writer, answered.result())


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    """Read a request; None if it is none that a model is asked by."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    method, path, _ = request.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if method != "POST" or length > _LONGEST_BODY:
        return None
    body = await reader.readexactly(length)
    trace = headers.get("traceparent", "").split("-")
    return Asked(path.split("/")[1], trace[1] if len(trace) > 1 else None, body.decode("utf-8", "replace"))


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(reply.body)),
        "Connection": "close",
        **reply.headers,
    }
    head = [f"HTTP/1.1 {reply.status} Held", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    writer.write("\r\n".join(head).encode("latin-1") + reply.body)
    await writer.drain()
