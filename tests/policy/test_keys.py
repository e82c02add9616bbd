"""How keys and fingerprints are made."""

from hashlib import sha256

import pytest

from reference_daemon.policy.keys import LOGGED_DIGITS, derived_key, fingerprint, key_hash

WORK = b'{"arguments":{"step":1},"name":"analyze"}'


def test_equal_work_has_equal_fingerprints() -> None:
    """The fingerprint is SHA-256 of the canonical work and of nothing else."""
    assert fingerprint(WORK) == sha256(WORK).digest()
    assert fingerprint(WORK) != fingerprint(WORK + b" ")


def test_a_derived_key_is_the_fingerprint_in_hex() -> None:
    """Identical calls without a key have the same key."""
    assert derived_key(fingerprint(WORK)) == sha256(WORK).hexdigest()


def test_logs_name_a_key_by_part_of_its_hash() -> None:
    """What is logged tells keys apart and does not contain them."""
    assert key_hash("k") == sha256(b"k").hexdigest()[:LOGGED_DIGITS]
    assert len(key_hash("k")) == 12
    assert key_hash("k") != key_hash("K")


@pytest.mark.parametrize("key", ["", "é", "\ud800", "x" * 255])
def test_any_text_can_be_hashed(key: str) -> None:
    """Also text that is no valid Unicode, as JSON may carry it."""
    assert len(key_hash(key)) == LOGGED_DIGITS
