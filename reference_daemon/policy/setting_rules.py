"""Which settings there are, and what a value of each has to be: names and rules alone, without an environment.

The daemon reads its environment elsewhere, by the same names and rules (a test compares the two). A scenario's settings
are checked here, all at once, by whoever has no daemon.
"""

from collections.abc import Callable, Mapping
from typing import Final

from reference_daemon.policy.errors import ConfigError
from reference_daemon.policy.named import PROVIDER_CAP, TABLE, policy_config

_FLAGS: Final = frozenset({"0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes"})


def _number(text: str) -> float:
    """Return the number that a text is; NaN, which is in no range, if it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _text(_: str) -> str | None:
    return None


def _flag(text: str) -> str | None:
    return None if text.lower() in _FLAGS else "must be true or false"


def _seconds(text: str) -> str | None:
    return None if 0.0 < _number(text) < float("inf") else "must be a finite number above 0"


def _count(text: str) -> str | None:
    number = _number(text)
    return None if number >= 1 and number.is_integer() else "must be a whole number of at least 1"


def _port(text: str) -> str | None:
    number = _number(text)
    return None if 0 <= number <= 65535 and number.is_integer() else "must be a whole number from 0 to 65535"  # noqa: PLR2004 - TCP


def _scale(text: str) -> str | None:
    return None if 0.0 < _number(text) <= 1.0 else "must be above 0 and at most 1"


def _one_of(*words: str) -> Callable[[str], str | None]:
    rule = f"must be {', '.join(words[:-1])} or {words[-1]}"
    return lambda text: None if text in words else rule


OTHERS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "EXAI_WS_HOST": _text,
    "EXAI_WS_PORT": _port,
    "EXAI_WS_TOKEN": _text,
    "EXAI_WS_AUTOSTART": _flag,
    "EXAI_WS_ALLOWED_ORIGINS": _text,
    "EXAI_WS_HELLO_TIMEOUT": _seconds,
    "EXAI_WS_MAX_SESSIONS": _count,
    "EXAI_WS_MAX_FRAME_BYTES": _count,
    "EXAI_WS_MAX_ARGUMENTS_BYTES": _count,
    "EXAI_WS_MAX_RESULT_BYTES": _count,
    "EXAI_SHIM_RPC_TIMEOUT": _seconds,
    "EXAI_CLIENT_TIMEOUT": _seconds,
    "EXAI_LONG_RUN": _flag,
    "EXPERT_HEARTBEAT_INTERVAL_SECS": _seconds,
    "EXAI_WS_PROGRESS_INTERVAL_SECS": _seconds,
    "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS": _text,
    "GLM_API_URL": _text,
    "GLM_API_KEY": _text,
    "GLM_DEFAULT_MODEL": _text,
    "KIMI_API_URL": _text,
    "KIMI_API_KEY": _text,
    "KIMI_DEFAULT_MODEL": _text,
    "EXAI_STUB_LATENCY": _text,  # a distribution, which the policy knows nothing of
    "EXAI_WEB_BUDGET_SECS": _seconds,
    "EXAI_WEB_CACHE_TTL_SECS": _seconds,
    "EXAI_WEB_MAX_BYTES": _count,
    "EXAI_WEB_ALLOW_PRIVATE": _flag,
    "LOG_FORMAT": _one_of("console", "json"),
    "LOG_LEVEL": _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
    "EXAI_LOG_DIR": _text,
    "EXAI_TIME_SCALE": _scale,
}
"""Settings that the policy is not told, and what is wrong with a value of each; None: nothing."""

NAMES: Final = frozenset({*TABLE, "EXAI_WS_RETRY_AFTER", *OTHERS})
"""All settings, but the caps of single providers."""


def provider_of(name: str) -> str | None:
    """Return the provider whose cap a setting of this name is; None if it is another setting."""
    match = None if name in NAMES else PROVIDER_CAP.fullmatch(name)
    return match[1] if match else None


def broken_rule(name: str, text: str) -> str | None:
    """Return what the value of a setting had to be; None if it is that. An unknown setting has no rule."""
    if name in OTHERS:
        return OTHERS[name](text)
    try:
        policy_config({name: text})
    except ConfigError as error:
        return error.rule
    return None
