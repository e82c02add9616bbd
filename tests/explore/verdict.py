"""What is wrong with a run: the rules that its history breaks, and what anybody complained about."""

from dataclasses import dataclass
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.judge import judge_rules
from scenarios.verdict import Verdict
from tests.explore.plan import Plan
from tests.explore.world import Happened, happen

COMPLAINT: Final = "complaint"
"""Rule of a finding that no check made: an error in a log, a task that failed, a run without an end."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    Attributes:
        rule: Number of the rule, or `COMPLAINT`.
        what: What was seen.
        events: The events that show it.
    """

    rule: str
    what: str
    events: tuple[str, ...] = ()


def findings(happened: Happened) -> list[Finding]:
    """Return everything that is wrong with a run."""
    found = [Finding(COMPLAINT, complaint) for complaint in happened.complaints]
    for result in judge_rules(History(happened.record)):
        if result.verdict is Verdict.VIOLATED:
            first = result.violations[0]
            found.append(Finding(result.rule, first.what, first.events))
        elif "check itself failed" in result.reason:
            found.append(Finding(COMPLAINT, f"{result.rule}: {result.reason}"))
    return found


def examine(plan: Plan) -> list[Finding]:
    """Run a plan, and return what is wrong."""
    return findings(happen(plan))
