"""The frames of one request, taken apart: what was asked, and what came back in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.events import Frame

CALL_ANSWERS: Final = frozenset({"call_tool_ack", "progress", "call_tool_res"})
"""Ops of the frames that belong to a call."""

DEADLINE_STATUS: Final = 504
CANCELLED_STATUS: Final = 499
REFUSED_STATUS: Final = frozenset({429, 503})
"""Refusals that say: later."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answers.

    Attributes:
        asked: The frame that made it.
        answers: Frames with its request_id that came afterwards, up to the same id's next use; in order.
    """

    asked: Frame
    answers: Sequence[Frame]

    @property
    def ack(self) -> Frame | None:
        """Its admission; None if it was refused, or is an attach."""
        return next((frame for frame in self.answers if frame.op == "call_tool_ack"), None)

    @property
    def terminals(self) -> list[Frame]:
        """Its final answers: one, unless a rule is broken or the connection ended."""
        return [frame for frame in self.answers if frame.op == "call_tool_res"]

    @property
    def terminal(self) -> Frame | None:
        """Its first final answer."""
        return next(iter(self.terminals), None)

    @property
    def heartbeats(self) -> list[Frame]:
        """Its heartbeats."""
        return [frame for frame in self.answers if frame.op == "progress"]

    @property
    def refusal(self) -> Frame | None:
        """Its answer, if that refused it: no admission came before."""
        first = self.answers[0] if self.answers else None
        return first if first is not None and first.op in {"call_tool_res", "error"} and first.status else None


def exchanges(history: History, *ops: str) -> Iterator[Exchange]:
    """Yield the requests of these ops that were sent, with their answers."""
    for frames in history.frames_by_request.values():
        asked: Frame | None = None
        answers: list[Frame] = []
        for frame in frames:
            # A cancel may name the call's own request_id: it asks for that call's end, and is no request of its own.
            if frame.direction == "sent" and frame.op in {"call_tool", "attach", "list_tools"}:
                if asked is not None and _live(asked, answers, frame):
                    continue
                if asked is not None and asked.op in ops:
                    yield Exchange(asked, answers)
                asked, answers = frame, []
            elif frame.direction == "received":
                answers.append(frame)
        if asked is not None and asked.op in ops:
            yield Exchange(asked, answers)


def _live(asked: Frame, answers: Sequence[Frame], again: Frame) -> bool:
    """Return whether a request_id is used again while its call runs: that is refused, and the call goes on."""
    acked = any(frame.op == "call_tool_ack" for frame in answers)
    ended = any(frame.op == "call_tool_res" for frame in answers)
    return acked and not ended and asked.connection == again.connection


def excused(history: History, exchange: Exchange, by: float) -> bool:
    """Return whether an answer that did not come until `by` says nothing: the link ended, or the run was stopped."""
    end = history.connection_end(exchange.asked.connection)
    if end is not None and end.at <= by:
        return True
    return history.run.stopped_by is not None
