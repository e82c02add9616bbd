"""Requests as their clients saw them: a `call_tool` or an `attach` with its ack and its terminal answer."""

from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.events import Frame

DUPLICATE: Final = 409
"""Status of a call whose key or request_id is in flight, and of one that was superseded."""

KEY_REUSED: Final = 422
"""Status of a call whose explicit key stands for other work."""

OVER_CAPACITY: Final = 429
"""Status of a call that found a pool full."""

DRAINING: Final = 503
"""Status of a call that came when the daemon was about to end."""

CUT_STATUSES: Final = frozenset({499, 504})
"""Statuses of calls that were answered before their work had stopped, whatever their code."""

CUT_CODES: Final = frozenset({"SUPERSEDED", "INTERRUPTED"})
"""Codes of such calls whose status other answers have, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request.

    Attributes:
        sent: The frame that asked.
        ack: Its ack.
        terminal: Its `call_tool_res`.
        error: An `error` frame that names it.
        boot_id: What the daemon called itself on its connection; None if nobody said.
        again: Whether its client used the request_id more than once: its answers then cannot be told apart.
    """

    sent: Frame
    ack: Frame | None
    terminal: Frame | None
    error: Frame | None
    boot_id: str | None
    again: bool

    @property
    def request_id(self) -> str:
        """Its id."""
        return self.sent.request_id or ""

    @property
    def key(self) -> str | None:
        """Hash of the key that was sent; None without one."""
        return self.sent.call_key_hash

    @property
    def first(self) -> Frame | None:
        """Its first answer that says what became of it: the ack, or a terminal."""
        return self.ack or self.terminal or self.error

    @property
    def refused(self) -> bool:
        """Whether it was answered with an error and without an ack."""
        return self.ack is None and self.terminal is not None and failed(self.terminal)

    @property
    def cut(self) -> bool:
        """Whether its terminal came before its work had stopped."""
        return self.terminal is not None and is_cut(self.terminal)


def failed(frame: Frame) -> bool:
    """Return whether an answer is an error."""
    return frame.status is not None or frame.code is not None


def is_cut(frame: Frame) -> bool:
    """Return whether a terminal says that the work was cut, so that it may still run for a while."""
    return frame.status in CUT_STATUSES or frame.code in CUT_CODES


def requests_of(history: History, op: str = "call_tool") -> list[Request]:
    """Return the requests of that op, in the order in which they were sent."""
    boots = {seen.connection: seen.boot_id for seen in history.connections if seen.what == "opened"}
    requests: list[Request] = []
    for frames in history.frames_by_request.values():
        asked = [frame for frame in frames if frame.direction == "sent" and frame.op in {"call_tool", "attach"}]
        if asked and asked[0].op == op:
            requests.append(_request(asked[0], frames, boots.get(asked[0].connection), again=len(asked) > 1))
    return sorted(requests, key=lambda request: request.sent.at)


def _request(sent: Frame, frames: list[Frame], boot_id: str | None, *, again: bool) -> Request:
    first: dict[str, Frame] = {}
    for frame in frames:
        if frame.direction == "received":
            first.setdefault(frame.op, frame)
    return Request(sent, first.get("call_tool_ack"), first.get("call_tool_res"), first.get("error"), boot_id, again)


def same_boot(history: History, one: Request, other: Request) -> bool:
    """Return whether two requests met the same start of the daemon, as far as anybody can tell."""
    if one.boot_id is not None and other.boot_id is not None:
        return one.boot_id == other.boot_id
    start, end = sorted((one.sent.at, other.sent.at))
    return not history.daemon_away(start, end)
