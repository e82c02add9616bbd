"""The policy's numbers by the names that people set them with: EXAI_* to `PolicyConfig`, without an environment.

The daemon reads its environment elsewhere, with the same names and the same defaults (a test compares the two); the
simulator has only the names and values of a scenario.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig, Timeouts, Ttls
from reference_daemon.policy.errors import ConfigError

PROVIDER_CAP: Final = re.compile(r"EXAI_WS_([A-Z][A-Z0-9]*)_MAX_INFLIGHT")


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(name, text, "must be a number") from None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(name, text, "must be a whole number") from None


def _tools(name: str, text: str) -> dict[str, int]:
    """Read "analyze=3,codereview=3"."""
    pairs = [word.strip().partition("=") for word in text.split(",") if word.strip()]
    for tool, equals, _ in pairs:
        if not equals or not tool.strip():
            raise ConfigError(name, text, "must be TOOL=CAP, separated by commas")
    return {tool.strip(): _whole(name, cap) for tool, _, cap in pairs}


Reader = Callable[[str, str], Any]

TABLE: Final[Mapping[str, tuple[str, str, Reader]]] = {
    "EXAI_WS_GLOBAL_MAX_INFLIGHT": ("caps", "total", _whole),
    "EXAI_WS_SESSION_MAX_INFLIGHT": ("caps", "session", _whole),
    "EXAI_WS_TOOL_MAX_INFLIGHT": ("caps", "tools", _tools),
    "EXAI_WS_CALL_TIMEOUT": ("timeouts", "call_s", _number),
    "WORKFLOW_STEP_TIMEOUT_SECS": ("timeouts", "step_s", _number),
    "EXPERT_ANALYSIS_TIMEOUT_SECS": ("timeouts", "expert_s", _number),
    "EXAI_WS_TTL_MULTIPLIER": ("ttls", "multiplier", _number),
    "EXAI_WS_INFLIGHT_TTL_SECS": ("ttls", "inflight_s", _number),
    "EXAI_WS_RESULT_TTL": ("ttls", "result_s", _number),
    "EXAI_WS_RESULT_MAX_ENTRIES": ("ttls", "result_entries", _whole),
    "EXAI_WS_RESULT_MAX_BYTES": ("ttls", "result_bytes", _whole),
    "EXAI_WS_MAX_TOMBSTONES": ("ttls", "tombstones", _whole),
    "EXAI_WS_RETRY_AFTER_QUANTILE": ("advice", "quantile", _number),
    "EXAI_WS_EXPECTED_CALL_SECS": ("advice", "expected_call_s", _number),
    "EXAI_WS_DRAIN_GRACE_SECS": ("config", "drain_grace_s", _number),
}
"""Name of a setting, and the field that it sets."""


def policy_config(values: Mapping[str, str]) -> PolicyConfig:
    """Return the policy's numbers: the shipped ones, and those of `values` by name; other names are left alone.

    Raises:
        ConfigError: A value is none, or breaks a rule; it names the setting.
    """
    parts: dict[str, dict[str, Any]] = {"caps": {}, "timeouts": {}, "ttls": {}, "advice": {}, "config": {}}
    providers = dict(Caps().providers)
    for name, text in values.items():
        if name in TABLE:
            part, field, read = TABLE[name]
            parts[part][field] = read(name, text)
        elif match := PROVIDER_CAP.fullmatch(name):
            providers[match[1]] = _whole(name, text)
    if "EXAI_WS_RETRY_AFTER" in values:
        parts["advice"] |= _advice(values["EXAI_WS_RETRY_AFTER"])
    return PolicyConfig(
        caps=Caps(**parts["caps"], providers=providers),
        timeouts=Timeouts(**parts["timeouts"]),
        ttls=Ttls(**parts["ttls"]),
        advice=Advice(**parts["advice"]),
        **parts["config"],
    )


def _advice(text: str) -> dict[str, Any]:
    """Read "appointment", "residual" or "fixed:SECONDS"."""
    name, colon, seconds = text.partition(":")
    if name == "fixed" and colon:
        return {"mode": AdviceMode.FIXED, "fixed_s": _number("EXAI_WS_RETRY_AFTER", seconds)}
    if text in {AdviceMode.RESIDUAL, AdviceMode.APPOINTMENT}:
        return {"mode": AdviceMode(text)}
    raise ConfigError("EXAI_WS_RETRY_AFTER", text, "must be appointment, residual or fixed:SECONDS")
