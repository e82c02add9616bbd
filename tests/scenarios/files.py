"""Scenarios in files: a good one, and what comes of a text."""

from pathlib import Path

import pytest

from scenarios.load import ScenarioError, load_scenario
from scenarios.model import Scenario

GOOD = """\
name: tiny
title: One call
providers:
  GLM: {latency: {constant: {value: 45}}}
load:
  - phase: only
    duration: 300
    arrivals: {burst: {size: 1}}
    mix: {analyze: 1}
expect:
  - {invariants: all}
"""


def mistakes_of(file: Path, text: str | bytes) -> list[str]:
    """Return the mistakes of a file with this text, without its name."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert str(caught.value) == "\n".join(map(str, caught.value.mistakes))
    return [str(mistake).removeprefix(str(file)).lstrip(":").strip() for mistake in caught.value.mistakes]


def loaded(file: Path, text: str) -> Scenario:
    """Return the scenario in a file with this text."""
    file.write_text(text, encoding="utf-8")
    return load_scenario(file)
