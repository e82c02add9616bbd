"""From the validator's errors to mistakes that the author of a file understands: one for each thing to mend.

The validator reports every branch of a choice ("a toxic, or the word down"), and what follows from another mistake (a
key is missing because it was misspelt). Such echoes are left out here.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from reference_daemon.policy.errors import ConfigError
from scenarios.lines import Document
from scenarios.mistakes import Mistake, Path, nearest
from scenarios.references import provider_names
from scenarios.schema import keys_at

_REASONS: Final = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "invalid_key": "a key must be text",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be a finite number",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
}
_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of usual size",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What a value had to be."""

_MANY: Final = 8
"""Words that are worth a list although the nearest one is known."""

_PATTERNS: Final = {
    "link": ("client-daemon or daemon-provider:NAME", ("client-daemon",)),
    "mode": ("ok, status:NNN (4xx or 5xx), hang, drip or malformed", ("ok", "hang", "drip", "malformed", "status:429")),
    "scope": ("global, session, tool, tool:NAME, provider or provider:NAME", ("global", "session", "tool", "provider")),
    "invariants": ("all, or a list of names such as INV-01", ()),
}
"""What a text had to look like, by its key, and the words that may have been meant."""

_CHARACTERS: Final = {
    "^[A-Z]": "upper-case letters, digits and _, a letter first, such as GLM",
    "^[a-z0-9": "lower-case letters, digits and -, no - first",
}
"""The same, by how the pattern begins."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """One of the validator's errors, at its place in the file.

    Attributes:
        place: The place; what is missing or unknown is its last part.
        choice: Place of the choice that the error is one branch of; None if there was no choice.
        kind: The validator's name for the error.
        context: What the validator adds: limits, names, the exception.
    """

    place: Path
    choice: Path | None
    kind: str
    context: dict[str, Any]


def explain(error: ValidationError, document: Document) -> list[Mistake]:
    """Return the mistakes that the validator's errors amount to."""
    findings = [_finding(details, document) for details in error.errors(include_url=False, include_input=False)]
    single = [finding for finding in findings if finding.choice is None]
    choices = dict.fromkeys(finding.choice for finding in findings if finding.choice is not None)
    mistakes = []
    for choice in choices:
        branches = [finding for finding in findings if finding.choice == choice]
        chosen = _chosen(branches, choice)
        single += chosen
        if not chosen:
            mistakes.append(_no_branch(branches, choice, document))
    return mistakes + [_mistake(finding, document) for finding in _without_echoes(single, document)]


def _finding(details: Any, document: Document) -> _Finding:
    """Place an error in the file: what the validator adds to the place, such as a branch's name, is left out."""
    # The last part is a key that is not there, or is there as something else than text.
    apart = details["type"] in {"missing", "invalid_key"}
    parts = details["loc"][:-1] if apart else details["loc"]
    place: Path = ()
    choice: Path | None = None
    for part in parts:
        if document.holds((*place, part)):
            place = (*place, part)
        elif part != "[key]" and choice is None:
            choice = place
    if apart:
        place = (*place, details["loc"][-1])
    return _Finding(place, choice, details["type"], details.get("ctx", {}))


def _chosen(branches: Sequence[_Finding], choice: Path) -> list[_Finding]:
    """Return the errors of the branch that was meant: the one that fits from outside, or whose own rule is broken."""
    deeper = [finding for finding in branches if len(finding.place) > len(choice)]
    return deeper or [finding for finding in branches if finding.kind == "value_error"]


def _no_branch(branches: Sequence[_Finding], choice: Path, document: Document) -> Mistake:
    """Say what a value that fits no branch could be."""
    words = [word for finding in branches for word in _literals(finding)]
    kinds = dict.fromkeys(_KINDS[finding.kind] for finding in branches if finding.kind in _KINDS)
    if "a number" in kinds:
        kinds.pop("a whole number", None)
    reason = f"must be {_listed([*words, *kinds])}"
    return document.mistake(choice, reason, nearest(document.value(choice), words))


