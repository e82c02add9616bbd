"""What is judged of a story in which a pool is filled."""

import math
from typing import Any

import pytest

from chaos.probes.slots import SCOPES, Story, _key_is_free, _no_fewer, _no_more, _not_replayed, _refused

SCOPE = SCOPES[0]
ACK = {"op": "call_tool_ack", "request_id": "r"}


def full(**more: Any) -> dict[str, Any]:
    """Return a refusal as it should be, or another one."""
    error = {"code": "OVER_CAPACITY", "status": 429, "scope": SCOPE.name, "limit": SCOPE.cap, "in_use": SCOPE.cap}
    return {"op": "call_tool_res", "request_id": "r", "error": error | {"retry_after": 2.0} | more}


def a_story(**changes: Any) -> Story:
    """Return a story in which everything is right, or not."""
    right: dict[str, Any] = {
        "let_in": SCOPE.cap,
        "refusal": full(),
        "took_s": 0.01,
        "again": ACK,
        "over": full(),
        "most": SCOPE.cap,
    }
    return Story(**(right | changes))


def test_a_good_story() -> None:
    """Each judgement holds."""
    assert all(judge(a_story(), SCOPE).held for judge in (_no_more, _no_fewer, _refused, _key_is_free, _not_replayed))


@pytest.mark.parametrize(
    "changes",
    [{"refusal": ACK}, {"over": ACK}, {"most": SCOPE.cap + 1}],
    ids=["one too many", "two for one that ended", "more at the provider"],
)
def test_more_than_the_cap(changes: dict[str, Any]) -> None:
    """One more than the cap is seen, at first, when one has ended, or at the provider alone."""
    assert not _no_more(a_story(**changes), SCOPE).held


@pytest.mark.parametrize(
    "changes",
    [{"let_in": SCOPE.cap - 1}, {"again": full(), "fresh": full()}],
    ids=["one too few", "a slot that stays taken"],
)
def test_fewer_than_the_cap(changes: dict[str, Any]) -> None:
    """A slot that nobody gets is seen; a key that stays taken is another matter."""
    assert not _no_fewer(a_story(**changes), SCOPE).held
    duplicate = full(code="DUPLICATE", status=409)
    assert _no_fewer(a_story(again=duplicate, fresh=ACK), SCOPE).held
    assert not _key_is_free(a_story(again=duplicate), SCOPE).held


@pytest.mark.parametrize("after_s", [0, 0.0, -1.0, None, math.inf, math.nan, "2"])
def test_advice_without_sense(after_s: object) -> None:
    """A retry_after must be a finite number above 0."""
    assert not _refused(a_story(refusal=full(retry_after=after_s)), SCOPE).held


@pytest.mark.parametrize("wrong", [{"scope": "global"}, {"limit": 99}, {"in_use": 1}, {"status": 503}])
def test_a_refusal_with_wrong_facts(wrong: dict[str, object]) -> None:
    """It names the scope, the cap, and how many slots of it are in use."""
    assert not _refused(a_story(refusal=full(**wrong)), SCOPE).held


def test_a_refusal_that_comes_late_is_put_again() -> None:
    """A hidden queue is late each time; a machine that stood still is not."""
    seen = _refused(a_story(took_s=0.3), SCOPE)
    assert (seen.held, seen.late) == (False, True)


def test_a_refusal_that_is_replayed() -> None:
    """The second try must be decided anew."""
    assert not _not_replayed(a_story(again=full() | {"replayed": True}), SCOPE).held
