"""WebSocket connections on which nobody waits for the peer to read, and no task wakes for each message.

`post` queues a frame and returns; what one turn of the event loop queued is written at its end, in one go. While the
peer reads slowly, frames wait here, up to a bound in bytes; a peer that lets it overflow is cut off. So a slow client
holds memory that is counted, and never a call, a slot or another client.

It builds on the documented ways to extend `websockets`: subclasses of its connections, and the Sans-I/O protocol for
framing.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from struct import pack
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event, State
from websockets.typing import Data

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes that may wait for a peer to read them: the largest result, and as much again for everything else."""

_TEXT_IN_ONE: Final = 0x81
_SIZE_16_BITS: Final = 126
_SIZE_64_BITS: Final = 127
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_MASKS_AT_ONCE: Final = 64
"""Masks that a client's connection draws in one go: nobody can guess them, and each draw is a call of the system."""


class Posting(Connection):
    """A connection with an outgoing queue, whose messages can be had as they come, without a task that wakes for each.

    Only what is usual goes that way: a text in one frame. The rest, and what comes before that was read, is left to
    `read`, so that it stays in order, is put together from its fragments, and is refused if it is no UTF-8.

    Attributes:
        overflowed: Whether it was cut off because too much waited.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what `websockets` hands to a connection."""
        super().__init__(*args, **kwargs)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._scheduled = False
        self._handle: Callable[[str], None] | None = None
        self._raised: Exception | None = None
        self._unread = 0
        self.overflowed = False

    @property
    def open(self) -> bool:
        """Whether the peer is still there, as far as is known."""
        return self.protocol.state is State.OPEN

    @property
    def congested(self) -> bool:
        """Whether the peer is slow to read: what can be left out should be."""
        return self.paused

    def post(self, frame: bytes) -> None:
        """Send a text frame when the peer can take it; on a connection that is closed, do nothing."""
        if self.protocol.state is not State.OPEN:
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self.paused:
            self._cut_off_if_too_much_waits()
        elif not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._turn_ended)

    def hand_to(self, handle: Callable[[str], None] | None) -> None:
        """Hand the usual messages to `handle`; with None, `read` has them all."""
        self._handle = handle

    async def read(self) -> Data:
        """Return the next message that was left, or raise what `handle` raised.

        Raises:
            ConnectionClosed: There will be none.
        """
        message = await self.recv()
        self._unread -= 1
        if self._raised is not None:
            raise self._raised
        return message

    def process_event(self, event: Event) -> None:
        """Take a frame; or, before the first one, the request that opens the connection."""
        if isinstance(event, Frame) and event.fin and event.opcode in DATA_OPCODES:
            if self._handle is not None and event.opcode is Opcode.TEXT and not self._unread:
                try:
                    self._handle(str(event.data, "utf-8"))
                except Exception as raised:  # noqa: BLE001 - told to the task that reads, which ends the connection
                    self._handle, self._raised = None, raised
                else:
                    return
            self._unread += 1
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent; the answers to its pings wait like everything else, under the same bound."""
        super().data_received(data)
        if self.paused:
            self._cut_off_if_too_much_waits()

    def resume_writing(self) -> None:
        """Go on with what waits; called when the peer has read enough."""
        super().resume_writing()
        self._write_waiting()

    async def drain(self) -> None:
        """Do not wait for the peer to read.

        The library would, without a bound, before it waits for the answer to a ping or to a close: a peer that reads
        nothing would outlive its pings, and the daemon.
        """

    def start_keepalive(self) -> None:
        """Begin to ping; not on a connection that was lost as it opened, where a ping would be logged as an error."""
        if self.open:
            super().start_keepalive()

    def flush(self) -> None:
        """Hand everything that waits to the transport now, before a close."""
        self._write_waiting(all_of_it=True)

    def _cut_off_if_too_much_waits(self) -> None:
        if self._waiting_bytes + self.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
            self.overflowed = True
            self._waiting.clear()
            self._waiting_bytes = 0
            self.transport.abort()

    def _turn_ended(self) -> None:
        self._scheduled = False
        self._write_waiting()

    def _write_waiting(self, *, all_of_it: bool = False) -> None:
        """Frame what waits and write it, until the transport says that the peer is slow."""
        while self._waiting and (all_of_it or not self.paused) and self.protocol.state is State.OPEN:
            taken = 0
            framed: list[bytes] = []
            while self._waiting and taken < self.write_limit_high:
                frame = self._waiting.popleft()
                taken += len(frame)
                framed += self._framed(frame)
            self._waiting_bytes -= taken
            self.transport.write(b"".join(framed))

    def _framed(self, frame: bytes) -> Sequence[bytes]:
        """Return the bytes of a text frame."""
        self.protocol.send_text(frame)
        return self.protocol.data_to_send()


class Link(Posting, ServerConnection):
    """A connection of the daemon."""

    def _framed(self, frame: bytes) -> Sequence[bytes]:
        """Return the bytes of a text frame, as a server sends it: not masked, and here never compressed."""
        return _header(len(frame), 0), frame


class ClientLink(Posting, ClientConnection):
    """A connection of a client."""

    _masks = b""
    _masks_used = 0

    def _framed(self, frame: bytes) -> Sequence[bytes]:
        """Return the bytes of a text frame, as a client sends it: masked, and here never compressed."""
        at = self._masks_used
        if at == len(self._masks):
            self._masks, at = secrets.token_bytes(_MASK_BYTES * _MASKS_AT_ONCE), 0
        self._masks_used = at + _MASK_BYTES
        mask = self._masks[at : at + _MASK_BYTES]
        return _header(len(frame), _MASKED), mask, apply_mask(frame, mask)


def _header(size: int, masked: int) -> bytes:
    """Return the header of a text in one frame.

    Two lines of RFC 6455, section 5.2; the library's general way takes as long as all else that sending needs.
    """
    if size < _SIZE_16_BITS:
        return bytes((_TEXT_IN_ONE, masked | size))
    if size < 1 << 16:
        return pack("!BBH", _TEXT_IN_ONE, masked | _SIZE_16_BITS, size)
    return pack("!BBQ", _TEXT_IN_ONE, masked | _SIZE_64_BITS, size)
