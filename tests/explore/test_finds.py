"""Exploring finds: each seeded defect that shows in a history, by the very rule that it breaks."""

import pytest

from chaos.defects import DEFECTS
from tests.explore.run import seeds_needed

FOUND_WITHIN = {
    "slot-kept-on-reject": 7,
    "slot-given-back-twice": 1,
    "slot-leaked-on-exception": 6,
    "waits-for-a-slot": 2,
    "calls-one-after-another": 1,
    "cap-one-too-high": 1,
    "cap-one-too-low": 1,
    "provider-cap-ignored": 7,
    "slot-freed-when-read": 3,
    "duplicate-waits": 4,
    "conflict-names-itself": 4,
    "key-kept-on-429": 1,
    "lapsed-key-not-fenced": 12,
    "fingerprint-ignored": 4,
    "refusal-replayed": 1,
    "replay-changed": 3,
    "finished-key-runs-again": 3,
    "late-owner-frees-key": 12,
    "results-unbounded": 17,
    "heartbeat-cancels-call": 1,
    "heartbeats-stop": 2,
    "heartbeats-after-terminal": 1,
    "heartbeats-slow-under-load": 2,
    "deadline-on-heartbeat": 2,
    "late-result-after-timeout": 2,
    "wall-clock-deadlines": 40,
    "ack-comes-late": 1,
    "disconnect-cancels": 41,
    "successor-does-not-wait": 148,
    "drain-drops-calls": 10,
    "drain-waits-for-ever": 1,
    "cancel-leaves-work": 4,
    "token-by-prefix": 26,
    "origin-unchecked": 15,
    "origin-by-suffix": 15,
    "host-unchecked": 15,
    "failed-rotation-sets-token": 16,
    "token-case-folded": 15,
    "old-token-stays": 24,
    "rotation-not-slowed": 16,
    "exception-text-leaks": 6,
    "retry-after-zero": 1,
    "health-off-by-one": 1,
    "arguments-logged": 1,
    "answers-mixed": 1,
    "answered-twice": 1,
    "error-as-empty-success": 1,
    "shim-swaps-answers": 2,
    "retries-without-jitter": 1,
    "retries-below-retry-after": 1,
    "four-attempts": 1,
    "retries-422": 4,
    "new-key-on-reconnect": 21,
    "retries-a-timeout": 3,
    "heartbeats-to-everybody": 1,
}
"""Seeds, counted from seed 0, after which the rule of a defect was broken when it was last measured."""

MARGIN = 2
"""Times the measured number of seeds in which a defect must be found: what a seed means changes with its plans."""

OUT_OF_SIGHT = {
    "binds-all-interfaces": "which address is bound shows on a real socket only",
    "log-line-on-stdout": "the shim's dispatch is explored, not its pipes",
    "shim-ignores-end": "the same",
    "child-inherits-streams": "the same",
    "files-left-open": "there are no descriptors in memory",
    "strangers-unbounded": "no plan opens so many connections",
    "sessions-unbounded": "the same",
    "pages-for-everybody": "no plan asks for pages",
    "settings-not-compared": "settings are made whole, not read",
}
"""Defects that no history in memory shows, and why."""


NOT_SHOWN = {
    "client-gives-up-early": "no rule is broken: an expectation of a scenario is missed",
    "fixed-retry-after": "the same",
    "elapsed-stands-still": "its seeds take too long: 300 did not end within a minute",
    "trace-dropped": "300 seeds did not break its rule; a question of the gate does, as for those below",
    "retries-without-time": "the same",
    "boot-ignored": "the same",
    "progress-after-response": "the same",
    "ack-grants-more": "the same",
    "result-lost-with-connection": "the same",
    "takes-nonsense": "the same",
    "anybody-cancels": "the same",
    "failure-ends-connection": "the same",
}
"""Defects that a history in memory could show, and that the seeds do not, and why."""


@pytest.mark.slow  # some defects need dozens of runs
@pytest.mark.parametrize("name", FOUND_WITHIN)
def test_a_defect_is_found_by_its_rule(name: str) -> None:
    """With a defect in the code, one of the first seeds breaks the rule that the defect is named for."""
    needed, rules = seeds_needed(name, MARGIN * FOUND_WITHIN[name])
    assert needed is not None, f"{DEFECTS[name].rule} was not broken; broken were {dict(rules)}"


def test_those_of_virtual_time_are_found() -> None:
    """What is said to show in virtual time alone is found there."""
    assert {name for name, defect in DEFECTS.items() if defect.judged_by == "virtual time"} <= set(FOUND_WITHIN)


def test_every_defect_is_found_or_has_a_reason() -> None:
    """Each defect stands in one list: found, out of sight, or not shown; whoever adds one has to say which."""
    lists = (FOUND_WITHIN, OUT_OF_SIGHT, NOT_SHOWN)
    assert sorted(name for each in lists for name in each) == sorted(DEFECTS)
    assert all(OUT_OF_SIGHT.values())
    assert all(NOT_SHOWN.values())
