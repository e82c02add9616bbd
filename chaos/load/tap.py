"""Turns the frames of a client into events. Texts, keys and arguments become hashes; no text is kept."""

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from chaos.observe import summarised
from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.policy.keys import LOGGED_DIGITS, key_hash
from scenarios.events import AnyEvent, Connection, Frame

_NONCE: Final = re.compile(rb"nonce:(\w+)")
_canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode


class FrameTap:
    """Notes what one client sends and receives, over all its connections."""

    def __init__(
        self,
        client: str,
        numbers: Iterator[int],
        *,
        clock: Clock,
        start_at: float,
        note: Callable[[AnyEvent], None],
        witness: bool = False,
    ) -> None:
        """Note events of the client with this label.

        Args:
            client: The label.
            numbers: Gives each connection its number; shared by all clients.
            clock: Source of time.
            start_at: Start of the load, a reading of the clock.
            note: Takes the events.
            witness: Whether the client speaks to the daemon without a proxy.
        """
        self._client, self._numbers, self._witness = client, numbers, witness
        self._clock, self._start_at, self._note = clock, start_at, note

    def opened(self, session_id: str, boot_id: str | None) -> int:
        """Note a connection, and give it its number."""
        number = next(self._numbers)
        self._note(
            Connection(
                at=self._now(),
                client=self._client,
                connection=number,
                what="opened",
                session=session_id or None,
                boot_id=boot_id,
                witness=self._witness,
            )
        )
        return number

    def closed(self, connection: int, *, lost: bool) -> None:
        """Note a connection's end."""
        what: Literal["closed", "lost"] = "lost" if lost else "closed"
        self._note(
            Connection(at=self._now(), client=self._client, connection=connection, what=what, witness=self._witness)
        )

    def sent(self, connection: int, frame: msgspec.Struct) -> None:
        """Note a frame that was sent."""
        at = self._now()
        if isinstance(frame, wire.CallTool):
            work = _canonical([frame.name, frame.arguments])
            event = Frame(
                at=at,
                client=self._client,
                connection=connection,
                direction="sent",
                op="call_tool",
                request_id=frame.request_id,
                trace_id=frame.trace_id,
                name=frame.name,
                call_key_hash=None if frame.call_key is None else key_hash(frame.call_key),
                fingerprint=_digest(work),
                timeout_s=frame.timeout,
                nonce=_nonce(work),
            )
        else:
            event = Frame(
                at=at,
                client=self._client,
                connection=connection,
                direction="sent",
                op=_op_of(frame),
                request_id=getattr(frame, "request_id", None),
                call_key_hash=key_hash(frame.call_key) if isinstance(frame, wire.Attach) else None,
            )
        self._note(event)

    def received(self, connection: int, frame: wire.Reply | None) -> None:
        """Note a frame that came."""
        at = self._now()
        if isinstance(frame, wire.CallToolAck):
            event = self._ack(at, connection, frame)
        elif isinstance(frame, wire.CallToolReply) and frame.error is None:
            event = self._result(at, connection, frame)
        else:
            facts = _received_facts(frame)
            event = Frame(at=at, client=self._client, connection=connection, direction="received", **facts)
        self._note(event)

    # Acks and results are most of all frames of a load: an event is made of them in one step.

    def _ack(self, at: float, connection: int, frame: wire.CallToolAck) -> Frame:
        return Frame(
            at=at,
            client=self._client,
            connection=connection,
            direction="received",
            op="call_tool_ack",
            request_id=frame.request_id,
            trace_id=frame.trace_id or None,
            name=frame.name,
            call_key_hash=frame.call_key_hash or None,
            timeout_s=frame.timeout,
        )

    def _result(self, at: float, connection: int, frame: wire.CallToolReply) -> Frame:
        payload = _encode(frame.outputs)
        return Frame(
            at=at,
            client=self._client,
            connection=connection,
            direction="received",
            op="call_tool_res",
            request_id=frame.request_id,
            trace_id=frame.trace_id,
            duration_s=frame.duration,
            replayed=frame.replayed,
            payload_hash=_digest(payload),
            nonce=_nonce(payload),
            summary=summarised([output.text for output in frame.outputs or ()], frame.trace_id),
        )

    def _now(self) -> float:
        return self._clock.now() - self._start_at


def _received_facts(frame: wire.Reply | None) -> dict[str, Any]:
    """Return what the rarer frames say."""
    if frame is None:
        return {"op": "?"}
    if isinstance(frame, wire.Progress):
        return {
            "op": "progress",
            "request_id": frame.request_id,
            "trace_id": frame.trace_id or None,
            "name": frame.name,
            "phase": frame.phase or None,
            "elapsed_s": frame.elapsed,
            "remaining_s": frame.remaining,
        }
    if isinstance(frame, wire.CallToolReply) and frame.error is not None:
        return {
            "op": "call_tool_res",
            "request_id": frame.request_id,
            "trace_id": frame.trace_id,
            "duration_s": frame.duration,
            "replayed": frame.replayed,
            "payload_hash": _digest(_encode(frame.error)),
            **_error_facts(frame.error),
        }
    if isinstance(frame, wire.ErrorFrame):
        return {"op": "error", "request_id": frame.request_id, **_error_facts(frame)}
    return {"op": _op_of(frame), "request_id": frame.request_id}


def _error_facts(error: wire.Error | wire.ErrorFrame) -> dict[str, Any]:
    return {
        "code": error.code,
        "status": error.status,
        "scope": error.scope,
        "limit": None if error.limit is None else int(error.limit),
        "in_use": error.in_use,
        "retry_after_s": error.retry_after,
        "original_request_id": error.original_request_id,
        "superseded_by": error.superseded_by if isinstance(error, wire.Error) else None,
        "elapsed_s": error.elapsed,
        "phase": error.phase if isinstance(error, wire.Error) else None,
    }


def _op_of(frame: msgspec.Struct) -> str:
    return str(frame.__struct_config__.tag)


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:LOGGED_DIGITS]


def _nonce(data: bytes) -> str | None:
    found = _NONCE.search(data)
    return None if found is None else found[1].decode()
