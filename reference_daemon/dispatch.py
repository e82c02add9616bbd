"""Frames of a session to what answers them. Reading never waits for a call: everything here is synchronous."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reference_daemon import answers, intake, wire
from reference_daemon.calls import Calls
from reference_daemon.clock import Clock
from reference_daemon.server.context import Tool
from reference_daemon.sessions import Session
from reference_daemon.token_guard import Penalty, TokenGuard

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.Request).decode
_decode_request_id = msgspec.json.Decoder(wire.RequestIdOnly).decode
_decode_op = msgspec.json.Decoder(wire.OpOnly).decode

_KNOWN_OPS = {
    str(frame.__struct_config__.tag)
    for frame in (
        wire.Hello,
        wire.ListTools,
        wire.CallTool,
        wire.Cancel,
        wire.Attach,
        wire.Health,
        wire.RotateToken,
    )
}


class Dispatcher:
    """Answers the frames of one session."""

    def __init__(
        self,
        session: Session,
        calls: Calls,
        guard: TokenGuard,
        clock: Clock,
        tools: Mapping[str, Tool],
        health: Callable[[], dict[str, Any]],
    ) -> None:
        """Answer over the session's connection."""
        self._session, self._calls, self._guard, self._tools, self._health = (
            session,
            calls,
            guard,
            tools,
            health,
        )
        self._penalty = Penalty(clock)

    def handle(self, message: str) -> None:
        """Answer one text frame."""
        try:
            frame = _decode(message)
        except (msgspec.DecodeError, RecursionError) as unread:
            self._post(answers.error_frame(_what_is_wrong(message, unread), _request_id_of(message)))
            return
        if isinstance(frame, wire.Hello):
            self._post(answers.error_frame(intake.bad_field("op", "hello was said already"), _request_id_of(message)))
        elif frame.request_id is not None and (problem := intake.check_request_id(frame.request_id)) is not None:
            self._post(answers.error_frame(problem, None))
        elif isinstance(frame, wire.CallTool):
            self._calls.call_tool(self._session, frame, len(message))
        elif isinstance(frame, wire.Cancel):
            self._calls.cancel(self._session, frame)
        elif isinstance(frame, wire.Attach):
            self._calls.attach(self._session, frame)
        elif isinstance(frame, wire.Health):
            self._post(_encode(wire.HealthResult(ok=True, health=self._health(), request_id=frame.request_id)))
        elif isinstance(frame, wire.ListTools):
            self._post(_encode(wire.ListToolsResult(self._tool_infos(), frame.request_id)))
        else:
            self._post(_encode(self._rotate(frame)))

    def _post(self, frame: bytes) -> None:
        self._session.link.post(frame)

    def _tool_infos(self) -> list[wire.ToolInfo]:
        return [wire.ToolInfo(tool.name, tool.description, dict(tool.input_schema)) for tool in self._tools.values()]

    def _rotate(self, frame: wire.RotateToken) -> wire.RotateTokenResult:
        """Replace the token; a bad try makes the next ones wait."""
        if self._penalty.runs():
            return wire.RotateTokenResult(ok=False, error="too_many_tries", request_id=frame.request_id)
        problem = self._guard.rotate(frame.old, frame.new)
        if problem == "unauthorized":
            self._penalty.begin()
        return wire.RotateTokenResult(ok=problem is None, error=problem, request_id=frame.request_id)


def _request_id_of(message: str) -> str | None:
    """Return the request_id of a frame that could not be read as a whole, if it has a usable one."""
    try:
        request_id = _decode_request_id(message).request_id
    except (msgspec.DecodeError, RecursionError):
        return None
    if request_id is None or intake.check_request_id(request_id) is not None:
        return None
    return request_id


def _what_is_wrong(message: str, unread: Exception) -> wire.Error:
    """Return a 400 that names the field, and quotes nothing of the frame."""
    if isinstance(unread, RecursionError):
        return intake.error("BAD_REQUEST", "the frame nests too deep")
    if not isinstance(unread, msgspec.ValidationError):
        return intake.error("BAD_REQUEST", "the frame is not one JSON document")
    try:
        op = _decode_op(message).op
    except (msgspec.DecodeError, RecursionError):
        return intake.bad_field("op", "every frame is a JSON object with an op, a string")
    if op not in _KNOWN_OPS:
        return intake.bad_field("op", f"must be one of {', '.join(sorted(_KNOWN_OPS))}")
    reason, _, path = str(unread).partition(" - at `$")
    field = path.rstrip("`").lstrip(".").split("[")[0]
    if not field and "`" in reason:  # "Object missing required field `name`"
        field = reason.split("`")[1]
    return intake.bad_field(field or "frame", reason.replace("`", "")[:200])
