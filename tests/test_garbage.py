"""The collector looks rarely, but not so rarely that what ended connections leave behind adds up."""

import gc
from collections.abc import Iterator

import pytest

from reference_daemon.garbage import look_rarely


class Knot:
    """Holds itself, so that only the collector can free it."""

    alive = 0

    def __init__(self) -> None:
        """Tie the knot."""
        self.itself = self
        self.rest: list[list[int]] = [[] for _ in range(20)]
        Knot.alive += 1

    def __del__(self) -> None:
        """Count it off."""
        Knot.alive -= 1


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leave the collector as it was."""
    before = gc.get_threshold()
    Knot.alive = 0
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.collect()


def test_thousands_of_new_objects_are_not_looked_at() -> None:
    """What is in flight starts no look, and what was loaded before is out of every look."""
    looks: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        looks.append(phase)

    look_rarely()
    assert gc.get_freeze_count() > 10_000  # the interpreter and its modules alone are more
    gc.callbacks.append(note)
    try:
        held = [[number] for number in range(5_000)]
    finally:
        gc.callbacks.remove(note)
    assert (len(held), looks) == (5_000, [])


def test_what_lived_long_before_it_ended_is_found_too() -> None:
    """Knots that were alive during several looks, and then ended, do not add up over many rounds."""
    look_rarely()
    most = 0
    for _ in range(40):
        held = [Knot() for _ in range(2_000)]  # 42,000 objects: several looks find them alive
        held.clear()
        most = max(most, Knot.alive)
    assert most <= 10_000, f"{most} of 80,000 knots were never looked at again"
