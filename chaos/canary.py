"""Trips over a proxied link: how a drill sees that a fault bit, and that it healed.

A trip is one HTTP request over a TCP connection through the proxy: the stub provider answers GET, and so does the
daemon, with 426. It takes no slot and is no execution. All figures are wall seconds.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Final, Literal

_CHUNK: Final = 65_536
_LINE: Final = 4_000
"""Characters of one padding header: servers take lines of at most 8 KiB."""

End = Literal["eof", "reset", "refused", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """What became of one trip.

    Attributes:
        end: `eof` after an answer or without one, `reset`, `refused`, or `silent`: nothing came in time.
        first_s: Until the first byte of the answer; None if none came.
        last_s: Until its last byte.
        end_s: Until the end of the connection, or of the patience.
        received: Bytes of the answer.
        pieces: Reads that they came in.
    """

    end: End
    first_s: float | None
    last_s: float | None
    end_s: float
    received: int
    pieces: int

    @property
    def answered(self) -> bool:
        """Whether anything came back."""
        return self.first_s is not None


@dataclass(frozen=True, slots=True)
class Link:
    """A proxied link.

    Attributes:
        port: Loopback port of the proxy.
        path: Path that the server behind it answers.
    """

    port: int
    path: str

    async def trip(self, *, patience_s: float, padding: int = 0) -> Trip:
        """Make one trip.

        Args:
            patience_s: Wall seconds after which it is given up.
            padding: Bytes that the request is made longer by.
        """
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(patience_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except TimeoutError:
            return _nothing("silent", began_at)
        except OSError:
            return _nothing("refused", began_at)
        try:
            return await self._ask(reader, writer, began_at, patience_s, padding)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        began_at: float,
        patience_s: float,
        padding: int,
    ) -> Trip:
        first_s = last_s = None
        received = pieces = 0
        end: End = "silent"
        try:
            async with asyncio.timeout(patience_s):
                writer.write(self._request(padding))
                while chunk := await reader.read(_CHUNK):
                    last_s = time.monotonic() - began_at
                    first_s = last_s if first_s is None else first_s
                    received, pieces = received + len(chunk), pieces + 1
            end = "eof"
        except TimeoutError:
            pass
        except OSError:
            end = "reset"
        end_s = time.monotonic() - began_at
        return Trip(end=end, first_s=first_s, last_s=last_s, end_s=end_s, received=received, pieces=pieces)

    def _request(self, padding: int) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        while padding > 0:
            lines.append(f"X-Padding: {'x' * min(padding, _LINE)}")
            padding -= _LINE
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _nothing(end: End, began_at: float) -> Trip:
    return Trip(end=end, first_s=None, last_s=None, end_s=time.monotonic() - began_at, received=0, pieces=0)
