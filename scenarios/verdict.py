"""Verdicts: held, violated, or undecided when the run says nothing. The worst wins; no data never passes."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Verdict(enum.StrEnum):
    """What a run says about an expectation, or about all of them."""

    HELD = "held"
    VIOLATED = "violated"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        """Exit status of a command that ends with this verdict: 0 held, 1 violated, 3 undecided."""
        return {Verdict.HELD: 0, Verdict.VIOLATED: 1, Verdict.UNDECIDED: 3}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationResult:
    """One expectation, judged.

    Attributes:
        name: What was measured, for example "success_rate".
        value: What was seen; None if nothing was.
        limit: What is allowed, in words: "at least 1".
        verdict: Whether the value keeps to the limit.
        reason: One sentence for a person: why this verdict, with counts.
    """

    name: str
    value: float | None
    limit: str
    verdict: Verdict
    reason: str


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on the whole: violated over undecided over held; undecided without any."""
    seen = set(verdicts)
    if Verdict.VIOLATED in seen:
        return Verdict.VIOLATED
    if Verdict.UNDECIDED in seen or not seen:
        return Verdict.UNDECIDED
    return Verdict.HELD
