"""The environment of a drill's children: they see nothing of the user's own settings.

A drill that reads somebody's API key is no drill.
"""

from collections.abc import Mapping
from typing import Final

_OWN_SETTINGS: Final = ("EXAI_", "GLM_", "KIMI_", "WORKFLOW_", "EXPERT_", "TOXIPROXY_")
_OWN_NAMES: Final = frozenset({"ENV_FILE", "LOG_FORMAT", "LOG_LEVEL"})


def clean_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without settings of the user's own daemon and without network proxies."""

    def foreign(name: str) -> bool:
        return name in _OWN_NAMES or name.startswith(_OWN_SETTINGS) or name.upper().endswith("_PROXY")

    return {name: value for name, value in own.items() if not foreign(name)}
