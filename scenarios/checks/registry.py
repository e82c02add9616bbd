"""The rules by their numbers: each is a small function of a history, put here by its decorator."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.numbers import NUMBERS
from scenarios.verdict import Violation


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule saw.

    Attributes:
        judged: How many cases it could judge; none at all leaves the rule undecided.
        violations: The breaches.
        missing: What the run does not show, in words. With it a rule without breaches is undecided, however many cases
            it judged; so it is set only where the unseen part matters.
        note: What a reader of a held rule should know besides.
        stalled: Breaches that a stall of the machine explains; with one a rule without other breaches is undecided.
    """

    judged: int
    violations: Sequence[Violation] = ()
    missing: str | None = None
    stalled: int = 0
    note: str | None = None


Check = Callable[[History], Finding]


@dataclass(frozen=True, slots=True)
class Rule:
    """An invariant.

    Attributes:
        number: "INV-01" to "INV-46".
        title: What it says, in a few words.
        check: Judges it.
    """

    number: str
    title: str
    check: Check


RULES: Final[dict[str, Rule]] = {}
"""The rules in the order of their numbers; complete once `load_rules` has run."""


def rule(number: str, title: str) -> Callable[[Check], Check]:
    """Register the decorated function as the check of rule `number`.

    Raises:
        ValueError: There is no such rule, or another function checks it already.
    """
    if number not in NUMBERS:
        raise ValueError(f"{number} is none of {NUMBERS[0]} to {NUMBERS[-1]}")

    def register(check: Check) -> Check:
        known = RULES.get(number)
        if known is not None and known.check.__module__ != check.__module__:
            raise ValueError(f"{number} has two checks: in {known.check.__module__} and in {check.__module__}")
        RULES[number] = Rule(number, title, check)
        for later in sorted(RULES):
            RULES[later] = RULES.pop(later)
        return check

    return register


def load_rules() -> dict[str, Rule]:
    """Import every module beside this one, so that each registers its rules, and return them in order."""
    package = importlib.import_module(__package__ or "scenarios.checks")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return RULES
