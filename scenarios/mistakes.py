"""What is wrong with a scenario file: every mistake with its place, so that one look is enough to mend all."""

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from reference_daemon.policy.errors import HarnessError

Path = tuple[str | int, ...]
"""Where something stands in a file: keys of mappings and indexes of lists, from the outside in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a scenario file.

    Attributes:
        file: The file, as its reader named it.
        line: Line of the mistake, from 1; None if it is the file's own (missing, too large).
        key: Where it stands, as `load[0].arrivals`; empty for the file as a whole.
        reason: What is wrong. Quotes no value: a setting may be a secret.
        nearest: What was probably meant.
    """

    file: str
    line: int | None
    key: str
    reason: str
    nearest: str | None = None

    def __str__(self) -> str:
        """Write it as editors and terminals expect it, with the line to jump to."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = ": ".join(part for part in (place, self.key, self.reason) if part)
        return f'{text} (did you mean "{self.nearest}"?)' if self.nearest else text


class ScenarioError(HarnessError):
    """A scenario cannot be used.

    Attributes:
        mistakes: All of its mistakes, in the order of their lines; at least one.
    """

    exit_code = 2

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        """Keep the mistakes; the text is made by `__str__`."""
        self.mistakes: tuple[Mistake, ...] = tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))
        super().__init__(*self.mistakes)

    def __str__(self) -> str:
        """List the mistakes, one a line."""
        return "\n".join(map(str, self.mistakes))


def nearest(word: object, known: Collection[str]) -> str | None:
    """Return the one of `known` that looks most like `word`; None if none does."""
    if not isinstance(word, str):
        return None
    # Case is the commonest slip, and difflib counts it as another letter.
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else None


def key_of(path: Sequence[str | int]) -> str:
    """Write a path as `load[0].arrivals`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
