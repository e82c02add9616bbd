"""The settings of a drill's daemon: the shipped ones, what the scenario sets, what a person adds, nothing else.

They are checked before anything starts, by the daemon's own reader; the user's environment has no part in them.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from chaos.environment import clean_environment
from reference_daemon.policy.errors import ConfigError, HarnessError
from reference_daemon.settings import Settings, read_settings
from scenarios.model import Scenario

OWNED: Final = frozenset({"EXAI_WS_HOST", "EXAI_WS_PORT", "EXAI_TIME_SCALE", "EXAI_LOG_DIR", "LOG_FORMAT", "ENV_FILE"})
"""Settings that a drill needs for itself; a scenario cannot have them."""


class DrillSettingsError(HarnessError):
    """A scenario's settings, or those of --env-file, are wrong."""

    exit_code = 2

    def __init__(self, source: str, reason: str) -> None:
        """Keep where they stand and what is wrong."""
        super().__init__(source, reason)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        """Name both."""
        return f"{self.source}: {self.reason}"


def wanted(scenario: Scenario, env_file: Path | None) -> dict[str, str]:
    """Return the settings that differ from the shipped ones, by name; those of `env_file` win.

    Raises:
        DrillSettingsError: A setting is one of the drill's own, or the file cannot be read.
    """
    values = {name: _text(value) for name, value in scenario.settings.items()}
    if env_file is not None:
        if not env_file.is_file():
            raise DrillSettingsError(str(env_file), "there is no such file")
        given = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
        values |= {name: value for name, value in given.items() if name not in OWNED}
    for name in scenario.settings:
        if name in OWNED:
            raise DrillSettingsError(f"scenario {scenario.name}, settings: {name}", "is set by the drill itself")
    return values


def checked(scenario: Scenario, values: Mapping[str, str]) -> Settings:
    """Return the daemon's settings as the daemon will read them.

    Raises:
        DrillSettingsError: A value breaks a rule, or a name is unknown; it says which.
    """
    known = {str(field.validation_alias) for field in Settings.model_fields.values() if field.validation_alias}
    for name in values:
        if name.startswith(("EXAI_", "WORKFLOW_", "EXPERT_")) and not _known(name, known):
            raise DrillSettingsError(f"scenario {scenario.name}, settings: {name}", "there is no such setting")
    with tempfile.TemporaryDirectory(prefix="exai-settings-") as folder:
        empty = Path(folder) / "empty.env"
        empty.touch()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(clean_environment(before) | dict(values))
        try:
            return read_settings(empty)
        except ConfigError as error:
            raise DrillSettingsError(f"scenario {scenario.name}, settings", str(error)) from error
        finally:
            os.environ.clear()
            os.environ.update(before)


def _known(name: str, known: set[str]) -> bool:
    return name in known or name.endswith("_MAX_INFLIGHT")


def _text(value: object) -> str:
    """Write a YAML value as the environment has it: true and false in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def caps_of(settings: Settings) -> dict[str, int]:
    """Return every cap by its scope, as refusals name them."""
    caps = settings.policy().caps
    named = {"global": caps.total, "session": caps.session}
    named |= {f"tool:{tool}": cap for tool, cap in caps.tools.items()}
    return named | {f"provider:{provider}": cap for provider, cap in caps.providers.items()}


def timeouts_of(settings: Settings) -> dict[str, float]:
    """Return what limits a call, in unscaled seconds, by its name in reports."""
    policy = settings.policy()
    return {
        "call timeout": policy.timeouts.call_s,
        "step timeout": policy.timeouts.step_s,
        "expert budget": policy.timeouts.expert_s,
        "client timeout": settings.client_timeout_s,
        "heartbeat interval": min(settings.progress_interval_s, settings.expert_heartbeat_s),
        "result ttl": policy.ttls.result_s,
        "drain grace": policy.drain_grace_s,
    }
