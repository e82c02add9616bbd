"""Seeded defects: the faults that the gate is made to find, each one small change to the real code.

The code under test knows nothing of them. `python -m chaos.defects.run NAME -- daemon ...` runs a command of `exai`
with a defect in it; `applied` puts one into this process for a while.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chaos.defects import client, deadlines, door, ends, errors_, heartbeats, keys, shim, slots
from chaos.defects.defect import Change, Defect, original_of
from reference_daemon.policy.errors import HarnessError

__all__ = ["DEFECTS", "Change", "Defect", "UnknownDefectError", "applied", "find"]

_AREAS: Final = (slots, keys, heartbeats, deadlines, ends, door, errors_, shim, client)

DEFECTS: Final[dict[str, Defect]] = {defect.name: defect for area in _AREAS for defect in area.DEFECTS}
"""All of them by name."""


class UnknownDefectError(HarnessError):
    """There is no defect of that name.

    Attributes:
        name: What was asked for.
        nearest: The name that is most like it; None if none is.
    """

    exit_code = 2

    def __init__(self, name: str) -> None:
        """Keep the name, and look for the one that may have been meant."""
        super().__init__(name)
        self.name = name
        self.nearest = next(iter(difflib.get_close_matches(name, DEFECTS, n=1)), None)

    def __str__(self) -> str:
        """Name what was asked for, and what may have been meant."""
        hint = f"; did you mean {self.nearest}?" if self.nearest else f"; there are {', '.join(DEFECTS)}"
        return f"no defect {self.name!r}{hint}"


def find(name: str) -> Defect:
    """Return the defect of that name.

    Raises:
        UnknownDefectError: There is none.
    """
    try:
        return DEFECTS[name]
    except KeyError:
        raise UnknownDefectError(name) from None


@contextmanager
def applied(name: str) -> Iterator[Defect]:
    """Put a defect into the code of this process while the body runs; then everything is as it was.

    Raises:
        UnknownDefectError: There is none of that name.
    """
    defect = find(name)
    before = [change._replace(value=original_of(change)) for change in defect.changes()]
    try:
        defect.apply()
        yield defect
    finally:
        for change in before:
            setattr(*change)
