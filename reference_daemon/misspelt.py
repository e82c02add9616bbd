"""Names that were set and mean nothing: a cap that somebody believes to have set is the worst error, a silent one."""

import difflib
import os
from collections.abc import Collection
from pathlib import Path

from dotenv import dotenv_values
from pydantic.fields import FieldInfo

from reference_daemon.settings import NOT_PROVIDERS, PROVIDER_CAP, Settings

_PREFIXES = ("EXAI_", "EXPERT_", "WORKFLOW_")
"""What our own names begin with; those of providers and logs are too common to complain about."""


def misspelt(path: Path, settings: Settings, *, tools: Collection[str], providers: Collection[str]) -> list[str]:
    """Return a sentence for each name in the environment or in the file that no setting, tool or provider has.

    Args:
        path: The file that was read after the environment; it need not exist.
        settings: What was read.
        tools: Names of the daemon's tools.
        providers: Names of its providers.
    """
    known = [name_of(field) for field in Settings.model_fields.values()]
    found = []
    for name in sorted({*os.environ, *(dotenv_values(path) if path.is_file() else ())}):
        cap = PROVIDER_CAP.fullmatch(name)
        if cap and cap[1] not in NOT_PROVIDERS:
            if cap[1] not in providers:
                found.append(f"{name}: no provider {cap[1]}" + _hint(cap[1], providers))
        elif name.startswith(_PREFIXES) and name not in known:
            found.append(f"{name}: no such setting" + _hint(name, known))
    unknown = [tool for tool in settings.tool_max_inflight if tool not in tools]
    return found + [f"EXAI_WS_TOOL_MAX_INFLIGHT: no tool {tool}" + _hint(tool, tools) for tool in unknown]


def name_of(field: FieldInfo) -> str:
    """Return the name of a setting in the environment."""
    return str(field.validation_alias)


def _hint(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
