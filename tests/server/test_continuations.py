"""The store of continuations: bounded in entries, bytes and time."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_daemon.server.context import ArgumentError
from reference_daemon.server.continuations import Bounds, Continuations, Remembered
from tests.server.fakes import ID, Hands


@dataclass(frozen=True)
class Note:
    """An item of `length` bytes about `key`."""

    key: int
    length: int = 1

    def size(self) -> int:
        """Return the length."""
        return self.length


def a_store(hands: Hands, **bounds: float) -> Continuations[Note]:
    """Return an empty store."""
    return Continuations(hands.clock, hands.token_hex, Bounds(**bounds))  # type: ignore[arg-type]


class TestIds:
    def test_the_store_makes_the_ids(self, hands: Hands) -> None:
        """A new continuation gets 128 random bits in hex, from the source that was handed in."""
        assert a_store(hands).open(None) == ID

    def test_an_unknown_id_is_refused_by_field(self, hands: Hands) -> None:
        """Nobody can choose an id, so nobody can guess another's work by choosing it first."""
        with pytest.raises(ArgumentError) as caught:
            a_store(hands).open("mine")
        assert caught.value.field == "continuation_id"
        assert "mine" not in caught.value.reason

    def test_a_known_id_is_opened_again(self, hands: Hands) -> None:
        """Whoever knows the id goes on where it stands."""
        store = a_store(hands)
        store.add(store.open(None), Note(1))
        assert store.recall(store.open(ID)) == Remembered((Note(1),))


class TestItems:
    def test_items_keep_their_order(self, hands: Hands) -> None:
        """What was added first is recalled first."""
        store = a_store(hands)
        store.open(None)
        for key in (3, 1, 2):
            store.add(ID, Note(key))
        assert [note.key for note in store.recall(ID).items] == [3, 1, 2]

    def test_an_equal_key_replaces(self, hands: Hands) -> None:
        """The same item sent again stands once, in its new form, and its bytes count once."""
        store = a_store(hands)
        store.open(None)
        store.add(ID, Note(1, length=5))
        store.add(ID, Note(1, length=7))
        assert store.recall(ID).items == (Note(1, length=7),)
        assert store.bytes == 7

    def test_nothing_stands_under_a_dropped_id(self, hands: Hands) -> None:
        """To recall what was dropped is no error: its call is still running."""
        assert a_store(hands).recall(ID) == Remembered()


class TestBounds:
    def test_the_one_unused_longest_goes(self, hands: Hands) -> None:
        """Above the number of entries, the one that was used longest ago is dropped."""
        store = a_store(hands, entries=2)
        first, second = store.open(None), store.open(None)
        store.open(first)
        third = store.open(None)
        assert len(store) == 2
        store.open(first)
        store.open(third)
        with pytest.raises(ArgumentError):
            store.open(second)

    @pytest.mark.parametrize(("length", "held"), [(9, 2), (10, 2), (11, 1)])
    def test_all_bytes_together_are_bounded(self, hands: Hands, length: int, held: int) -> None:
        """At the limit all stay; one byte above, the continuation unused longest goes."""
        store = a_store(hands, total_bytes=20)
        store.add(store.open(None), Note(1, length=10))
        store.add(store.open(None), Note(1, length=length))
        assert len(store) == held

    def test_the_bytes_of_one_are_bounded(self, hands: Hands) -> None:
        """A continuation that grows too large loses its oldest items, and says how many."""
        store = a_store(hands, entry_bytes=10)
        store.open(None)
        for key in range(4):
            store.add(ID, Note(key, length=4))
        assert store.recall(ID) == Remembered((Note(2, length=4), Note(3, length=4)), lost=2)
        assert store.bytes == 8

    @pytest.mark.parametrize(("age_s", "known"), [(59.9, True), (60.0, False)])
    def test_an_unused_one_expires(self, hands: Hands, age_s: float, known: bool) -> None:
        """At exactly its TTL after its last use, not before, a continuation is forgotten."""
        store = a_store(hands, ttl_s=60.0)
        store.add(store.open(None), Note(1))
        hands.now += age_s
        if known:
            assert store.open(ID) == ID
        else:
            with pytest.raises(ArgumentError):
                store.open(ID)
            assert (len(store), store.bytes) == (0, 0)

    def test_use_prolongs(self, hands: Hands) -> None:
        """The TTL counts from the last use."""
        store = a_store(hands, ttl_s=60.0)
        store.open(None)
        for _ in range(3):
            hands.now += 59.0
            store.open(ID)

    def test_an_item_above_all_bounds_empties_the_store(self, hands: Hands) -> None:
        """No item is worth breaking the bound for: the store stays within it, empty."""
        store = a_store(hands, total_bytes=5)
        store.add(store.open(None), Note(1, length=6))
        assert (len(store), store.bytes) == (0, 0)

    @given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 9), st.floats(0, 9))))
    def test_no_history_breaks_a_bound(self, moves: list[tuple[int, int, int, float]]) -> None:
        """Whatever is added when, entries and bytes stay within bounds, and the bytes are counted right."""
        hands = Hands()
        store = a_store(hands, entries=3, total_bytes=20, entry_bytes=12, ttl_s=20.0)
        for number, key, length, wait_s in moves:
            hands.now += wait_s
            name = f"{number:032x}"
            store.add(name if hands.ids >= number else store.open(None), Note(key, length))
            held = [note for made in range(20) for note in store.recall(f"{made:032x}").items]
            assert store.bytes == sum(note.length for note in held) <= 20
            assert len(store) <= 3
