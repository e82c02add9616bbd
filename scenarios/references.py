"""Names in a scenario that refer to others: a misspelt one would leave an expectation without a single call."""

from collections.abc import Collection, Iterator
from typing import Any, Final

from pydantic import ValidationError

from scenarios.lines import Document
from scenarios.mistakes import Mistake, Path, nearest
from scenarios.model import Scenario
from scenarios.model_faults import Fault

_QUIESCE_S: Final = float(Scenario.model_fields["quiesce"].default)


def dangling(document: Document) -> list[Mistake]:
    """Return the names that refer to nothing, and phases whose name is taken.

    Works on a file that has other mistakes, too: what cannot be read is left to the validator, and refers to nothing.
    """
    phases = _phase_names(document)
    return [
        *_taken(document, phases),
        *_in_faults(document),
        *_after_the_end(document),
        *_in_expectations(document, phases),
    ]


def _in_faults(document: Document) -> Iterator[Mistake]:
    providers = provider_names(document)
    for index, fault in enumerate(mappings(document, "faults")):
        kind, colon, name = str(fault.get("link")).partition(":")
        if colon:
            links = [f"{kind}:{provider}" for provider in providers]
            yield from _refer(document, ("faults", index, "link"), f"{kind}:{name}", "link", links)
        change = fault.get("provider")
        if isinstance(change, dict):
            yield from _refer(
                document, ("faults", index, "provider", "name"), change.get("name"), "provider", providers
            )


def _after_the_end(document: Document) -> Iterator[Mistake]:
    """Return the faults that would never begin, as the run is over before."""
    load_s = _load_s(document)
    quiesce_s = _number(document.data.get("quiesce", _QUIESCE_S)) if isinstance(document.data, dict) else None
    if load_s is None or quiesce_s is None:
        return
    for index, fault in enumerate(mappings(document, "faults")):
        at = _number(fault.get("at"))
        if at is not None and at >= load_s + quiesce_s:
            end = f"the load ends at {load_s:g} s, and the run {quiesce_s:g} s later at {load_s + quiesce_s:g} s"
            yield document.mistake(("faults", index, "at"), f"would never begin: {end}")


def _load_s(document: Document) -> float | None:
    """Return when the load's last phase ends; None if there is none, or one that cannot be read."""
    end = last = 0.0
    for phase in mappings(document, "load"):
        duration = _number(phase.get("duration"))
        start = end if phase.get("start") is None else _number(phase["start"])
        if duration is None or duration <= 0 or start is None:
            return None
        end = start + duration
        last = max(last, end)
    return last or None


def _number(value: object) -> float | None:
    """Return a number, as the validator reads it; None for what is none."""
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None


def _in_expectations(document: Document, phases: Collection[str]) -> Iterator[Mistake]:
    known = {
        "phase": phases,
        "provider": provider_names(document),
        "tool": _tools(document),
        "during": _fault_names(document),
    }
    titles = {"phase": "phase", "provider": "provider", "tool": "tool in the load", "during": "fault"}
    for index, expectation in enumerate(mappings(document, "expect")):
        for key, names in known.items():
            yield from _refer(document, ("expect", index, key), expectation.get(key), titles[key], names)
        kind, colon, name = str(expectation.get("scope")).partition(":")
        if colon and kind in {"provider", "tool"}:
            scopes = [f"{kind}:{there}" for there in known[kind]]
            yield from _refer(document, ("expect", index, "scope"), f"{kind}:{name}", titles[kind], scopes)


def _refer(document: Document, place: Path, name: object, what: str, known: Collection[str]) -> Iterator[Mistake]:
    """Return a mistake if `name` is none of the known ones; without any known there is nothing to compare with."""
    if isinstance(name, str) and known and name not in known:
        yield document.mistake(place, f"no such {what}; there is {', '.join(known)}", nearest(name, known))


def _taken(document: Document, phases: Collection[str]) -> Iterator[Mistake]:
    seen: set[object] = set()
    for index, phase in enumerate(mappings(document, "load")):
        name = phase.get("phase")
        if isinstance(name, str) and name in seen and name in phases:
            yield document.mistake(("load", index, "phase"), "another phase has this name")
        seen.add(name if isinstance(name, str) else None)


def provider_names(document: Document) -> list[str]:
    """Return the names of the providers, as far as they can be read."""
    providers = document.value(("providers",))
    return [name for name in providers if isinstance(name, str)] if isinstance(providers, dict) else []


def _phase_names(document: Document) -> list[str]:
    names = (phase.get("phase") for phase in mappings(document, "load"))
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _tools(document: Document) -> list[str]:
    tools: list[object] = []
    for phase in mappings(document, "load"):
        for named in (phase.get("mix"), phase.get("sequence")):
            tools += named if isinstance(named, dict | list) else ()
    return list(dict.fromkeys(tool for tool in tools if isinstance(tool, str)))


def _fault_names(document: Document) -> list[str]:
    """Return what the faults are called; none at all if one of them cannot be read, as it may be the one meant."""
    try:
        return [Fault.model_validate(fault).title for fault in mappings(document, "faults")]
    except ValidationError:
        return []


def mappings(document: Document, key: str) -> list[dict[Any, Any]]:
    """Return the entries of a list; an entry that is no mapping counts as an empty one, so that the indexes stay."""
    entries = document.value((key,))
    return [entry if isinstance(entry, dict) else {} for entry in entries] if isinstance(entries, list) else []
