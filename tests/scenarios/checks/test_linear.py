"""The history of a key must have an order: histories that have none, near misses that have one, and the search."""

from typing import Any

import pytest

from scenarios.checks.context import History
from scenarios.checks.linear import ABSENT, Operation, State, linearizable, one_history
from tests.scenarios.checks.histories import (
    a_run,
    ack,
    daemon_call,
    ended,
    exchange,
    history,
    opened,
    received,
    refusal,
    result,
    sent,
)

TIMEOUTS = a_run().timeouts_s | {"result ttl": 600.0}


def told(*events: Any) -> History:
    """Return the history of these events, where results are kept for 600 s."""
    return history(opened(), *events, timeouts_s=TIMEOUTS)


def breaks(*events: Any) -> bool:
    """Return whether the rule sees a breach; it must have judged one key."""
    finding = one_history(told(*events))
    assert finding.judged == 1
    return bool(finding.violations)


def duplicate(at: float, name: str, owner: str = "r-1") -> list[Any]:
    """Return a request that is refused 10 ms later as the duplicate of `owner`."""
    return [sent(at, request_id=name), refusal(at + 0.01, name, status=409, original_request_id=owner)]


def replay(at: float, name: str, payload: str = "p-1") -> list[Any]:
    """Return a request that is answered 10 ms later with a replay."""
    return [sent(at, request_id=name), result(at + 0.01, name, replayed=True, payload_hash=payload)]


class TestKeys:
    def test_clean_run(self) -> None:
        """A call, duplicates of it, other work, and replays after its end have an order."""
        other = [sent(3.0, request_id="r-3", fingerprint="f-2"), refusal(3.01, "r-3", status=422)]
        full = [sent(-0.5, request_id="r-0"), refusal(-0.4, "r-0")]
        assert not breaks(*full, *exchange(), *duplicate(2.0, "r-2"), *other, *replay(13.0, "r-4"))

    def test_two_calls_own_the_key_at_once(self) -> None:
        """Of two calls in flight one must be a duplicate; one after the other is a second execution, too."""
        first = exchange(0.0, "r-1")
        assert breaks(*first, *exchange(5.0, "r-2"))
        assert breaks(*first, *exchange(20.0, "r-2"))

    def test_duplicate_of_a_call_that_had_ended(self) -> None:
        """A 409 after the owner's result came is too late; one that was asked for before it is not."""
        assert breaks(*exchange(), *duplicate(12.1, "r-2"))
        late = [sent(11.9, request_id="r-2"), refusal(12.1, "r-2", status=409, original_request_id="r-1")]
        assert not breaks(*exchange(), *late)

    def test_duplicate_of_a_call_that_was_not_sent_yet(self) -> None:
        """A 409 cannot come before its owner."""
        assert breaks(*duplicate(0.0, "r-2"), *exchange(1.0, "r-1"))

    def test_replay_of_what_has_not_ended(self) -> None:
        """A replay cannot come before the owner is asked for, nor with another payload."""
        assert breaks(*replay(0.0, "r-2"), *exchange(1.0, "r-1"))
        assert breaks(*exchange(), *replay(13.0, "r-2", "p-2"))

    def test_duplicate_after_a_replay(self) -> None:
        """A key that is done is not live again, though the owner's own answer is on its way."""
        asked = [sent(0.0), ack(0.01)]
        assert breaks(*asked, *replay(9.0, "r-2"), *duplicate(9.5, "r-3"), result(12.0))
        assert not breaks(*asked, *duplicate(9.0, "r-3"), *replay(9.5, "r-2"), result(12.0))

    def test_full_though_a_result_is_kept(self) -> None:
        """A finished key is replayed even when every pool is full."""
        assert breaks(*exchange(), sent(13.0, request_id="r-2"), refusal(13.01, "r-2"))
        assert not breaks(sent(-1.0, request_id="r-2"), refusal(-0.9, "r-2"), *exchange())

    def test_other_work_under_a_free_key(self) -> None:
        """A 422 needs somebody who used the key before."""
        assert breaks(sent(0.0), refusal(0.01, status=422))
        assert not breaks(sent(0.0), refusal(0.02, status=422), sent(0.0, request_id="r-2"), ack(0.03, "r-2"))


