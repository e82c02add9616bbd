"""Names in a scenario that are known outside of it: settings and tools of the daemon, and the rules' numbers.

What is misspelt there would change nothing, or call nothing, without a word.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from reference_daemon.policy.config import Caps
from reference_daemon.policy.errors import ConfigError
from reference_daemon.policy.ladder import ANALYSIS_TOOLS
from reference_daemon.policy.setting_rules import NAMES, broken_rule, provider_of
from reference_daemon.providers.latency import parse_latency
from scenarios.lines import Document
from scenarios.mistakes import Mistake, Path, nearest
from scenarios.numbers import NUMBERS
from scenarios.references import mappings, provider_names
from scenarios.workload import CHAT_TOOLS, LOCAL_TOOLS

TOOLS: Final = tuple(sorted({*ANALYSIS_TOOLS, *CHAT_TOOLS, *LOCAL_TOOLS}))
"""The daemon's tools."""

_TOOL_NAMES: Final = frozenset({"EXAI_WS_TOOL_MAX_INFLIGHT", "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS"})
"""Settings whose values name tools."""

_SLIP: Final = 0.75
"""How much a name must look like a tool's to be a slip: a letter of four, two of ten. Others may be tools of another
daemon, which a scenario may well call."""


def unknown_rules(document: Document) -> Iterator[Mistake]:
    """Return the numbers of rules that there are not."""
    for index, expectation in enumerate(mappings(document, "expect")):
        named: list[tuple[Path, object]] = [(("broken",), expectation.get("broken"))]
        numbers = expectation.get("invariants")
        if isinstance(numbers, list):
            named += [(("invariants", place), number) for place, number in enumerate(numbers)]
        for place, number in named:
            # What does not even look like a number is the validator's.
            if isinstance(number, str) and re.fullmatch(r"INV-\d\d", number) and number not in NUMBERS:
                reason = f"no such rule; there is {NUMBERS[0]} to {NUMBERS[-1]}"
                yield document.mistake(("expect", index, *place), reason, nearest(number, NUMBERS))


def misspelt_tools(document: Document) -> Iterator[Mistake]:
    """Return the tools, in the load and among the latencies, whose names are slips."""
    for index, phase in enumerate(mappings(document, "load")):
        mix, sequence = phase.get("mix"), phase.get("sequence")
        if isinstance(mix, dict):
            yield from _slips(document, ((("load", index, "mix", tool), tool) for tool in mix))
        if isinstance(sequence, list):
            yield from _slips(document, ((("load", index, "sequence", at), tool) for at, tool in enumerate(sequence)))
    for provider in provider_names(document):
        place = ("providers", provider, "tool_latency")
        latencies = document.value(place)
        if isinstance(latencies, dict):
            yield from _slips(document, (((*place, tool), tool) for tool in latencies))


def wrong_settings(document: Document) -> Iterator[Mistake]:
    """Return the settings that there are not, and those whose values break their rules. No value is repeated."""
    settings = document.value(("settings",))
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(name, str):
            yield from _wrong_setting(document, name, value)


def _wrong_setting(document: Document, name: str, value: object) -> Iterator[Mistake]:
    place, provider = ("settings", name), provider_of(name)
    # The daemon has caps of its own for some, which may be set whether the scenario uses them or not.
    providers = list(dict.fromkeys([*provider_names(document), *Caps().providers]))
    if provider not in providers and name not in NAMES:
        known = [*sorted(NAMES), *(f"EXAI_WS_{there}_MAX_INFLIGHT" for there in providers)]
        reason = f"no provider {provider}; there is {', '.join(providers)}" if provider else "no such setting"
        yield document.mistake(place, reason, nearest(name, known))
    elif isinstance(value, str | int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        rule = _distribution_rule(text) if name == "EXAI_STUB_LATENCY" else broken_rule(name, text)
        if rule is not None:
            yield document.mistake(place, rule)
        elif name in _TOOL_NAMES:
            tools = (word.partition("=")[0].strip() for word in text.split(","))
            yield from _slips(document, ((place, tool) for tool in tools))


def _distribution_rule(text: str) -> str | None:
    try:
        parse_latency(text)
    except ConfigError as error:
        return error.rule
    return None


def _slips(document: Document, named: Iterable[tuple[Path, object]]) -> Iterator[Mistake]:
    for place, tool in named:
        if isinstance(tool, str) and tool not in TOOLS:
            meant = difflib.get_close_matches(tool.casefold(), TOOLS, n=1, cutoff=_SLIP)
            if meant:
                yield document.mistake(place, f"no such tool; there is {', '.join(TOOLS)}", meant[0])
