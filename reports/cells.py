"""The cells of a study's tables, as people read them."""

import numpy as np

from reports.page import NOTHING, three_digits
from reports.study import Cell, Link
from scenarios.verdict import Verdict


def shown(value: Cell) -> str:
    """Write a cell for people."""
    if isinstance(value, Link):
        return value.text
    if value is None:
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return value if isinstance(value, str) else three_digits(value)


def is_number(value: Cell) -> bool:
    """Return whether a cell stands on the right."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def is_verdict(value: Cell) -> bool:
    """Return whether a cell looks like a verdict."""
    return isinstance(value, Verdict)


def is_link(value: Cell) -> bool:
    """Return whether a cell leads somewhere."""
    return isinstance(value, Link)
