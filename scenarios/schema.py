"""The JSON Schema of a scenario: made from the model, shipped for editors, which complete and check with it."""

import json
from pathlib import Path
from typing import Any, Final

from scenarios.model import Scenario

SCHEMA_FILE: Final = Path(__file__).with_name("scenario.schema.json")
"""The shipped copy. The first line of a scenario can name it: `# yaml-language-server: $schema=PATH`."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario file."""
    return {"$schema": _DIALECT, **Scenario.model_json_schema(by_alias=True, mode="validation")}


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def keys_at(place: tuple[str | int, ...]) -> list[str]:
    """Return the keys that a mapping at `place` may have; none where any key is allowed."""
    whole = schema()
    inside = [whole]
    for part in place:
        inside = [found for outer in inside for found in _inside(outer, part, whole)]
    return [key for found in inside for key in found.get("properties", {})]


def _inside(outer: dict[str, Any], part: str | int, whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas that may hold for an entry of what `outer` describes."""
    if isinstance(part, int):
        found = [outer["items"]] if "items" in outer else []
    elif part in outer.get("properties", {}):
        found = [outer["properties"][part]]
    else:
        found = [*outer.get("patternProperties", {}).values(), outer.get("additionalProperties")]
    return [plain for one in found if isinstance(one, dict) for plain in _plain(one, whole)]


def _plain(one: dict[str, Any], whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a schema with its alternatives and references resolved."""
    if "$ref" in one:
        return _plain(whole["$defs"][one["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in one:
        return [plain for choice in one["anyOf"] for plain in _plain(choice, whole)]
    return [one]
