"""MCP's stdio transport: one JSON-RPC message a line, between the client's pipes and the SDK's server.

The SDK has a transport of its own, whose end waits for the client: for its next line after a signal, and for it to read
when it does not. This one can be ended at any moment. It also answers what the SDK drops: a request that is no valid
message but has an id, so that nobody waits for it in vain.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from reference_daemon.shim.pipes import PipeReader, PipeWriter

MAX_OPEN_REQUESTS: Final = 100_000
"""Ids of unanswered requests that are remembered; only the wait at the end depends on it."""

Incoming = MemoryObjectSendStream[SessionMessage | Exception]
Outgoing = MemoryObjectReceiveStream[SessionMessage]


class _Answerable(msgspec.Struct):
    """As much of a malformed message as an answer needs."""

    id: int | str
    method: Any


class StdioTransport:
    """Carries messages both ways, and knows which requests still wait for their answer."""

    def __init__(self, reader: PipeReader, writer: PipeWriter, *, on_malformed: Callable[[], None]) -> None:
        """Take both pipes; `on_malformed` is told of each line that is no message."""
        self._reader, self._writer, self._on_malformed = reader, writer, on_malformed
        self._open: set[RequestId] = set()
        self.idle = asyncio.Event()
        """Set while every request that was read is answered, or was cancelled."""
        self.idle.set()

    async def read(self, to_server: Incoming) -> None:
        """Hand every message to the server, until stdin ends."""
        async for line in self._reader.lines():
            if not line.strip():
                continue
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError:
                await self._refuse(line)
                continue
            self._note_read(message)
            await to_server.send(SessionMessage(message))

    async def write(self, from_server: Outgoing) -> None:
        """Write every message of the server, until it has no more.

        Raises:
            OSError: The client reads no more.
        """
        async for item in from_server:
            await self._write(item.message)
            if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
                self._close(item.message.id)

    async def _write(self, message: JSONRPCMessage) -> None:
        await self._writer.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def _refuse(self, line: bytes) -> None:
        """Answer a line that is no message, if it has an id to answer to."""
        self._on_malformed()
        try:
            asked = msgspec.json.decode(line, type=_Answerable)
        except (msgspec.DecodeError, RecursionError):
            return
        why = ErrorData(code=INVALID_REQUEST, message="not a JSON-RPC 2.0 request")
        await self._write(JSONRPCError(jsonrpc="2.0", id=asked.id, error=why))

    def _note_read(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            if len(self._open) < MAX_OPEN_REQUESTS:
                self._open.add(message.id)
                self.idle.clear()
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._close((message.params or {}).get("requestId"))

    def _close(self, request_id: Any) -> None:
        if isinstance(request_id, int | str):
            self._open.discard(request_id)
        if not self._open:
            self.idle.set()