class TestUnknown:
    def test_request_without_an_answer_may_have_run(self) -> None:
        """A request whose answer was lost may own the key, or may never have come."""
        lost = [sent(0.0, request_id="r-0")]
        assert not breaks(*lost, *duplicate(1.0, "r-2", "r-0"), *replay(20.0, "r-3"))
        log = daemon_call(0.0, "admitted", "r-1")
        assert not breaks(*lost, *exchange(1.0, "r-1"), log)

    def test_only_one_of_them(self) -> None:
        """It cannot both own the key and never have come."""
        lost, log = [sent(0.0, request_id="r-0")], daemon_call(0.0, "admitted", "r-1")
        assert breaks(*lost, *duplicate(1.0, "r-2", "r-0"), *exchange(2.0, "r-1"), log)

    def test_cut_call_ends_when_its_work_does(self) -> None:
        """After a 504 the key is live until the work has stopped, which no client sees."""
        cut = [sent(0.0), ack(0.01), received(10.0, status=504, code="TIMEOUT", payload_hash="e-1")]
        log = daemon_call(0.0, "admitted", "r-1")
        assert not breaks(*cut, *duplicate(10.5, "r-2"), *replay(11.0, "r-3", "e-1"), log)
        assert breaks(*cut, *replay(10.5, "r-3", "e-1"), *duplicate(11.0, "r-2"), log)


class TestNotJudged:
    def test_takeover(self) -> None:
        """A key that was taken over has states that this rule does not know."""
        heir = daemon_call(5.0, "admitted", "r-2", waits=True)
        assert one_history(told(*exchange(), *exchange(5.0, "r-2"), heir)).judged == 0
        lost = [sent(0.0, request_id="r-0"), ack(0.1, "r-0"), *exchange(5.0, "r-1")]
        assert one_history(told(*lost)).judged == 0

    def test_key_that_outlived_its_result(self) -> None:
        """After the result TTL a key may be used again."""
        assert one_history(told(*exchange(), *exchange(601.0, "r-2"))).judged == 0

    def test_each_start_of_the_daemon_begins_anew(self) -> None:
        """Another daemon knows nothing of the key."""
        other = [opened(19.0, connection=2, boot_id="b-2"), *exchange(20.0, "r-2", connection=2)]
        finding = one_history(told(*exchange(), ended(18.0), *other))
        assert (finding.judged, len(finding.violations)) == (2, 0)

    def test_unknown_ttl_is_undecided(self) -> None:
        """Without the result TTL nobody knows how long a key is done."""
        assert one_history(history(*exchange())).missing is not None


class TestSearch:
    def test_storm_of_duplicates(self) -> None:
        """A thousand duplicates at once are searched in few steps: each changes nothing."""
        storm = [Operation("duplicate", f"d-{n}", 0.0, 1.0, owner="r") for n in range(1000)]
        owner = [Operation("take", "r", 0.0, 1.0), Operation("end", "r", 0.0, 2.0)]
        assert linearizable([*storm, *owner], most_steps=10) is True
        assert linearizable([*storm, owner[1]], most_steps=10) is False

    def test_gives_up(self) -> None:
        """A search that takes too many steps says neither yes nor no."""
        lost = [Operation("take", f"l-{n}", 0.0, float("inf"), sure=False) for n in range(30)]
        never = Operation("replay", "r", 0.0, 1.0, payload="p")
        assert linearizable([*lost, never], most_steps=10) is None

    @pytest.mark.parametrize(
        ("operation", "state", "after"),
        [
            (Operation("take", "r", 0, 1), ABSENT, State("live", "r")),
            (Operation("take", "r", 0, 1), State("live", "o"), None),
            (Operation("end", "r", 0, 1, payload="p"), State("live", "r"), State("done", "r", "p")),
            (Operation("end", "r", 0, 1), State("live", "o"), None),
            (Operation("duplicate", "r", 0, 1, owner="o"), State("live", "o"), State("live", "o")),
            (Operation("duplicate", "r", 0, 1, owner="x"), State("live", "o"), None),
            (Operation("replay", "r", 0, 1, payload="p"), State("done", "o", "p"), State("done", "o", "p")),
            (Operation("replay", "r", 0, 1, payload="q"), State("done", "o", "p"), None),
            (Operation("reused", "r", 0, 1), ABSENT, None),
            (Operation("full", "r", 0, 1), ABSENT, ABSENT),
            (Operation("full", "r", 0, 1), State("done", "o"), None),
        ],
    )
    def test_moves(self, operation: Operation, state: State, after: State | None) -> None:
        """What may happen to a key stands as a table."""
        assert operation.apply(state) == after
