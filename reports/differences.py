"""What differs between two runs besides what came out: a change may come from that."""

from collections.abc import Iterator, Mapping
from typing import Final

from reports.table import CallTable
from scenarios.run import Run

_PLAIN: Final = {
    "scenario": "scenario",
    "body": "body",
    "seed": "seed",
    "time_scale": "time scale",
    "target": "daemon",
    "defect": "seeded defect",
}
"""Fields of a run whose values are compared as they are, and their names for people."""

_TABLES: Final = {"settings": "", "timeouts_s": "", "caps": "cap ", "versions": "version of "}
"""Fields that hold values by name, and what stands before such a name."""


def differences_of(run: tuple[Run, CallTable], baseline: tuple[Run, CallTable]) -> Iterator[str]:
    """Give a line for each: the baseline's value first."""
    (now, calls), (before, calls_before) = run, baseline
    for name, words in _PLAIN.items():
        if getattr(before, name) != getattr(now, name):
            yield _line(words, getattr(before, name), getattr(now, name))
    for name, words in _TABLES.items():
        yield from _entries(words, getattr(before, name), getattr(now, name))
    faults = [", ".join(sorted(fault.name for fault in each.faults)) for each in (before, now)]
    if faults[0] != faults[1]:
        yield _line("faults", faults[0], faults[1])
    for words, names in (("tools", "tool"), ("phases", "phase")):
        lists = [", ".join(sorted(getattr(table, names).names)) for table in (calls_before, calls)]
        if lists[0] != lists[1]:
            yield _line(words, lists[0], lists[1])
    if now.stopped_by is not None:
        yield f"this run did not come to its end: {now.stopped_by}"


def _entries(words: str, before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield _line(f"{words}{name}", before.get(name), now.get(name))


def _line(words: str, before: object, now: object) -> str:
    return f"{words}: {_said(before)}, now {_said(now)}"


def _said(value: object) -> str:
    return "none" if value is None or value == "" else str(value)
