"""A small web site on this machine, for the tests of fetching."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

# Answers of the site by path: status line, headers, body.
Answer = tuple[str, Mapping[str, str], bytes]

TEXT = {"content-type": "text/plain"}


@dataclass
class Site:
    """A site whose pages a test sets.

    Attributes:
        port: Where it listens.
        pages: Answers by path.
        heads: Heads of the requests that came.
        held: Paths whose answers wait for `release`.
        release: Lets held answers go.
        asked: Set when a held path was asked for.
        left: Set when a client went away before its held answer.
    """

    port: int = 0
    pages: dict[str, Answer] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Return the URL of a page."""
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            path = head.split()[1]
            if path in self.held and not await self._may_go(reader):
                return
            status, headers, body = self.pages.get(path, ("404 Not Found", TEXT, b"missing"))
            lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
            await writer.drain()

    async def _may_go(self, reader: asyncio.StreamReader) -> bool:
        """Wait for `release`; False if the client goes away first."""
        self.asked.set()
        going, leaving = asyncio.create_task(self.release.wait()), asyncio.create_task(reader.read(1))
        await asyncio.wait({going, leaving}, return_when=asyncio.FIRST_COMPLETED)
        released = going.done()
        for task in (going, leaving):
            task.cancel()
        await asyncio.wait({going, leaving})
        if not released:
            self.left.set()
        return released


@contextlib.asynccontextmanager
async def a_site() -> AsyncIterator[Site]:
    """Serve a site while the block runs."""
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    async with server:
        site.port = server.sockets[0].getsockname()[1]
        yield site
