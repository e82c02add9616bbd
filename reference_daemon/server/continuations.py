"""What the tools remember between calls: a bounded store of continuations.

A continuation belongs to whoever knows its id, so ids cannot be guessed. The store is bounded four ways: the
number of continuations, their bytes together, the bytes of each, and the time since one was last used.
Nothing runs in the background: what has expired is dropped when somebody next looks.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from reference_daemon.clock import Clock
from reference_daemon.server.context import ArgumentError

ID_BYTES: Final = 16  # 128 bits, as in a UUID: not to be guessed


class Item(Protocol):
    """One thing that is remembered. Items with equal keys replace each other."""

    @property
    def key(self) -> Hashable:
        """What the item is about."""

    def size(self) -> int:
        """Return the item's size in bytes."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is remembered, and for how long.

    Attributes:
        entries: Continuations in all.
        total_bytes: Bytes of all of them.
        entry_bytes: Bytes of one; above it, its oldest items go. So it bounds prompts, too.
        ttl_s: Seconds after its last use that a continuation is forgotten.
    """

    entries: int = 1_000
    total_bytes: int = 64 * 2**20
    entry_bytes: int = 2**20
    ttl_s: float = 3_600.0  # a person reads an answer and comes back within the hour


@dataclass(slots=True)
class _Continuation(Generic[ItemT]):
    used_at: float
    items: dict[Hashable, ItemT] = field(default_factory=dict)
    bytes: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Remembered(Generic[ItemT]):
    """What stands under a continuation id.

    Attributes:
        items: The items, oldest first.
        lost: Items that were dropped because the continuation grew too large.
    """

    items: tuple[ItemT, ...] = ()
    lost: int = 0


class Continuations(Generic[ItemT]):
    """Remembers items under ids that it makes."""

    def __init__(self, clock: Clock, token_hex: Callable[[int], str], bounds: Bounds | None = None) -> None:
        """Make an empty store.

        Args:
            clock: Source of time.
            token_hex: Returns so many random bytes in hex; `secrets.token_hex` outside of tests.
            bounds: How much is remembered.
        """
        self._clock = clock
        self._token_hex = token_hex
        self._bounds = bounds or Bounds()
        self._entries: dict[str, _Continuation[ItemT]] = {}  # the one used longest ago first
        self.bytes = 0

    def __len__(self) -> int:
        """Return the number of continuations that are held."""
        return len(self._entries)

    def open(self, continuation_id: str | None) -> str:
        """Return the id of a continuation that exists: the one that is named, or a new one for None.

        Raises:
            ArgumentError: The id is not known, or was forgotten.
        """
        self._forget_expired()
        if continuation_id is None:
            continuation_id = self._token_hex(ID_BYTES)
            self._entries[continuation_id] = _Continuation(self._clock.now())
            self._shrink()
        elif continuation_id not in self._entries:
            raise ArgumentError("continuation_id", "is not known, or has expired; leave it out to start anew")
        self._touch(continuation_id)
        return continuation_id

    def add(self, continuation_id: str, item: ItemT) -> None:
        """Remember `item` in place of one with the same key; an id that was dropped is set up anew."""
        entry = self._touch(continuation_id)
        before = entry.bytes
        old = entry.items.pop(item.key, None)
        entry.bytes += item.size() - (old.size() if old else 0)
        entry.items[item.key] = item
        while entry.bytes > self._bounds.entry_bytes and len(entry.items) > 1:
            entry.bytes -= entry.items.pop(next(iter(entry.items))).size()
            entry.lost += 1
        self.bytes += entry.bytes - before
        self._shrink()

    def recall(self, continuation_id: str) -> Remembered[ItemT]:
        """Return what stands under the id; nothing if it was dropped."""
        entry = self._entries.get(continuation_id)
        return Remembered(tuple(entry.items.values()), entry.lost) if entry else Remembered()

    def _touch(self, continuation_id: str) -> _Continuation[ItemT]:
        now = self._clock.now()
        entry = self._entries.pop(continuation_id, None) or _Continuation(now)
        entry.used_at = now
        self._entries[continuation_id] = entry
        return entry

    def _forget_expired(self) -> None:
        horizon = self._clock.now() - self._bounds.ttl_s
        while self._entries and next(iter(self._entries.values())).used_at <= horizon:
            self._drop_oldest()

    def _shrink(self) -> None:
        while len(self._entries) > self._bounds.entries or self.bytes > self._bounds.total_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.bytes -= self._entries.pop(next(iter(self._entries))).bytes
