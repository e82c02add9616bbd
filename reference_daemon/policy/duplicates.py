"""Who holds a key, whose result is kept under it, and which keys were executed at all.

A key is absent, live (owned by a call), or done (a result is kept). A done key is forgotten after its TTL, or earlier
when results are too many or too large; it leaves a tombstone, so that one who asks for it learns that the call ran.
All three maps are bounded: live keys by the caps, results and tombstones here.
"""

from collections import OrderedDict
from typing import NamedTuple

from reference_daemon.policy.config import Ttls
from reference_daemon.policy.events import CallId, CallKey


class Done(NamedTuple):
    """A kept result.

    Attributes:
        call_id: The call whose result it is.
        request_id: Its request_id, to be named where the key is used for other work.
        fingerprint: Its work.
        explicit: Whether a client chose the key: only such a result is replayed to a new call.
        until: Moment at which it is no longer replayed.
        size_bytes: Its size.
    """

    call_id: CallId
    request_id: str
    fingerprint: bytes
    explicit: bool
    until: float
    size_bytes: int


class KeyTable:
    """The keys of one daemon."""

    def __init__(self, ttls: Ttls) -> None:
        """Start with no key known."""
        self._ttls = ttls
        self._most_results, self._most_bytes = ttls.result_entries, ttls.result_bytes
        self._owners: dict[CallKey, CallId] = {}
        self._done: OrderedDict[CallKey, Done] = OrderedDict()  # oldest first
        self._done_bytes = 0
        self._tombstones: OrderedDict[int, None] = OrderedDict()  # hashes of keys, oldest first

    def owner(self, key: CallKey) -> CallId | None:
        """Return the call that holds `key`."""
        return self._owners.get(key)

    def claim(self, key: CallKey, call_id: CallId) -> None:
        """Let `call_id` hold `key`, also where another call held it."""
        self._owners[key] = call_id

    def release(self, key: CallKey, call_id: CallId) -> None:
        """Free `key` if `call_id` still holds it: a late owner cannot free its successor's key."""
        if self._owners.get(key) == call_id:
            del self._owners[key]

    def done(self, key: CallKey, now: float) -> Done | None:
        """Return the result that is kept under `key` and not too old."""
        done = self._done.get(key)
        return done if done is not None and now < done.until else None

    def executed(self, key: CallKey) -> bool:
        """Return whether a call with `key` is known to have run and ended."""
        return key in self._done or hash(key) in self._tombstones

    def keep(self, key: CallKey, done: Done) -> list[CallId]:
        """Keep a result under `key`.

        Returns:
            The calls whose results are to be dropped for it, `done.call_id` among them if it is too large to keep.
        """
        dropped, results = [], self._done
        if key in results:
            former = results.pop(key)
            self._done_bytes -= former.size_bytes
            dropped.append(former.call_id)
        if done.size_bytes > self._most_bytes:  # nor may it push all the others out
            self.bury(key)
            return [*dropped, done.call_id]
        results[key] = done
        self._done_bytes += done.size_bytes
        while len(results) > self._most_results or self._done_bytes > self._most_bytes:
            dropped.append(self._bury_oldest())
        return dropped

    def sweep(self, now: float) -> list[CallId]:
        """Forget the results that are too old, and return whose they were."""
        dropped = []
        while self._done and next(iter(self._done.values())).until <= now:
            dropped.append(self._bury_oldest())
        return dropped

    def bury(self, key: CallKey) -> None:
        """Remember that a call with `key` was executed, though no result of it is kept.

        Of the key only its hash is remembered, which takes less memory. Should two keys ever share one, the second is
        taken for executed: its client is told that nobody knows, never that it did not run.
        """
        tombstone = hash(key)
        self._tombstones.pop(tombstone, None)
        self._tombstones[tombstone] = None
        if len(self._tombstones) > self._ttls.tombstones:
            self._tombstones.popitem(last=False)

    def counts(self) -> tuple[int, int, int, int]:
        """Return the numbers of live keys, results, bytes of results, and tombstones."""
        return len(self._owners), len(self._done), self._done_bytes, len(self._tombstones)

    def _bury_oldest(self) -> CallId:
        """Put a tombstone in the place of the oldest result."""
        key, done = self._done.popitem(last=False)
        self._done_bytes -= done.size_bytes
        self.bury(key)
        return done.call_id
