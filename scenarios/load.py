"""Scenarios from files, and back: all mistakes of a file at once, each with its line."""

import re
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError

from scenarios.explain import explain
from scenarios.lines import Document, read_document
from scenarios.mistakes import Mistake, ScenarioError, nearest
from scenarios.model import Scenario
from scenarios.outside import misspelt_tools, unknown_rules, wrong_settings
from scenarios.references import dangling

MAX_BYTES: Final = 1_000_000
"""Size of a scenario file; far above what a person writes, and room for the arrivals of a recorded run."""

_SHIPPED: Final = Path(__file__).with_name("shipped")
_NUMBER: Final = re.compile(r"\d+-")


def load_scenario(path: Path, *, foreign: bool = False) -> Scenario:
    """Read a scenario.

    Args:
        path: Its file.
        foreign: Whether the daemon is, or may have been, another than ours as it is today: settings and tools may be
            that one's own.

    Raises:
        ScenarioError: The file cannot be read or is no valid scenario; it holds every mistake.
    """
    document = read_document(_text(path), str(path))
    if not isinstance(document.data, dict):
        raise ScenarioError([document.mistake((), "must be a mapping with name, title, providers, load and expect")])
    mistakes = [*document.repeated, *dangling(document), *unknown_rules(document)]
    if not foreign:
        mistakes += [*misspelt_tools(document), *wrong_settings(document)]
    try:
        scenario = Scenario.model_validate(document.data)
    except ValidationError as error:
        mistakes += _explained(error, document, mistakes)
    else:
        if not mistakes:
            return scenario
    raise ScenarioError(mistakes)


def shipped() -> dict[str, Path]:
    """Return the shipped scenarios by name, in the order of their names."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def find_scenario(name_or_path: str) -> Path:
    """Return the file of a shipped scenario, its name with or without the number in front, or a file by its path.

    Raises:
        ScenarioError: There is neither.
    """
    files = shipped()
    names = {_NUMBER.sub("", name, count=1): path for name, path in files.items()} | files
    if name_or_path in names:
        return names[name_or_path]
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    reason = "no such file, and no shipped scenario of this name"
    meant = nearest(name_or_path, names)
    if meant is None and files:
        reason += f"; shipped: {', '.join(files)}"
    raise ScenarioError([Mistake(file=name_or_path, line=None, key="", reason=reason, nearest=meant)])


def to_yaml(scenario: Scenario) -> str:
    """Write a scenario with all of its defaults; it loads back to an equal one."""
    plain = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def _explained(error: ValidationError, document: Document, known: list[Mistake]) -> list[Mistake]:
    """Return the validator's mistakes, but not a rule of the whole scenario that was judged at its place already."""
    return [mistake for mistake in explain(error, document) if mistake.key or not known]


def _text(path: Path) -> str:
    """Return the text of a file that is there, readable and of reasonable size."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    else:
        if len(content) <= MAX_BYTES:
            return _decoded(path, content)
        reason = f"larger than {MAX_BYTES:,} bytes"
    raise ScenarioError([Mistake(file=str(path), line=None, key="", reason=reason)])


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError([Mistake(file=str(path), line=line, key="", reason="not in UTF-8")]) from None


__all__ = ["Mistake", "ScenarioError", "find_scenario", "load_scenario", "shipped", "to_yaml"]
