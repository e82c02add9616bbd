"""What a result is about, as a hash: two runs with one fingerprint asked the same of the model."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from scenarios.model import Scenario

_FREE: Final = frozenset({"seed", "time_scale", "settings"})
"""Parts of a scenario that are no part of its load: chance, the speed of a drill, and settings, which have a hash of
their own."""


def scenario_hash(scenario: Scenario) -> str:
    """Return the hash of what a scenario describes, whatever its seed, its time scale and its settings."""
    return _hashed(scenario.model_dump(mode="json", exclude=set(_FREE)))


def settings_hash(values: Mapping[str, str]) -> str:
    """Return the hash of settings by their names, in whatever order they stand."""
    return _hashed(dict(values))


def fingerprint_of(scenario: Scenario, values: Mapping[str, str]) -> str:
    """Return the hash of a load under settings.

    Args:
        scenario: The load; its own settings do not count, `values` stand for them.
        values: All settings that count, the scenario's too, as `ModelSettings.values` has them.
    """
    return _hashed([scenario_hash(scenario), settings_hash(values)])


def _hashed(value: object) -> str:
    """Return SHA-256 of the canonical JSON: sorted names, no spaces, one way to write each value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


__all__ = ["fingerprint_of", "scenario_hash", "settings_hash"]
