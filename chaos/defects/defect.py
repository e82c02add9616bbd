"""What a seeded defect is: a few attributes of the real code, each with what it is replaced by."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple


class Change(NamedTuple):
    """One attribute, replaced.

    Attributes:
        owner: The class or module that has it.
        name: Its name there.
        value: What stands there instead.
    """

    owner: type | ModuleType
    name: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A small fault in the real code, and the rule that must catch it.

    Attributes:
        name: By which it is asked for.
        title: What it changes.
        rule: What must fire: a rule ("INV-13"), or an expectation ("expectation:success_rate").
        stage: Stage of the gate, or scenario, in which it shows.
        where: Whose code it changes.
        changes: Returns the changes; the code is looked at only then.
        also: Other rules that may fire with it.
        judged_by: `gate`: a drill sees it; `virtual time`: only the simulator can; `static`: only a look at what was
            decided can.
    """

    name: str
    title: str
    rule: str
    stage: str
    where: Literal["daemon", "client", "shim"]
    changes: Callable[[], tuple[Change, ...]]
    also: tuple[str, ...] = ()
    judged_by: Literal["gate", "virtual time", "static"] = "gate"

    def apply(self) -> None:
        """Put the defect into the code of this process, for good."""
        for change in self.changes():
            original_of(change)
            setattr(*change)


def original_of(change: Change) -> Any:
    """Return what stands where a change goes.

    Raises:
        AttributeError: Nothing stands there: the defect is older than the code.
    """
    try:
        return vars(change.owner)[change.name]
    except KeyError:
        raise AttributeError(f"{change.owner.__name__} has no {change.name}") from None
