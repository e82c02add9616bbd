"""Pages that were fetched lately: bounded in age, number and bytes; the least recently used go first."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    size: int
    expires_at: float


class ExpiringCache(Generic[T]):
    """A cache whose caller says what time it is."""

    def __init__(self, *, ttl_s: float, max_entries: int, max_bytes: int) -> None:
        """Make an empty cache.

        Args:
            ttl_s: How long an entry is served, in seconds.
            max_entries: Most entries.
            max_bytes: Most bytes of all entries together.
        """
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """Return the number of entries, lapsed ones too."""
        return len(self._entries)

    def get(self, key: str, *, now: float) -> T | None:
        """Return what is kept under `key`; None if there is nothing, or if it has lapsed by `now`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.expires_at:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: str, value: T, size: int, *, now: float) -> None:
        """Keep `value`, of `size` bytes, from `now` on; one that is larger than the cache is not kept."""
        if key in self._entries:
            self._drop(key)
        if size > self._max_bytes:
            return
        self._entries[key] = _Entry(value, size, now + self._ttl_s)
        self.bytes += size
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self.bytes -= self._entries.pop(key).size
