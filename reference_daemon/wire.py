"""Frames of the wire protocol as typed structs, and the table of errors. See docs/protocol.md.

One JSON object per text frame; `op` names it. Fields that a client, or a daemon of another make, may leave out have
defaults; unknown fields are ignored. Encoding and decoding are the only places where JSON exists.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

PROTOCOL_VERSION: Final = 1

ERROR_STATUS: Final[dict[str, int]] = {
    "BAD_REQUEST": 400,
    "invalid_hello": 400,
    "missing_hello": 400,
    "unauthorized": 401,
    "TOOL_NOT_FOUND": 404,
    "UNKNOWN_CALL": 404,
    "DUPLICATE": 409,
    "SUPERSEDED": 409,
    "GONE": 410,
    "TOO_LARGE": 413,
    "KEY_REUSED": 422,
    "OVER_CAPACITY": 429,
    "too_many_sessions": 429,
    "CANCELLED": 499,
    "EXEC_ERROR": 500,
    "INTERRUPTED": 500,
    "PROVIDER_ERROR": 502,
    "DRAINING": 503,
    "TIMEOUT": 504,
    "STEP_TIMEOUT": 504,
    "EXPERT_TIMEOUT": 504,
}
"""Code → status. The code says what happened, the status how HTTP would say it."""


class OpOnly(msgspec.Struct, frozen=True):
    """Any frame, as far as its op: to tell a frame that is no request from one with a bad field."""

    op: str


class RequestIdOnly(msgspec.Struct, frozen=True):
    """Any frame, as far as its request_id: to answer a frame that cannot be read as a whole."""

    request_id: str | None = None


class ClientInfo(msgspec.Struct, frozen=True):
    """Who speaks, for the logs."""

    name: str = ""
    version: str = ""


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="op"):
    """First frame of a connection. `session_id` is a label for logs; the daemon chooses the real one."""

    token: str | None = None
    session_id: str | None = None
    client: ClientInfo | None = None


class ListTools(msgspec.Struct, frozen=True, tag="list_tools", tag_field="op"):
    """Asks for the tools and their schemas."""

    request_id: str | None = None


class CallTool(msgspec.Struct, frozen=True, tag="call_tool", tag_field="op"):
    """Asks for a call. `timeout`: seconds that the client will still wait, its grace taken off."""

    request_id: str
    name: str
    arguments: dict[str, Any] = {}
    call_key: str | None = None
    trace_id: Any = None  # one that is no text is replaced, not fatal
    timeout: float | None = None


class Cancel(msgspec.Struct, frozen=True, tag="cancel", tag_field="op"):
    """Asks to stop the call that this session sent, or attached to, as `request_id`."""

    request_id: str


class Attach(msgspec.Struct, frozen=True, tag="attach", tag_field="op"):
    """Asks for the answer of the execution that holds `call_key`, under a new `request_id`."""

    request_id: str
    call_key: str


class Health(msgspec.Struct, frozen=True, tag="health", tag_field="op"):
    """Asks for the daemon's figures."""

    request_id: str | None = None


class RotateToken(msgspec.Struct, frozen=True, tag="rotate_token", tag_field="op"):
    """Asks to replace the token for sessions to come."""

    old: str
    new: str
    request_id: str | None = None


Request = Hello | ListTools | CallTool | Cancel | Attach | Health | RotateToken


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why there is no result: `code` from `ERROR_STATUS`, and the facts that belong to it.

    Times are seconds. Never carries a token, a full call_key, a stack trace or another client's data. A daemon of
    another make may send no status.
    """

    code: str
    status: int = 0
    message: str = ""
    field: str | None = None
    nearest: list[str] | None = None
    original_request_id: str | None = None
    original_trace_id: str | None = None
    superseded_by: str | None = None
    scope: str | None = None
    in_use: int | None = None
    limit: float | int | None = None
    elapsed: float | None = None
    remaining: float | None = None
    phase: str | None = None
    retry_after: float | None = None
    provider: str | None = None
    provider_status: int | None = None


class Output(msgspec.Struct, frozen=True):
    """One text of a result."""

    text: str
    type: str = "text"


class HelloAck(msgspec.Struct, frozen=True, omit_defaults=True, tag="hello_ack", tag_field="op"):
    """Answer to `hello`. `boot_id` is new at every start of the daemon."""

    ok: bool
    session_id: str | None = None
    boot_id: str | None = None
    protocol: int | None = None
    error: str | None = None


class ToolInfo(msgspec.Struct, frozen=True, rename="camel"):
    """One tool of `list_tools_res`."""

    name: str
    description: str
    input_schema: dict[str, Any]


class ListToolsResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="list_tools_res", tag_field="op"):
    """Answer to `list_tools`."""

    tools: Sequence[ToolInfo]
    request_id: str | None = None


class CallToolAck(msgspec.Struct, frozen=True, tag="call_tool_ack", tag_field="op"):
    """Sent once per admitted call, after every slot is held. `timeout` is the one that is enforced."""

    request_id: str
    name: str
    timeout: float | None = None
    trace_id: str = ""
    call_key_hash: str = ""
    accepted: bool = True


class Progress(msgspec.Struct, frozen=True, tag="progress", tag_field="op"):
    """A heartbeat. `t` is Unix time; `elapsed` and `remaining` are seconds against the call's deadline."""

    request_id: str
    name: str
    t: float
    trace_id: str = ""
    phase: str = ""
    elapsed: float = 0.0
    remaining: float = 0.0


class CallToolResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="call_tool_res", tag_field="op"):
    """The one terminal answer of a call: `outputs` or `error`, encoded once and stored as they were sent."""

    request_id: str
    trace_id: str
    outputs: msgspec.Raw | None = None
    error: msgspec.Raw | None = None
    duration: float | None = None
    replayed: bool = False


class CallToolReply(msgspec.Struct, frozen=True, tag="call_tool_res", tag_field="op"):
    """`call_tool_res` as a client reads it: the same frame, its payload decoded."""

    request_id: str
    trace_id: str | None = None
    outputs: list[Output] | None = None
    error: Error | None = None
    duration: float | None = None
    replayed: bool = False


class HealthResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="health_res", tag_field="op"):
    """Answer to `health`."""

    ok: bool
    health: dict[str, Any]
    request_id: str | None = None


class RotateTokenResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="rotate_token_res", tag_field="op"):
    """Answer to `rotate_token`."""

    ok: bool
    error: str | None = None
    request_id: str | None = None


class ErrorFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag="error", tag_field="op"):
    """Answer to a frame that is no request, or that names a request_id which is in flight."""

    code: str
    status: int = 0
    message: str = ""
    request_id: str | None = None
    field: str | None = None
    nearest: list[str] | None = None
    original_request_id: str | None = None
    original_trace_id: str | None = None
    elapsed: float | None = None
    remaining: float | None = None
    scope: str | None = None
    in_use: int | None = None
    limit: float | int | None = None
    retry_after: float | None = None


Reply = ListToolsResult | CallToolAck | Progress | CallToolReply | HealthResult | RotateTokenResult | ErrorFrame
"""What a client may receive after its hello."""