def _without_echoes(findings: Sequence[_Finding], document: Document) -> Iterable[_Finding]:
    """Leave out the key that is only missing because it was misspelt, and the list that only its entries spoil."""
    meant = {(*f.place[:-1], _known_key(f, document)) for f in findings if f.kind == "extra_forbidden"}
    for finding in findings:
        depth = len(finding.place)
        spoilt = any(len(other.place) > depth and other.place[:depth] == finding.place for other in findings)
        if finding.kind == "missing" and finding.place in meant:
            continue
        if finding.kind in {"too_short", "too_long"} and spoilt:
            continue
        yield finding


def _known_key(finding: _Finding, document: Document) -> str | None:
    """Return the known key that an unknown one looks like, but none that stands there already."""
    outside = finding.place[:-1]
    free = [key for key in keys_at(outside) if not document.holds((*outside, key))]
    return nearest(finding.place[-1], free)


def _mistake(finding: _Finding, document: Document) -> Mistake:
    """Write one error in our own words."""
    place, kind = finding.place, finding.kind
    if kind == "extra_forbidden":
        return _unknown_key(finding, document)
    if kind == "literal_error":
        words = _literals(finding)
        meant = nearest(document.value(place), words)
        rule = "unknown name" if meant and len(words) > _MANY else f"must be {_listed(words)}"
        return document.mistake(place, rule, meant)
    if kind == "string_pattern_mismatch":
        return _pattern_mistake(finding, document)
    if kind == "value_error":
        return _own_rule(finding, document)
    if kind in _KINDS:
        return document.mistake(place, f"must be {_KINDS[kind]}")
    return document.mistake(place, _REASONS.get(kind, f"is not valid ({kind})").format(**finding.context))


def _unknown_key(finding: _Finding, document: Document) -> Mistake:
    """Name the key that was meant, or all of them; or say what cut a text in two."""
    place = finding.place
    if " " in str(place[-1]) and document.value(place) is None:
        # `{why: One, and more}` is a mapping with the keys `why` and `and more`.
        return document.mistake(place, "unknown key; within braces, a text with a comma needs quotes")
    meant = _known_key(finding, document)
    known = "" if meant else f"; known here: {', '.join(keys_at(place[:-1]))}"
    return document.mistake(place, f"unknown key{known}", meant)


def _pattern_mistake(finding: _Finding, document: Document) -> Mistake:
    """Say what a text had to look like."""
    pattern = finding.context["pattern"]
    key = next((part for part in reversed(finding.place) if isinstance(part, str)), "")
    for start, characters in _CHARACTERS.items():
        if pattern.startswith(start):
            return document.mistake(finding.place, f"must be {characters}")
    rule, words = _PATTERNS.get(key, (f"text like {pattern}", ()))
    if key == "link":
        words = (*words, *(f"daemon-provider:{name}" for name in provider_names(document)))
    return document.mistake(finding.place, f"must be {rule}", nearest(document.value(finding.place), words))


def _own_rule(finding: _Finding, document: Document) -> Mistake:
    """Repeat what a rule of the model says; a distribution's rule also says where in the distribution."""
    error = finding.context["error"]
    cause = error.__cause__
    if not isinstance(cause, ConfigError):
        return document.mistake(finding.place, str(error))
    place = finding.place
    inside = [int(part) if part.isdecimal() else part for part in re.findall(r"\w+", cause.setting)]
    if document.holds((*place, *inside)):
        place, reason = (*place, *inside), cause.rule
    else:
        reason = f"{cause.setting} {cause.rule}"
    word = inside[-1] if cause.rule.startswith("unknown") else cause.value
    return document.mistake(place, reason, nearest(word, re.findall(r"\w+", cause.rule)))


def _literals(finding: _Finding) -> list[str]:
    """Return the words that were allowed."""
    return re.findall(r"'([^']*)'", finding.context.get("expected", ""))


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
