"""Numbers of a scenario by a path with dots, as `load.0.rate` or `providers.GLM.concurrency`, and set to another value.

The last part may stand deeper than the path says, if only one thing below has that name: `load.0.rate` is
`load.0.arrivals.poisson.rate`. A phase can be named in the place of its number, and `*` means all of a list.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import yaml
from pydantic import ValidationError

from reference_daemon.policy.errors import HarnessError
from scenarios.explain import explain
from scenarios.lines import Document, read_document
from scenarios.mistakes import Path, ScenarioError, key_of, nearest
from scenarios.model import Scenario
from scenarios.references import dangling

FIXED = ("name", "title", "description", "seed", "time_scale", "settings", "expect")
"""Keys that no study may vary: they are not part of what is run, or have their own option."""


class NoSuchPathError(HarnessError):
    """A path leads to nothing in the scenario.

    Attributes:
        path: The path.
        reason: What is wrong with it.
        meant: What was probably meant.
    """

    exit_code = 2

    def __init__(self, path: str, reason: str, meant: str | None = None) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(path, reason, meant)
        self.path, self.reason, self.meant = path, reason, meant

    def __str__(self) -> str:
        """Name the path and the nearest one."""
        return f"{self.path}: {self.reason}" + (f' (did you mean "{self.meant}"?)' if self.meant else "")


def changed(scenario: Scenario, values: dict[str, str]) -> Scenario:
    """Return a scenario with other values at some paths, checked like a file.

    Raises:
        NoSuchPathError: A path leads to nothing.
        ScenarioError: The scenario would be no valid one.
    """
    data = _plain(scenario)
    for path, text in values.items():
        for place in places_of(scenario, path):
            _put(data, place, yaml.safe_load(text))
    return _checked(data, ", ".join(f"{path}={text}" for path, text in values.items()))


def places_of(scenario: Scenario, path: str) -> list[Path]:
    """Return the places that a path means, from the outside in; at least one.

    Raises:
        NoSuchPathError: It leads to nothing, to more than one thing, or to what cannot be varied.
    """
    parts = path.split(".")
    if parts[0] in FIXED:
        raise NoSuchPathError(path, f"{parts[0]} cannot be varied")
    places = [place for outer in _outer(scenario, path, parts[:-1]) for place in _inner(scenario, path, outer, parts)]
    for place in places:
        if isinstance(_get(_plain(scenario), place), dict | list):
            raise NoSuchPathError(path, f"{key_of(place)} is no single value")
    return places


def _outer(scenario: Scenario, path: str, parts: Sequence[str]) -> list[Path]:
    """Follow all parts but the last one."""
    data = _plain(scenario)
    found: list[Path] = [()]
    for part in parts:
        found = [(*place, key) for place in found for key in _keys(path, _get(data, place), part)]
    return found


def _keys(path: str, at: object, part: str) -> list[str | int]:
    """Return the keys that a part means: a name, a number, the name of a phase or a fault, or all of them."""
    if isinstance(at, dict) and (part in at or part == "*"):
        return list(at) if part == "*" else [part]
    if isinstance(at, list):
        if part == "*":
            return list(range(len(at)))
        names = {str(entry.get("phase") or entry.get("name")): index for index, entry in enumerate(at)}
        if part in names:
            return [names[part]]
        if part.isdecimal() and int(part) < len(at):
            return [int(part)]
        raise NoSuchPathError(path, f"there is no {part}; there are 0 to {len(at) - 1}", nearest(part, names))
    known = [str(key) for key in at] if isinstance(at, dict) else []
    raise NoSuchPathError(path, f"there is no {part}", nearest(part, known))


def _inner(scenario: Scenario, path: str, outer: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Find the last part, here or deeper."""
    at, last = _get(_plain(scenario), outer), parts[-1]
    if isinstance(at, list) or (isinstance(at, dict) and last in at):
        yield from ((*outer, key) for key in _keys(path, at, last))
        return
    deeper = [place for place in _leaves(at, outer) if place[-1] == last]
    if not deeper:
        names = {str(place[-1]) for place in _leaves(at, outer)}
        raise NoSuchPathError(path, f"there is no {last} in {key_of(outer) or 'the scenario'}", nearest(last, names))
    if len(deeper) > 1:
        raise NoSuchPathError(path, f"may mean {' or '.join(map(_dotted, deeper))}")
    yield deeper[0]


def _leaves(at: object, place: Path) -> Iterator[Path]:
    """Return the places of everything below that has a value."""
    entries: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(at, dict):
        entries = iter(at.items())
    elif isinstance(at, list):
        entries = iter(enumerate(at))
    for key, value in entries:
        if value is not None:
            yield (*place, key)
            yield from _leaves(value, (*place, key))


def _plain(scenario: Scenario) -> dict[str, Any]:
    plain: dict[str, Any] = scenario.model_dump(mode="json", by_alias=True)
    return plain


def _get(data: Any, place: Path) -> Any:
    for key in place:
        data = data[key]
    return data


def _put(data: dict[str, Any], place: Path, value: object) -> None:
    _get(data, place[:-1])[place[-1]] = value


def _dotted(place: Path) -> str:
    return ".".join(map(str, place))


def _checked(data: dict[str, Any], what: str) -> Scenario:
    """Validate the changed scenario, and word mistakes as those of a file, without lines."""
    try:
        made = Scenario.model_validate(deepcopy(data))
    except ValidationError as error:
        mistakes = [dataclasses.replace(each, file=what, line=None) for each in explain(error, _document(data, what))]
        raise ScenarioError(mistakes) from error
    loose = dangling(_document(data, what))
    if loose:
        raise ScenarioError(dataclasses.replace(each, file=what, line=None) for each in loose)
    return made


def _document(data: dict[str, Any], what: str) -> Document:
    return read_document(yaml.safe_dump(_without_none(data), sort_keys=False), what)


def _without_none(data: Any) -> Any:
    """Leave out what has no value, as a file does."""
    if isinstance(data, dict):
        return {key: _without_none(value) for key, value in data.items() if value is not None}
    return [_without_none(value) for value in data] if isinstance(data, list) else data
