"""Everything random in the code under test, drawn from a seed while a run lasts: so that a run can be made again.

Connections are hashed by their ids then, not by where they lie in memory: else the order of a set of them is chance.
"""

import random
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from reference_daemon.link import Posting


def _hash_by_id(connection: Posting) -> int:
    return connection.id.int >> 70


@contextmanager
def drawn_from(chance: Random) -> Iterator[None]:
    """Draw ids, masks and backoffs from `chance` while the body runs."""
    before = uuid.uuid4, secrets.token_hex, secrets.token_bytes, random.getstate()
    uuid.uuid4 = lambda: uuid.UUID(int=chance.getrandbits(128), version=4)
    secrets.token_bytes = lambda nbytes=None: chance.randbytes(nbytes or 32)
    secrets.token_hex = lambda nbytes=None: chance.randbytes(nbytes or 32).hex()
    random.seed(chance.getrandbits(64))
    Posting.__hash__ = _hash_by_id  # type: ignore[assignment]
    try:
        yield
    finally:
        uuid.uuid4, secrets.token_hex, secrets.token_bytes = before[:3]
        random.setstate(before[3])
        del Posting.__hash__
