"""Keys: held, done, executed."""

import pytest

from reference_daemon.policy.config import Ttls
from reference_daemon.policy.duplicates import Done, KeyTable
from reference_daemon.policy.events import CallId, CallKey
from tests.policy.builders import A, B, C, D

K, L, M = CallKey("k"), CallKey("l"), CallKey("m")


def a_result(call_id: CallId, *, until: float = 600.0, size_bytes: int = 10) -> Done:
    """Return a result to be kept."""
    return Done(call_id, f"r{call_id}", b"work", explicit=True, until=until, size_bytes=size_bytes)


@pytest.fixture
def table() -> KeyTable:
    """A table for two results, 100 bytes and two tombstones."""
    return KeyTable(Ttls(result_entries=2, result_bytes=100, tombstones=2))


class TestOwner:
    def test_a_key_belongs_to_who_claimed_it_last(self, table: KeyTable) -> None:
        """A successor takes the key over."""
        assert table.owner(K) is None
        table.claim(K, A)
        table.claim(K, B)
        assert table.owner(K) == B

    def test_a_late_owner_cannot_free_its_successors_key(self, table: KeyTable) -> None:
        """Only the call that holds a key frees it."""
        table.claim(K, A)
        table.claim(K, B)
        table.release(K, A)
        assert table.owner(K) == B
        table.release(K, B)
        assert table.owner(K) is None
        table.release(K, B)
        assert table.counts() == (0, 0, 0, 0)


class TestResults:
    def test_a_result_can_be_had_until_exactly_its_ttl(self, table: KeyTable) -> None:
        """At the end of its TTL, not after it, it is too old."""
        assert table.keep(K, a_result(A)) == []
        assert table.done(K, 599.9) == a_result(A)
        assert table.done(K, 600.0) is None

    def test_a_key_that_was_executed_is_remembered(self, table: KeyTable) -> None:
        """Its result gone, a tombstone remains."""
        assert not table.executed(K)
        table.keep(K, a_result(A))
        assert table.executed(K)
        assert table.sweep(599.9) == []
        assert table.sweep(600.0) == [A]
        assert table.executed(K)
        assert table.counts() == (0, 0, 0, 1)

    def test_the_oldest_goes_when_there_are_too_many(self, table: KeyTable) -> None:
        """Two are kept at the bound of two; the third drops the first."""
        assert table.keep(K, a_result(A)) == []
        assert table.keep(L, a_result(B)) == []
        assert table.keep(M, a_result(C)) == [A]
        assert table.counts() == (0, 2, 20, 1)

    @pytest.mark.parametrize(("size_bytes", "dropped"), [(39, []), (40, []), (41, [A])])
    def test_the_oldest_goes_when_they_are_too_large(
        self, table: KeyTable, size_bytes: int, dropped: list[int]
    ) -> None:
        """At exactly the bound in bytes both are kept."""
        table.keep(K, a_result(A, size_bytes=60))
        assert table.keep(L, a_result(B, size_bytes=size_bytes)) == dropped

    def test_one_that_is_too_large_by_itself_pushes_nobody_out(self, table: KeyTable) -> None:
        """It is not kept; the others are."""
        table.keep(K, a_result(A))
        assert table.keep(L, a_result(B, size_bytes=101)) == [B]
        assert table.done(K, 1.0) is not None
        assert table.done(L, 1.0) is None
        assert table.executed(L)
        assert table.counts() == (0, 1, 10, 1)

    def test_a_new_result_replaces_the_old_one(self, table: KeyTable) -> None:
        """A derived key is executed again; only its last result is kept, as the youngest."""
        table.keep(K, a_result(A))
        table.keep(L, a_result(B, until=601.0))
        assert table.keep(K, a_result(C, until=602.0, size_bytes=30)) == [A]
        assert table.counts() == (0, 2, 40, 0)
        assert table.keep(M, a_result(D, until=603.0)) == [B]

    def test_also_one_that_is_too_old(self, table: KeyTable) -> None:
        """An explicit key that was executed again after its TTL; what is too old by itself waits for a sweep."""
        table.keep(L, a_result(A))
        table.keep(K, a_result(B))
        assert table.keep(K, a_result(C, until=1200.0)) == [B]
        assert table.done(K, 600.0) == a_result(C, until=1200.0)
        assert table.sweep(600.0) == [A]


class TestTombstones:
    def test_the_oldest_is_forgotten(self, table: KeyTable) -> None:
        """Two are remembered at the bound of two; burying again makes a key young."""
        table.bury(K)
        table.bury(L)
        table.bury(K)
        table.bury(M)
        assert [table.executed(key) for key in (K, L, M)] == [True, False, True]

    def test_keep_no_key(self, table: KeyTable) -> None:
        """Of a key that was executed only a hash is left: thousands of whole keys would add up."""
        table.bury(K)
        assert list(table._tombstones) == [hash(K)]
