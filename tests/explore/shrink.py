"""From a long plan that breaks a rule to a short one that still breaks it: delta debugging over its steps.

Source: A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28, 2002.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any, Final, cast

from tests.explore.plan import Plan, Setup, Step

MOST_RUNS: Final = 600
"""Runs that a plan is shrunk with at most."""

Breaks = Callable[[Plan], bool]


class _Budget:
    """Asks whether a plan still breaks the rule, until it has asked often enough."""

    def __init__(self, breaks: Breaks) -> None:
        self._breaks, self.left = breaks, MOST_RUNS

    def __call__(self, plan: Plan) -> bool:
        self.left -= 1
        return self.left >= 0 and self._breaks(plan)


def shrink(plan: Plan, breaks: Breaks) -> Plan:
    """Return a plan with fewer steps and plainer conditions for which `breaks` is true, as it is for `plan`."""
    still = _Budget(breaks)
    plan = _plainer_setup(plan, still)
    while True:
        shorter = _fewer_steps(plan, still)
        shorter = _plainer_steps(shorter, still)
        if shorter == plan or still.left <= 0:
            return shorter
        plan = shorter


def _plainer_setup(plan: Plan, breaks: Breaks) -> Plan:
    """Put each condition back to its default, where the rule is broken all the same."""
    plain = Setup()
    for field in fields(Setup):
        tried = replace(plan, setup=replace(plan.setup, **{field.name: getattr(plain, field.name)}))
        if tried != plan and breaks(tried):
            plan = tried
    return plan


def _fewer_steps(plan: Plan, breaks: Breaks) -> Plan:
    """Leave out steps: halves first, then smaller parts, down to single ones."""
    steps: Sequence[Step] = plan.steps
    parts = 2
    while len(steps) > 1:
        size = max(1, len(steps) // parts)
        for start in range(0, len(steps), size):
            rest = (*steps[:start], *steps[start + size :])
            if rest and breaks(replace(plan, steps=rest)):
                steps, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(steps), 2 * parts)
    return replace(plan, steps=tuple(steps))


def _plainer_steps(plan: Plan, breaks: Breaks) -> Plan:
    """Put the fields of each step back to their defaults, where the rule is broken all the same."""
    for index, step in enumerate(plan.steps):
        for field in fields(step):
            if field.default is MISSING:
                continue
            plainer: Step = replace(plan.steps[index], **cast("Any", {field.name: field.default}))
            tried = replace(plan, steps=(*plan.steps[:index], plainer, *plan.steps[index + 1 :]))
            if tried != plan and breaks(tried):
                plan = tried
    return plan
