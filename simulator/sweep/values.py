"""What a sweep varies: a setting or a number of the scenario, with the values that it takes."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Self

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.errors import HarnessError
from scenarios.model import Scenario
from simulator.model.settings import ModelSettings, check_name, in_force, model_settings
from simulator.sweep.paths import changed, places_of

MOST_VALUES: Final = 10_000
"""Values of one range; more is a slip of the step."""

_SETTING: Final = re.compile(r"(EXAI|WORKFLOW|EXPERT)_.*")
_RANGE: Final = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+)(:(?P<step>.+))?")


class BadVaryError(HarnessError):
    """What is to be varied cannot be read.

    Attributes:
        text: As it was written.
        reason: What is wrong with it.
    """

    exit_code = 2

    def __init__(self, text: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(text, reason)
        self.text, self.reason = text, reason

    def __str__(self) -> str:
        """Name both."""
        return f"--vary {self.text}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Vary:
    """One thing that is varied.

    Attributes:
        name: Name of a setting, or a path into the scenario.
        values: What it takes, in order, as texts.
    """

    name: str
    values: tuple[str, ...]

    @property
    def numbers(self) -> tuple[float, ...] | None:
        """Its values as numbers; None if one is none."""
        try:
            return tuple(float(value) for value in self.values)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One setting of a sweep, ready to be run.

    Attributes:
        values: What is varied, by name.
        scenario: The scenario with these values.
        config: What the policy is told.
        client_timeout_s: Seconds that a client waits for a call.
        uncoalesced: Tools whose identical calls are never taken for one another.
        shipped: Whether it is what the sweep starts from, with nothing changed.
    """

    values: Mapping[str, str]
    scenario: Scenario
    config: PolicyConfig
    client_timeout_s: float
    uncoalesced: frozenset[str]
    shipped: bool = False

    def runs_as(self, other: Self) -> bool:
        """Return whether nothing would run otherwise: a value was given that is there already."""
        return self._what_runs() == other._what_runs()

    def _what_runs(self) -> tuple[float, PolicyConfig, frozenset[str], Scenario]:
        """Return what the model reads; of the scenario's settings that is no more than what stands here beside it."""
        bare = self.scenario.model_copy(update={"settings": {}})
        return self.client_timeout_s, self.config, self.uncoalesced, bare


def read_vary(text: str) -> Vary:
    """Read NAME=a,b,c, NAME=a;b where values hold commas, or NAME=lo..hi:step (both ends are meant).

    Raises:
        BadVaryError: It is none of these.
    """
    name, equals, listed = text.partition("=")
    if not equals or not name.strip() or not listed.strip():
        raise BadVaryError(text, "must be NAME=a,b,c or NAME=lo..hi:step")
    separator = ";" if ";" in listed else ","
    words = [word.strip() for word in listed.split(separator)]
    if not all(words):
        raise BadVaryError(text, "has an empty value")
    values = [value for word in words for value in _expanded(text, word)]
    if len(set(values)) < len(values):
        raise BadVaryError(text, "has a value twice")
    return Vary(name.strip(), tuple(values))


def _expanded(text: str, word: str) -> Iterator[str]:
    """Return the values of a range, exactly as a person would write them; another word is a value itself."""
    match = _RANGE.fullmatch(word)
    if match is None:
        yield word
        return
    try:
        low, high, step = (Decimal(part) for part in (match["low"], match["high"], match["step"] or "1"))
    except InvalidOperation:
        raise BadVaryError(text, f"{word}: a range is made of numbers") from None
    if not (low.is_finite() and high.is_finite() and step.is_finite() and step > 0 and low <= high):
        raise BadVaryError(text, f"{word}: a range goes up, by a step above 0")
    if (high - low) / step >= MOST_VALUES:
        raise BadVaryError(text, f"{word}: more than {MOST_VALUES:,} values")
    for number in range(int((high - low) / step) + 1):
        yield f"{(low + number * step).normalize():f}"


def points(
    scenario: Scenario,
    varied: Sequence[Vary],
    *,
    one_at_a_time: bool = False,
    env_file: Path | None = None,
    given: Mapping[str, str] | None = None,
) -> list[Point]:
    """Return the settings of a sweep, each of them checked: a bad value refuses all before anything runs.

    Args:
        scenario: What is run.
        varied: What is varied.
        one_at_a_time: Whether each is varied by itself, from the given settings; else every combination is made.
        env_file: Settings that stand before the scenario's.
        given: Settings that stand before both.

    Raises:
        HarnessError: A name or a value is wrong; its text says which.
    """
    names = [each.name for each in varied]
    for name in names:
        if names.count(name) > 1:
            raise BadVaryError(name, "is given twice")
        if _SETTING.fullmatch(name):
            check_name(name, scenario, "--vary")
        else:
            places_of(scenario, name)
    return [_point(scenario, values, env_file, given) for values in _combinations(varied, one_at_a_time=one_at_a_time)]


def _combinations(varied: Sequence[Vary], *, one_at_a_time: bool) -> Iterator[dict[str, str]]:
    if one_at_a_time:
        yield {}
        yield from ({each.name: value} for each in varied for value in each.values)
        return
    for values in itertools.product(*(each.values for each in varied)):
        yield dict(zip((each.name for each in varied), values, strict=True))


def _point(
    scenario: Scenario, values: Mapping[str, str], env_file: Path | None, given: Mapping[str, str] | None
) -> Point:
    inside = {name: text for name, text in values.items() if not _SETTING.fullmatch(name)}
    settings = {name: text for name, text in values.items() if name not in inside}
    made = changed(scenario, inside) if inside else scenario
    found: ModelSettings = model_settings(made, env_file=env_file, given={**(given or {}), **settings})
    return Point(
        values=values,
        scenario=in_force(made, found),
        config=found.config,
        client_timeout_s=found.client_timeout_s,
        uncoalesced=found.uncoalesced,
        shipped=not values,
    )
