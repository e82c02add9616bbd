"""Verdicts: the worst wins, and nothing passes without data."""

import itertools

import pytest

from scenarios.verdict import Verdict, worst

HELD, VIOLATED, UNDECIDED = Verdict.HELD, Verdict.VIOLATED, Verdict.UNDECIDED


@pytest.mark.parametrize("verdicts", list(itertools.product(Verdict, repeat=3)), ids=" ".join)
def test_the_worst_verdict_wins(verdicts: tuple[Verdict, ...]) -> None:
    """Violated beats undecided, undecided beats held, in whatever order they come."""
    rank = [HELD, UNDECIDED, VIOLATED]
    assert worst(verdicts) is max(verdicts, key=rank.index)


def test_no_verdict_at_all_is_undecided() -> None:
    """A run that judged nothing has not passed."""
    assert worst([]) is UNDECIDED


@pytest.mark.parametrize(("verdict", "code"), [(HELD, 0), (VIOLATED, 1), (UNDECIDED, 3)])
def test_exit_codes_keep_the_verdicts_apart(verdict: Verdict, code: int) -> None:
    """1 always means a judged failure; undecided is neither 0 nor 1."""
    assert verdict.exit_code == code
