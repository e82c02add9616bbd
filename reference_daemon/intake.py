"""What a `call_tool` frame must be before the policy is asked: fields in range, a known tool, arguments that fit.

Nothing here depends on what is in flight, so nothing here decides about the call.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from reference_daemon import wire
from reference_daemon.policy.events import CallArrived, CallId, CallKey, RequestId, SessionId
from reference_daemon.policy.keys import derived_key, fingerprint, key_hash
from reference_daemon.server.context import ArgumentError, CallPlan, Tool
from reference_daemon.server.registry import nearest_names
from reference_daemon.trace_id import trace_id_of

MAX_REQUEST_ID: Final = 255
MAX_KEY: Final = 255
MAX_NAME: Final = 255
MAX_CHARACTER_BYTES: Final = 4
"""Bytes of a character in UTF-8, at most."""

MAX_DEPTH: Final = 64
"""Levels of nesting in arguments: no tool needs ten, and a hundred thousand would end an interpreter's stack."""

_canonical = msgspec.json.Encoder(order="sorted").encode


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the policy can be asked about.

    Attributes:
        tool: The tool.
        arguments: Its typed arguments.
        plan: What it needs.
        arrived: The event for the policy.
        trace_id: The client's, or a new one where it sent none or one that is malformed.
        key_hash: How logs and acks name its key.
    """

    tool: Tool
    arguments: Any
    plan: CallPlan
    arrived: CallArrived
    trace_id: str
    key_hash: str


def error(code: str, message: str, **facts: Any) -> wire.Error:
    """Make an error with the status that belongs to its code."""
    return wire.Error(code, wire.ERROR_STATUS[code], message, **facts)


def bad_field(field: str, reason: str) -> wire.Error:
    """Make a 400 that names the field."""
    return error("BAD_REQUEST", f"{field}: {reason}", field=field)


def check_request_id(request_id: str) -> wire.Error | None:
    """Refuse a request_id that could not be told from others, or fills the logs."""
    if not 0 < len(request_id) <= MAX_REQUEST_ID:
        return bad_field("request_id", f"must have 1 to {MAX_REQUEST_ID} characters")
    return None


def check_key(key: str) -> wire.Error | None:
    """Refuse a call_key that is empty or too long."""
    if not 0 < len(key) <= MAX_KEY:
        return bad_field("call_key", f"must have 1 to {MAX_KEY} characters")
    return None


def depth_within(value: Any, limit: int) -> bool:
    """Return whether objects and arrays in `value` nest at most `limit` deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


class Intake:
    """Checks `call_tool` frames against the tools of a server."""

    def __init__(self, tools: Mapping[str, Tool], *, uncoalesced: frozenset[str], max_arguments_bytes: int) -> None:
        """Take the tools, and which of them never share a call with another client."""
        self._tools = tools
        self._uncoalesced = uncoalesced
        self._max_arguments_bytes = max_arguments_bytes

    def prepare(
        self, frame: wire.CallTool, frame_characters: int, session_id: SessionId, next_id: Callable[[], CallId]
    ) -> Prepared | wire.Error:
        """Return the call, ready for the policy, or why it cannot be one.

        Args:
            frame: The request; its request_id was checked.
            frame_characters: Length of the frame: with `MAX_CHARACTER_BYTES`, a bound of the size of its arguments.
            session_id: The session it came on.
            next_id: Gives the number of a call.
        """
        tool = self._tools.get(frame.name)
        if tool is None:
            return self._unknown_tool(frame.name)
        problem = self._check_fields(frame, frame_characters)
        if problem is not None:
            return problem
        try:
            arguments = tool.parse(frame.arguments)
            plan = tool.plan(arguments)
        except ArgumentError as unfit:
            return bad_field(unfit.field, unfit.reason)
        key, explicit, work = self._key(frame)
        arrived = CallArrived(  # in the order of its fields: by name it takes twice the time
            next_id(),
            session_id,
            RequestId(frame.request_id),
            key,
            explicit,
            work,
            tool.name,
            plan.provider,
            plan.kind,
            frame.timeout,
        )
        return Prepared(
            tool=tool,
            arguments=arguments,
            plan=plan,
            arrived=arrived,
            trace_id=trace_id_of(frame.trace_id),
            key_hash=key_hash(key) if key is not None else secrets.token_hex(6),
        )

    def _key(self, frame: wire.CallTool) -> tuple[CallKey | None, bool, bytes]:
        """Return the key, whether the client chose it, and the fingerprint of the work."""
        if frame.call_key is None and frame.name in self._uncoalesced:
            return None, False, b""
        work = fingerprint(_canonical([frame.name, frame.arguments]))
        if frame.call_key is not None:
            return CallKey(frame.call_key), True, work
        return derived_key(work), False, work

    def _check_fields(self, frame: wire.CallTool, frame_characters: int) -> wire.Error | None:
        """Return what is wrong with the optional fields."""
        if frame.call_key is not None and (problem := check_key(frame.call_key)) is not None:
            return problem
        if frame.timeout is not None and not 0.0 < frame.timeout < math.inf:
            return bad_field("timeout", "must be a number of seconds above 0")
        if frame_characters * MAX_CHARACTER_BYTES > self._max_arguments_bytes:
            size = len(msgspec.json.encode(frame.arguments))
            if size > self._max_arguments_bytes:
                limit = self._max_arguments_bytes
                return error("TOO_LARGE", f"arguments have {size} bytes", field="arguments", limit=limit)
        if frame.arguments and not depth_within(frame.arguments, MAX_DEPTH):
            return bad_field("arguments", f"must not nest deeper than {MAX_DEPTH} levels")
        return None

    def _unknown_tool(self, name: str) -> wire.Error:
        """Return a 404 that names the nearest tools."""
        nearest = list(nearest_names(name[:MAX_NAME], self._tools))
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; see list_tools"
        return error("TOOL_NOT_FOUND", "there is no tool of that name" + hint, nearest=nearest)
