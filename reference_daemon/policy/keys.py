"""Keys of calls: opaque, only for idempotency; never sent in clear, never logged whole.

A client may send a key (a fresh UUIDv4 per logical call). Without one the work itself is the key, so that an identical
call in flight is found; for tools whose calls must never be taken for each other there is no key at all.
"""

from hashlib import sha256
from typing import Final

from reference_daemon.policy.events import CallKey

LOGGED_DIGITS: Final = 12
"""Hex digits of a key's hash in logs and acks: 48 bits tell all calls of a daemon's life apart."""


def fingerprint(work: bytes) -> bytes:
    """Return 32 bytes that are equal for equal work.

    Args:
        work: Canonical JSON of the call's name and arguments: sorted keys, no spaces, UTF-8.
    """
    return sha256(work).digest()


def derived_key(work_fingerprint: bytes) -> CallKey:
    """Return the key of a call whose client sent none: its fingerprint in hex."""
    return CallKey(work_fingerprint.hex())


def key_hash(key: str) -> str:
    """Return the digits by which logs and acks name a key."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:LOGGED_DIGITS]
