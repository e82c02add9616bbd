"""The settings of a model run: shipped ones, the scenario's, a file's, those of the command line, in this order.

All are checked before anything runs. The model reads what the policy is told, and how long a client waits; a setting
that it has no part for is named, so that nobody believes to have tried it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.errors import ConfigError, HarnessError
from reference_daemon.policy.named import PROVIDER_CAP, TABLE, policy_config
from reference_daemon.settings import LONG_RUN_CLIENT_TIMEOUT_S, Settings
from scenarios.mistakes import nearest
from scenarios.model import Scenario

CLIENT_TIMEOUT: Final = "EXAI_CLIENT_TIMEOUT"
LONG_RUN: Final = "EXAI_LONG_RUN"
RETRY_AFTER: Final = "EXAI_WS_RETRY_AFTER"
TOOL_CAPS: Final = "EXAI_WS_TOOL_MAX_INFLIGHT"
UNCOALESCED: Final = "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS"
HEARTBEAT: Final = "EXAI_WS_PROGRESS_INTERVAL_SECS"

CARRIED: Final = frozenset({*TABLE, RETRY_AFTER, CLIENT_TIMEOUT, LONG_RUN, UNCOALESCED, HEARTBEAT})
"""Settings that the model reads, besides the caps of providers."""

_ONE_TOOL: Final = re.compile(r"EXAI_WS_TOOL_MAX_INFLIGHT\[([\w.-]+)\]")
_OURS: Final = ("EXAI_", "WORKFLOW_", "EXPERT_")
_ELSEWHERE: Final = frozenset(
    {"EXAI_WS_HOST", "EXAI_WS_PORT", "EXAI_WS_TOKEN", "EXAI_TIME_SCALE", "EXAI_LOG_DIR", "EXAI_WS_AUTOSTART"}
)
"""Settings about where a daemon runs: nobody expects them of a model."""


class UnknownSettingError(HarnessError):
    """Somebody set what there is not.

    Attributes:
        source: Where it stands.
        name: What was set.
        reason: What is wrong with it.
        meant: What was probably meant.
    """

    exit_code = 2

    def __init__(self, source: str, name: str, reason: str, meant: str | None) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(source, name, reason, meant)
        self.source, self.name, self.reason, self.meant = source, name, reason, meant

    def __str__(self) -> str:
        """Name the place, the setting and the nearest one."""
        hint = f' (did you mean "{self.meant}"?)' if self.meant else ""
        return f"{self.source}: {self.name}: {self.reason}{hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What a model run is set to.

    Attributes:
        values: The settings that somebody set and the model reads, as texts.
        config: What the policy is told.
        client_timeout_s: Seconds that a client waits for a call, where its phase says nothing else.
        uncoalesced: Tools whose identical calls are never taken for one another.
        heartbeat_s: Seconds between two heartbeats of a call.
        not_carried: Settings that were set and that the model has no part for, in words.
    """

    values: Mapping[str, str]
    config: PolicyConfig
    client_timeout_s: float
    uncoalesced: frozenset[str]
    heartbeat_s: float
    not_carried: tuple[str, ...] = ()


def model_settings(
    scenario: Scenario, *, env_file: Path | None = None, given: Mapping[str, str] | None = None
) -> ModelSettings:
    """Return the settings of a run.

    Args:
        scenario: The scenario with its own settings.
        env_file: A file of settings that stand before those; names that are not ours are left alone.
        given: Settings of the command line, which stand before all others.

    Raises:
        UnknownSettingError: There is no setting of that name.
        ConfigError: A value breaks a rule; it names the setting.
    """
    values = {name: text_of(value) for name, value in scenario.settings.items()}
    for name in values:
        _known(name, f"scenario {scenario.name}, settings")
    values |= _from_file(env_file) if env_file is not None else {}
    for name, text in (given or {}).items():
        check_name(name, scenario, "--set")
        _set(values, name, text)
    carried = {name: text for name, text in values.items() if is_carried(name)}
    left_out = sorted(name for name in values if name not in carried and name not in _ELSEWHERE)
    return ModelSettings(
        values=carried,
        config=policy_config(carried),
        client_timeout_s=_client_timeout_s(carried),
        uncoalesced=_uncoalesced(carried),
        heartbeat_s=_heartbeat_s(carried),
        not_carried=tuple(f"setting {name}: the model has no part for it" for name in left_out),
    )


def in_force(scenario: Scenario, settings: ModelSettings) -> Scenario:
    """Return the scenario with the one setting that the model reads of it, from wherever it was set."""
    if UNCOALESCED not in settings.values:
        return scenario
    own = scenario.settings | {UNCOALESCED: settings.values[UNCOALESCED]}
    return scenario.model_copy(update={"settings": own})


def is_carried(name: str) -> bool:
    """Return whether the model reads a setting of this name."""
    return name in CARRIED or PROVIDER_CAP.fullmatch(name) is not None or _ONE_TOOL.fullmatch(name) is not None


