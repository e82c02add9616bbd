"""The only reader of the environment: every setting of daemon, client and shim, with its default and its rule.

The environment comes first, then the file `.env` in the working directory (ENV_FILE names another), then the defaults.
A value that breaks a rule stops the start: `load_settings` names the variable, the value and the rule.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from dotenv.parser import Original, parse_stream
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from reference_daemon.addresses import is_loopback
from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig, Timeouts, Ttls
from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.latency import parse_latency

LONG_RUN_CLIENT_TIMEOUT_S = 240.0
"""EXAI_CLIENT_TIMEOUT when EXAI_LONG_RUN is on and it is not set itself."""

PROVIDER_CAP = re.compile(r"EXAI_WS_([A-Z][A-Z0-9]*)_MAX_INFLIGHT")
_PROVIDER_CAP_NAME: Final = "EXAI_WS_<PROVIDER>_MAX_INFLIGHT"
NOT_PROVIDERS = frozenset({"GLOBAL", "SESSION", "TOOL"})

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class SettingsError(ConfigError):
    """One or more settings are wrong; each is a `ConfigError` in `problems`."""

    def __init__(self, problems: list[ConfigError]) -> None:
        """Keep the problems; the first gives setting, value and rule."""
        super().__init__(problems[0].setting, problems[0].value, problems[0].rule)
        self.problems = problems

    def __str__(self) -> str:
        """Name every problem on a line of its own."""
        return "\n".join(str(problem) for problem in self.problems)


class _ProviderCaps(PydanticBaseSettingsSource):
    """Gathers EXAI_WS_<PROVIDER>_MAX_INFLIGHT for any provider, the environment before the file."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        """Read from the variables that `sources` have read, the first one winning."""
        super().__init__(settings_cls)
        self._variables: dict[str, str | None] = {}
        for source in reversed(sources):
            if isinstance(source, EnvSettingsSource):
                self._variables.update(source.env_vars)

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - a signature of its base
        """Return nothing: this source fills one field, as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the caps by provider."""
        caps = {
            match[1]: value
            for name, value in self._variables.items()
            if (match := PROVIDER_CAP.fullmatch(name)) and match[1] not in NOT_PROVIDERS
        }
        return {_PROVIDER_CAP_NAME: caps} if caps else {}


class Settings(BaseSettings):
    """Everything that can be set, in unscaled seconds. Names are those of the environment."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8", extra="ignore", case_sensitive=True, env_ignore_empty=True, frozen=True
    )

    # where, and who may come in
    host: str = Field("127.0.0.1", validation_alias="EXAI_WS_HOST")
    port: int = Field(8765, ge=0, le=65535, validation_alias="EXAI_WS_PORT")
    token: SecretStr | None = Field(None, validation_alias="EXAI_WS_TOKEN")
    autostart: bool = Field(default=True, validation_alias="EXAI_WS_AUTOSTART")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field((), validation_alias="EXAI_WS_ALLOWED_ORIGINS")
    hello_timeout_s: Seconds = Field(10.0, validation_alias="EXAI_WS_HELLO_TIMEOUT")
    max_sessions: Count = Field(10_000, validation_alias="EXAI_WS_MAX_SESSIONS")
    max_frame_bytes: Count = Field(32 * 1024 * 1024, validation_alias="EXAI_WS_MAX_FRAME_BYTES")
    max_arguments_bytes: Count = Field(8 * 1024 * 1024, validation_alias="EXAI_WS_MAX_ARGUMENTS_BYTES")
    max_result_bytes: Count = Field(32 * 1024 * 1024, validation_alias="EXAI_WS_MAX_RESULT_BYTES")

    # caps
    global_max_inflight: Count = Field(16, validation_alias="EXAI_WS_GLOBAL_MAX_INFLIGHT")
    session_max_inflight: Count = Field(8, validation_alias="EXAI_WS_SESSION_MAX_INFLIGHT")
    tool_max_inflight: Annotated[dict[str, Count], NoDecode] = Field(
        {"analyze": 3, "codereview": 3, "testgen": 4}, validation_alias="EXAI_WS_TOOL_MAX_INFLIGHT"
    )
    provider_caps: dict[str, Count] = Field({}, validation_alias="EXAI_WS_<PROVIDER>_MAX_INFLIGHT")

    # timeouts
    call_timeout_s: Seconds = Field(180.0, validation_alias="EXAI_WS_CALL_TIMEOUT")
    shim_rpc_timeout_s: Seconds = Field(150.0, validation_alias="EXAI_SHIM_RPC_TIMEOUT")
    client_timeout_s: Seconds = Field(180.0, validation_alias="EXAI_CLIENT_TIMEOUT")
    long_run: bool = Field(default=False, validation_alias="EXAI_LONG_RUN")
    step_timeout_s: Seconds = Field(120.0, validation_alias="WORKFLOW_STEP_TIMEOUT_SECS")
    expert_timeout_s: Seconds = Field(90.0, validation_alias="EXPERT_ANALYSIS_TIMEOUT_SECS")
    expert_heartbeat_s: Seconds = Field(5.0, validation_alias="EXPERT_HEARTBEAT_INTERVAL_SECS")
    progress_interval_s: Seconds = Field(5.0, validation_alias="EXAI_WS_PROGRESS_INTERVAL_SECS")
    drain_grace_s: Seconds = Field(60.0, validation_alias="EXAI_WS_DRAIN_GRACE_SECS")

    # keys and results
    disable_coalesce_for: Annotated[frozenset[str], NoDecode] = Field(
        frozenset({"kimi_chat_with_tools", "analyze", "codereview", "testgen"}),
        validation_alias="EXAI_WS_DISABLE_COALESCE_FOR_TOOLS",
    )
    inflight_ttl_s: Seconds | None = Field(None, validation_alias="EXAI_WS_INFLIGHT_TTL_SECS")
    ttl_multiplier: Seconds = Field(2.0, validation_alias="EXAI_WS_TTL_MULTIPLIER")
    result_ttl_s: Seconds = Field(600.0, validation_alias="EXAI_WS_RESULT_TTL")
    result_max_entries: Count = Field(10_000, validation_alias="EXAI_WS_RESULT_MAX_ENTRIES")
    result_max_bytes: Count = Field(256 * 1024 * 1024, validation_alias="EXAI_WS_RESULT_MAX_BYTES")
    max_tombstones: Count = Field(10_000, validation_alias="EXAI_WS_MAX_TOMBSTONES")

    # retry advice
    retry_after: str = Field("appointment", validation_alias="EXAI_WS_RETRY_AFTER")
    retry_after_quantile: float = Field(0.9, gt=0, lt=1, validation_alias="EXAI_WS_RETRY_AFTER_QUANTILE")
    expected_call_s: Seconds = Field(45.0, validation_alias="EXAI_WS_EXPECTED_CALL_SECS")

    # providers
    glm_api_url: str | None = Field(None, validation_alias="GLM_API_URL")
    glm_api_key: SecretStr | None = Field(None, validation_alias="GLM_API_KEY")
    glm_default_model: str = Field("glm-4.6", validation_alias="GLM_DEFAULT_MODEL")
    kimi_api_url: str | None = Field(None, validation_alias="KIMI_API_URL")
    kimi_api_key: SecretStr | None = Field(None, validation_alias="KIMI_API_KEY")
    kimi_default_model: str = Field("kimi-k2", validation_alias="KIMI_DEFAULT_MODEL")

    stub_latency: str = Field("uniform:35,55", validation_alias="EXAI_STUB_LATENCY")

    # web context
    web_budget_s: Seconds = Field(25.0, validation_alias="EXAI_WEB_BUDGET_SECS")
    web_cache_ttl_s: Seconds = Field(300.0, validation_alias="EXAI_WEB_CACHE_TTL_SECS")
    web_max_bytes: Count = Field(1_000_000, validation_alias="EXAI_WEB_MAX_BYTES")
    web_allow_private: bool = Field(default=False, validation_alias="EXAI_WEB_ALLOW_PRIVATE")

    # what is written
    log_format: Literal["console", "json"] = Field("console", validation_alias="LOG_FORMAT")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", validation_alias="LOG_LEVEL")
    log_dir: Path = Field(Path("logs"), validation_alias="EXAI_LOG_DIR")
    time_scale: float = Field(1.0, gt=0, le=1, validation_alias="EXAI_TIME_SCALE")

    @field_validator("allowed_origins", "disable_coalesce_for", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        """Read "a,b,c"."""
        if isinstance(value, str):
            return [name.strip() for name in value.split(",") if name.strip()]
        return value

    @field_validator("tool_max_inflight", mode="before")
    @classmethod
    def _split_caps(cls, value: object) -> object:
        """Read "analyze=3,codereview=3"."""
        if not isinstance(value, str):
            return value
        caps = {}
        for item in filter(None, (part.strip() for part in value.split(","))):
            tool, equals, cap = item.partition("=")
            if not (equals and tool.strip()):
                message = f"{item!r} is not of the form tool=cap"
                raise ValueError(message)
            caps[tool.strip()] = cap.strip()
        return caps

    @field_validator("retry_after")
    @classmethod
    def _check_retry_after(cls, value: str) -> str:
        """Refuse what `advice` could not use."""
        _advice_mode(value)
        return value

    @field_validator("stub_latency")
    @classmethod
    def _check_stub_latency(cls, value: str) -> str:
        """Refuse what is no distribution."""
        try:
            parse_latency(value)
        except ConfigError as error:
            raise ValueError(error.rule) from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - a signature of pydantic-settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, then the file; no secrets directory."""
        caps = _ProviderCaps(settings_cls, env_settings, dotenv_settings)
        return init_settings, env_settings, dotenv_settings, caps

    @property
    def url(self) -> str:
        """Where clients find the daemon."""
        return url_of(self.host, self.port)

    def policy(self) -> PolicyConfig:
        """Return the part that the policy is told."""
        mode, fixed_s = _advice_mode(self.retry_after)
        providers = {**Caps().providers, **self.provider_caps}
        return PolicyConfig(
            caps=Caps(
                total=self.global_max_inflight,
                session=self.session_max_inflight,
                tools=self.tool_max_inflight,
                providers=providers,
            ),
            timeouts=Timeouts(call_s=self.call_timeout_s, step_s=self.step_timeout_s, expert_s=self.expert_timeout_s),
            ttls=Ttls(
                multiplier=self.ttl_multiplier,
                inflight_s=self.inflight_ttl_s,
                result_s=self.result_ttl_s,
                result_entries=self.result_max_entries,
                result_bytes=self.result_max_bytes,
                tombstones=self.max_tombstones,
            ),
            advice=Advice(
                mode=mode,
                fixed_s=fixed_s,
                quantile=self.retry_after_quantile,
                expected_call_s=self.expected_call_s,
            ),
            drain_grace_s=self.drain_grace_s,
        )


def _advice_mode(text: str) -> tuple[AdviceMode, float]:
    """Read "appointment", "residual" or "fixed:SECONDS"."""
    name, colon, seconds = text.partition(":")
    if name == "fixed" and colon:
        try:
            fixed_s = float(seconds)
        except ValueError:
            fixed_s = float("nan")
        if 0.0 < fixed_s < float("inf"):
            return AdviceMode.FIXED, fixed_s
    elif text in (AdviceMode.RESIDUAL, AdviceMode.APPOINTMENT):
        return AdviceMode(text), Advice().fixed_s
    message = "must be appointment, residual or fixed:SECONDS"
    raise ValueError(message)


def load_settings(env_file: Path | None = None) -> Settings:
    """Read the settings of this process.

    Args:
        env_file: The file to read after the environment; None: ENV_FILE, else `.env`, if there is one.

    Raises:
        SettingsError: A value breaks a rule, or ENV_FILE names no file.
    """
    settings = read_settings(settings_file(env_file))
    problems = refusals(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def settings_file(env_file: Path | None = None) -> Path:
    """Return the file that is read after the environment; `.env` need not exist.

    Raises:
        SettingsError: A file was named, here or by ENV_FILE, and does not exist.
    """
    named = env_file if env_file is not None else os.environ.get("ENV_FILE")
    path = Path(named) if named else Path(".env")
    if named and not path.is_file():
        raise SettingsError([ConfigError("ENV_FILE", str(path), "must name a file that exists")])
    return path


def read_settings(path: Path, **fixed: Any) -> Settings:
    """Read the settings, each checked by itself: the daemon may still refuse how they go together.

    Args:
        path: The file to read after the environment.
        fixed: Values that stand before the environment, by the names of their variables.

    Raises:
        SettingsError: A value breaks a rule, or the file cannot be read.
    """
    try:
        _check_lines(path)
        settings = Settings(_env_file=path, **fixed)
    except ValidationError as error:
        raise SettingsError([_problem(detail) for detail in error.errors(include_url=False)]) from None
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            [ConfigError("ENV_FILE", str(path), "must be a text file in UTF-8 that can be read")]
        ) from None
    if settings.long_run and "client_timeout_s" not in settings.model_fields_set:
        settings = settings.model_copy(update={"client_timeout_s": LONG_RUN_CLIENT_TIMEOUT_S})
    return settings


def _check_lines(path: Path) -> None:
    """Refuse a file with a line that is none: its value would be missing without a word.

    Raises:
        SettingsError: There is such a line.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        wrong = [_line_of(binding.original) for binding in parse_stream(lines) if binding.error]
    if wrong:
        problems = [ConfigError(f"{path}, line {line}", "…", "must be NAME=value") for line in wrong]
        raise SettingsError(problems)


def _line_of(original: Original) -> int:
    """Return the line of a binding; the parser counts the empty lines before it to it."""
    text = original.string
    return original.line + text[: len(text) - len(text.lstrip())].count("\n")


def refusals(settings: Settings) -> list[ConfigError]:
    """Return the combinations with which the daemon does not start."""
    problems = []
    ceiling_s = settings.call_timeout_s
    for name, interval_s in (
        ("EXAI_WS_PROGRESS_INTERVAL_SECS", settings.progress_interval_s),
        ("EXPERT_HEARTBEAT_INTERVAL_SECS", settings.expert_heartbeat_s),
    ):
        if interval_s >= ceiling_s:
            problems.append(ConfigError(name, interval_s, f"must be below EXAI_WS_CALL_TIMEOUT ({ceiling_s:g} s)"))
    if settings.token is None and not is_loopback(settings.host):
        rule = "an address that is not loopback needs EXAI_WS_TOKEN"
        problems.append(ConfigError("EXAI_WS_HOST", settings.host, rule))
    return problems


def url_of(host: str, port: int) -> str:
    """Return the URL of a daemon; an IPv6 address needs brackets there."""
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"


def _problem(detail: Mapping[str, Any]) -> ConfigError:
    """Word one of pydantic's findings; a secret's value is not shown."""
    location = [str(part) for part in detail["loc"]]
    name = location[0] if location else "settings"
    if name == _PROVIDER_CAP_NAME and len(location) > 1:
        name, location = f"EXAI_WS_{location[1]}_MAX_INFLIGHT", []
    setting = name + "".join(f"[{part}]" for part in location[1:])
    secret = any(word in setting for word in ("TOKEN", "KEY"))
    rule = str(detail["msg"]).removeprefix("Value error, ")
    return ConfigError(setting, "(not shown)" if secret else detail["input"], rule[0].lower() + rule[1:])
