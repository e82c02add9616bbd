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
        name: What was measured, for example "success_rate", with its filters.
        value: What was seen; None if nothing was.
        limit: What is allowed, in words: "at least 1".
        verdict: Whether the value keeps to the limit.
        reason: One sentence for a person: why this verdict, with counts.
        low: Lower end of the value's 95 % interval; None where there is none.
        high: Its upper end.
        n: How many calls or events it was judged on; None where that says nothing.
    """

    name: str
    value: float | None
    limit: str
    verdict: Verdict
    reason: str
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One breach of an invariant.

    Attributes:
        what: One sentence: what was seen, and what should have been.
        at: When, in unscaled seconds since the start of the load.
        trace_ids: The calls.
        request_ids: Their requests.
        events: The events that show it, each as a line of JSON, shortened; the first few.
    """

    what: str
    at: float | None = None
    trace_ids: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InvariantResult:
    """One invariant, judged.

    Attributes:
        rule: Its number, "INV-06".
        title: What it says, in a few words.
        verdict: Whether it held.
        judged: How many cases it was judged on.
        reason: One sentence: why this verdict, with counts; for an undecided one what was missing.
        required: Whether the run must decide it: a required rule that is undecided makes the run undecided; another
            one is listed as not judged.
        violations: The first breaches.
        violated: How many there are.
        meant: Whether the scenario is there to show it broken: then it has no say of its own, its expectation has.
    """

    rule: str
    title: str
    verdict: Verdict
    judged: int
    reason: str
    required: bool = False
    violations: tuple[Violation, ...] = ()
    violated: int = 0
    meant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a run says, all in all.

    Attributes:
        expectations: The expectations, in the scenario's order, and those that every run has (faults bit, the driver
            kept its schedule).
        invariants: The rules, in their order; also those that were not judged.
    """

    expectations: tuple[ExpectationResult, ...]
    invariants: tuple[InvariantResult, ...] = ()

    @property
    def not_judged(self) -> tuple[InvariantResult, ...]:
        """The rules that this run says nothing about, and need not."""
        return tuple(r for r in self.invariants if r.verdict is Verdict.UNDECIDED and not r.required)

    @property
    def verdict(self) -> Verdict:
        """The worst of all that had to be judged."""
        verdicts = [result.verdict for result in self.expectations]
        judged = [rule for rule in self.invariants if not rule.meant]
        verdicts += [rule.verdict for rule in judged if rule.required or rule.verdict is not Verdict.UNDECIDED]
        return worst(verdicts)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on the whole: violated over undecided over held; undecided without any."""
    seen = set(verdicts)
    if Verdict.VIOLATED in seen:
        return Verdict.VIOLATED
    if Verdict.UNDECIDED in seen or not seen:
        return Verdict.UNDECIDED
    return Verdict.HELD