def check_name(name: str, scenario: Scenario, source: str) -> None:
    """Refuse a setting that the model does not read, or the cap of a provider or tool that the scenario has not.

    Raises:
        UnknownSettingError: It is one of these.
    """
    one_tool, cap = _ONE_TOOL.fullmatch(name), PROVIDER_CAP.fullmatch(name)
    if one_tool is not None:
        tools = {tool for phase in scenario.load for tool in (phase.mix or phase.sequence or ())}
        if one_tool[1] not in tools:
            meant = nearest(one_tool[1], tools)
            raise UnknownSettingError(
                source, name, f"no tool {one_tool[1]} in the load", meant and f"{TOOL_CAPS}[{meant}]"
            )
    elif name == HEARTBEAT:
        raise UnknownSettingError(source, name, "it changes no figure of the model, whose heartbeats are on time", None)
    elif name in CARRIED:
        return
    elif cap is not None:
        if cap[1] not in scenario.providers:
            meant = nearest(name, [*CARRIED, *(f"EXAI_WS_{provider}_MAX_INFLIGHT" for provider in scenario.providers)])
            raise UnknownSettingError(source, name, f"the scenario has no provider {cap[1]}", meant)
    elif name in _names():
        raise UnknownSettingError(source, name, "the model has no part for this setting", None)
    else:
        known = [*CARRIED, *(f"EXAI_WS_{provider}_MAX_INFLIGHT" for provider in scenario.providers)]
        raise UnknownSettingError(source, name, "no such setting", nearest(name, known))


def pairs_of(texts: list[str], source: str) -> dict[str, str]:
    """Read NAME=VALUE pairs of the command line.

    Raises:
        UnknownSettingError: A text is no such pair.
    """
    pairs = [text.partition("=") for text in texts]
    for (name, equals, value), text in zip(pairs, texts, strict=True):
        if not (name and equals and value):
            raise UnknownSettingError(source, text, "must be NAME=VALUE", None)
    return {name.strip(): value.strip() for name, _, value in pairs}


def caps_of(config: PolicyConfig) -> dict[str, int]:
    """Return every cap by its scope, as refusals name them."""
    caps = config.caps
    named = {"global": caps.total, "session": caps.session}
    named |= {f"tool:{tool}": cap for tool, cap in caps.tools.items()}
    return named | {f"provider:{provider}": cap for provider, cap in caps.providers.items()}


def timeouts_of(settings: ModelSettings) -> dict[str, float]:
    """Return what limits a call, in seconds, by its name in reports."""
    config = settings.config
    return {
        "call timeout": config.timeouts.call_s,
        "step timeout": config.timeouts.step_s,
        "expert budget": config.timeouts.expert_s,
        "client timeout": settings.client_timeout_s,
        "result ttl": config.ttls.result_s,
        "drain grace": config.drain_grace_s,
    }


def text_of(value: object) -> str:
    """Write a YAML value as the environment has it: true and false in small letters."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _names() -> frozenset[str]:
    """Return the names of all of the daemon's settings."""
    return frozenset(str(field.validation_alias) for field in Settings.model_fields.values())


def _known(name: str, source: str) -> None:
    if not name.startswith(_OURS) or is_carried(name) or name in _names():
        return
    raise UnknownSettingError(source, name, "no such setting", nearest(name, _names() | CARRIED))


def _from_file(env_file: Path) -> dict[str, str]:
    """Return the settings of a file that are ours; an empty value means: not set."""
    if not env_file.is_file():
        raise UnknownSettingError("--env-file", str(env_file), "there is no such file", None)
    found = {name: value for name, value in dotenv_values(env_file).items() if value and name.startswith(_OURS)}
    for name in found:
        _known(name, str(env_file))
    return found


def _set(values: dict[str, str], name: str, text: str) -> None:
    """Set a value; the cap of one tool goes among those of the others."""
    one_tool = _ONE_TOOL.fullmatch(name)
    if one_tool is None:
        values[name] = text
        return
    caps = dict(policy_config({TOOL_CAPS: values[TOOL_CAPS]} if TOOL_CAPS in values else {}).caps.tools)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(name, text, "must be a whole number of at least 1")
    values[TOOL_CAPS] = ",".join(f"{tool}={cap}" for tool, cap in (caps | {one_tool[1]: int(text)}).items())


def _client_timeout_s(values: Mapping[str, str]) -> float:
    """Return what the MCP client is set to; a long run waits longer where nobody says how long."""
    if CLIENT_TIMEOUT not in values:
        long_run = values.get(LONG_RUN, "false").lower() in {"1", "true", "t", "yes", "y", "on"}
        return LONG_RUN_CLIENT_TIMEOUT_S if long_run else float(Settings.model_fields["client_timeout_s"].default)
    return _seconds(CLIENT_TIMEOUT, values[CLIENT_TIMEOUT])


def _heartbeat_s(values: Mapping[str, str]) -> float:
    if HEARTBEAT not in values:
        return float(Settings.model_fields["progress_interval_s"].default)
    return _seconds(HEARTBEAT, values[HEARTBEAT])


def _uncoalesced(values: Mapping[str, str]) -> frozenset[str]:
    """Return the tools that the daemon derives no key for: names with commas between them; none, if it is empty."""
    if UNCOALESCED not in values:
        return frozenset(Settings.model_fields["disable_coalesce_for"].default)
    return frozenset(name.strip() for name in values[UNCOALESCED].split(",") if name.strip())


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0.0 < seconds < float("inf"):
        raise ConfigError(name, text, "must be a finite number above 0")
    return seconds


__all__ = [
    "CARRIED",
    "ModelSettings",
    "UnknownSettingError",
    "caps_of",
    "check_name",
    "in_force",
    "is_carried",
    "model_settings",
    "pairs_of",
    "text_of",
    "timeouts_of",
]
