"""A question as a value: the rule that it is about, the right answer, and how to ask."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from chaos.probes.target import Target

PROMPT_S: Final = 0.25
"""Wall seconds within which every request gets its first answer."""

BOUND_S: Final = 20.0
"""Wall seconds for one question; more is a hang of whatever was asked."""

START_BOUND_S: Final = 60.0
"""Wall seconds for a question that starts processes: a busy machine takes its time for that."""

MARKER: Final = "pl4nted"
"""Part of every secret that is planted: where it turns up, something was told that should not be."""


class Seen(NamedTuple):
    """The answer that came.

    Attributes:
        text: What it was, in a few words.
        held: Whether it is right.
        late: Whether it is wrong only because it came late: such a question is put again, since a machine that
            stood still for a moment says nothing about the daemon.
    """

    text: str
    held: bool
    late: bool = False


Ask = Callable[[Target], Awaitable[Seen]]


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        rule: The invariant that it is about.
        name: What is tried.
        expected: The answer that is right.
        ask: Puts the question.
        why_not: Why it cannot be put to this target; None: it can.
        bound_s: Wall seconds after which no answer is awaited any more; longer where processes are started for it.
    """

    rule: str
    name: str
    expected: str
    ask: Ask
    why_not: str | None = None
    bound_s: float = BOUND_S


class NotAskedError(Exception):
    """A question could not be put: the surroundings failed, and nothing is known about the daemon.

    Attributes:
        reason: What failed.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Say what failed."""
        return self.reason


def in_time(text: str, took_s: float, *, right: bool = True) -> Seen:
    """Judge an answer that had to be prompt."""
    late = took_s > PROMPT_S
    return Seen(f"{text} after {took_s * 1000:.0f} ms" if late else text, right and not late, late=right and late)
