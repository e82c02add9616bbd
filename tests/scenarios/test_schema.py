"""The JSON Schema: that the shipped copy is the model's, and what an editor gets from it."""

import json

import pytest

from scenarios.schema import SCHEMA_FILE, keys_at, schema, schema_text


class TestShippedCopy:
    def test_it_is_up_to_date(self) -> None:
        """The shipped schema is the model's; `exai scenarios schema > scenarios/scenario.schema.json` renews it."""
        assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()

    def test_it_is_json(self) -> None:
        """What is shipped reads back as the schema."""
        assert json.loads(schema_text()) == schema()


class TestWhatAnEditorGets:
    def test_names_are_those_of_the_file(self) -> None:
        """A key is called what the file calls it, not what the model does."""
        keys = schema()["$defs"]["Fault"]["properties"]
        assert "for" in keys
        assert "duration" not in keys

    def test_unknown_keys_are_refused(self) -> None:
        """No part of a scenario takes a key that it does not know."""
        parts = [part for part in (schema(), *schema()["$defs"].values()) if "properties" in part]
        assert {"Scenario", "Fault", "Poisson"} <= {part["title"] for part in parts}
        assert all(part["additionalProperties"] is False for part in parts)

    def test_keys_are_described(self) -> None:
        """The model's docstrings are the descriptions."""
        rate = schema()["$defs"]["Poisson"]["properties"]["rate"]
        assert rate["description"] == "Arrivals per second, over all clients of the phase."

    def test_it_names_its_dialect(self) -> None:
        """Editors learn the version of the schema language from the schema itself."""
        assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


class TestKeysAtAPlace:
    @pytest.mark.parametrize(
        ("place", "keys"),
        [
            (("providers", "GLM", "errors"), ["rate", "status"]),
            (("load", 0, "arrivals"), ["poisson", "uniform", "burst", "closed", "trace"]),
            (("load", 3, "arrivals", "burst"), ["size", "every"]),
            (("faults", 0, "toxic", "latency"), ["latency", "jitter"]),
            (("faults", 0, "toxic", "slicer"), ["average_size", "size_variation", "delay"]),
        ],
    )
    def test_keys_of_a_part(self, place: tuple[str | int, ...], keys: list[str]) -> None:
        """Lists, names of providers and choices lead to the part that stands there."""
        assert keys_at(place) == keys

    @pytest.mark.parametrize("place", [("settings",), ("load", 0, "mix"), ("nothing", "here"), ("load", "x")])
    def test_none_where_any_key_is_allowed(self, place: tuple[str | int, ...]) -> None:
        """Where names are free, and where nothing can stand, there is none to propose."""
        assert keys_at(place) == []
