"""Which requests wait, and for what."""

from reference_daemon.policy.events import RequestId, SessionId
from reference_daemon.policy.requests import RequestTable
from tests.policy.builders import A, B

S, T = SessionId("s"), SessionId("t")
R, Q = RequestId("r"), RequestId("q")


def test_a_request_is_known_until_it_is_answered() -> None:
    """Then its id may be used again."""
    table = RequestTable()
    table.add(S, R, A)
    assert table.call_of(S, R) == A
    table.answered(S, R)
    assert table.call_of(S, R) is None
    table.add(S, R, B)
    assert table.call_of(S, R) == B


def test_sessions_have_their_own_ids() -> None:
    """The same request_id in two sessions is two requests."""
    table = RequestTable()
    table.add(S, R, A)
    table.add(T, R, B)
    table.answered(S, R)
    assert (table.call_of(S, R), table.call_of(T, R)) == (None, B)


def test_requests_are_counted_per_session() -> None:
    """A session that waits for nothing counts none."""
    table = RequestTable()
    table.add(S, R, A)
    table.add(S, Q, A)
    assert (table.count(S), table.count(T)) == (2, 0)
    table.answered(S, R)
    assert table.count(S) == 1


def test_a_closed_session_says_what_it_waited_for() -> None:
    """Each call once, and nothing the second time."""
    table = RequestTable()
    table.add(S, R, A)
    table.add(S, Q, A)
    table.add(T, R, B)
    assert table.close(S) == {A}
    assert table.close(S) == set()
    assert table.call_of(T, R) == B


def test_a_session_that_waits_for_nothing_leaves_no_trace() -> None:
    """Sessions come and go for months."""
    table = RequestTable()
    table.add(S, R, A)
    table.add(S, Q, A)
    table.answered(S, R)
    table.answered(S, Q)
    assert not table._sessions


def test_answers_may_come_too_late() -> None:
    """An answer for a session that is gone, or for a request that nobody knows, is no error."""
    table = RequestTable()
    table.add(S, R, A)
    table.answered(S, Q)
    table.answered(T, R)
    assert table.call_of(S, R) == A
