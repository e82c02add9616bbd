"""The fingerprint of a load and its settings."""

from simulator.model.fingerprint import fingerprint_of, scenario_hash, settings_hash
from tests.simulator.small import a_scenario


def test_chance_and_speed_are_no_part_of_it() -> None:
    """Another seed, time scale, or order of settings is the same load."""
    other = a_scenario(seed=9, time_scale=1.0)
    assert fingerprint_of(a_scenario(), {"A": "1", "B": "2"}) == fingerprint_of(other, {"B": "2", "A": "1"})


def test_load_and_settings_are() -> None:
    """A change of either changes it, each with a hash of its own."""
    provider = {"GLM": {"latency": {"uniform": {"low": 35, "high": 56}}}}
    same, load = fingerprint_of(a_scenario(), {}), fingerprint_of(a_scenario(providers=provider), {})
    assert len({same, load, fingerprint_of(a_scenario(), {"A": "1"})}) == 3
    assert scenario_hash(a_scenario()) != scenario_hash(a_scenario(providers=provider))
    assert scenario_hash(a_scenario()) == scenario_hash(a_scenario(settings={"EXAI_WS_TTL_MULTIPLIER": 3}))
    assert settings_hash({"A": "1"}) != settings_hash({"A": "2"})
