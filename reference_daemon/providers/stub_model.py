"""What a stub provider is set to, and how that may change while it runs.

Pure values: latency, concurrency, mode, errors. A change is checked as a whole and gives a new
`StubProvider`; the old one stays as it was.
"""

import enum
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.latency import Latency, Uniform, from_mapping, parse_latency, to_mapping
from reference_daemon.providers.routing import MODELS

# What an expert call takes in the strategy's drills, in seconds.
DEFAULT_LATENCY = Uniform(35.0, 55.0)
DEFAULT_CONCURRENCY = 8
# A provider that is full or limits its rate names a short wait; 20 s is one wall second at the scale of 0.05.
DEFAULT_RETRY_AFTER_S = 20.0

_FIRST_ERROR, _LAST_ERROR = 400, 599
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}")


class ModeKind(enum.StrEnum):
    """How a stub treats the requests that it accepts."""

    OK = "ok"
    STATUS = "status"
    HANG = "hang"
    DRIP = "drip"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode, and the status that goes with it.

    Attributes:
        kind: `ok` answers after the latency; `status` refuses at once; `hang` accepts and never answers;
            `drip` sends the answer byte by byte, spread over the latency; `malformed` answers 200 with a body
            that breaks the API.
        status: The HTTP status of `status`; None otherwise.
    """

    kind: ModeKind = ModeKind.OK
    status: int | None = None

    def __post_init__(self) -> None:
        """Refuse a status that is no error, and one that belongs to no status mode."""
        if (self.kind is ModeKind.STATUS) != (self.status is not None):
            raise ConfigError("mode", str(self.kind), "status needs a number, the other modes have none")
        if self.status is not None:
            _check_status("mode", self.status)

    def __str__(self) -> str:
        """Write the mode as `parse_mode` reads it."""
        return self.kind.value if self.status is None else f"{self.kind.value}:{self.status}"


def parse_mode(text: str) -> Mode:
    """Read "ok", "status:503", "hang", "drip" or "malformed".

    Raises:
        ConfigError: It is none of them.
    """
    kind, separator, status = text.partition(":")
    rule = "must be ok, status:NNN, hang, drip or malformed"
    try:
        return Mode(ModeKind(kind), int(status) if separator else None)
    except ValueError:
        raise ConfigError("mode", text, rule) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class StubProvider:
    """One provider of the stub.

    Attributes:
        latency: How long an execution takes.
        tool_latency: The same for single tools, by the tool's name.
        concurrency: Executions at once; one more is refused with 429 at once.
        mode: How accepted requests are treated.
        error_rate: Share of the executions that end with `error_status` after their latency.
        error_status: See `error_rate`.
        retry_after_s: What a 429 tells the caller to wait, in seconds.
        models: Names that /models lists, the default first; a request may name any other.
    """

    latency: Latency = DEFAULT_LATENCY
    tool_latency: Mapping[str, Latency] = field(default_factory=lambda: MappingProxyType({}))
    concurrency: int = DEFAULT_CONCURRENCY
    mode: Mode = field(default_factory=Mode)
    error_rate: float = 0.0
    error_status: int = 500
    retry_after_s: float = DEFAULT_RETRY_AFTER_S
    models: tuple[str, ...] = ("stub-1",)

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            ConfigError: One is; its text names which.
        """
        _check_concurrency(self.concurrency)
        _check_within("error_rate", self.error_rate, 1.0)
        _check_within("retry_after_s", self.retry_after_s, 3600.0)
        _check_status("error_status", self.error_status)

    def latency_of(self, tool: str | None, draw: float) -> float:
        """Return how long a call of `tool` with this draw takes, in seconds."""
        return self.tool_latency.get(tool or "", self.latency).at(draw)

    def fails(self, draw: float) -> bool:
        """Say whether the execution with this draw is one of the failing ones.

        A second number is derived from the draw, so that a call's own draw fixes its failure as well as its
        latency, without tying failures to long or short latencies.
        """
        return self.error_rate > 0.0 and random.Random(draw).random() < self.error_rate

    def to_mapping(self) -> dict[str, object]:
        """Return all that `changed` can change, in the form that it reads."""
        return {
            "latency": to_mapping(self.latency),
            "tool_latency": {tool: to_mapping(latency) for tool, latency in self.tool_latency.items()},
            "concurrency": self.concurrency,
            "mode": str(self.mode),
            "error_rate": self.error_rate,
            "error_status": self.error_status,
            "retry_after_s": self.retry_after_s,
        }

    def changed(self, changes: Mapping[str, object]) -> "StubProvider":
        """Return this provider with the given keys of `to_mapping` changed; keys that are not given stay.

        Raises:
            ConfigError: A key is unknown, or a value is wrong; its text names which.
        """
        known = self.to_mapping()
        values: dict[str, Any] = {}
        for key, value in changes.items():
            if key not in known:
                raise ConfigError(str(key)[:64], None, f"unknown; must be one of {', '.join(known)}")
            values[key] = _READERS[key](value) if key in _READERS else value
        return replace(self, **values)


def default_providers() -> dict[str, StubProvider]:
    """Return a stub for every provider that the router knows."""
    return {name: StubProvider(models=models) for name, models in MODELS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StubConfig:
    """A stub server.

    Attributes:
        providers: Its providers by name; the name is the first part of their path.
        seed: Of the draws for calls that bring none.
        log_path: Where its log is appended, a JSON line per event; None for nowhere.
    """

    providers: Mapping[str, StubProvider] = field(default_factory=default_providers)
    seed: int = 0
    log_path: Path | None = None

    def __post_init__(self) -> None:
        """Refuse no providers at all, and names that are no path segments.

        Raises:
            ConfigError: There are none, or a name is malformed.
        """
        if not self.providers:
            raise ConfigError("providers", {}, "must hold at least one")
        for name in self.providers:
            if not _NAME.fullmatch(name):
                raise ConfigError("providers", name, "a name has capitals, digits and _ only")


def _read_latency(value: object) -> Latency:
    if isinstance(value, str):
        return parse_latency(value)
    if isinstance(value, Mapping):
        return from_mapping(value)
    raise ConfigError("latency", value, 'must be text such as "uniform:35,55", or a mapping')


def _read_tool_latency(value: object) -> Mapping[str, Latency]:
    if not isinstance(value, Mapping):
        raise ConfigError("tool_latency", value, "must be a mapping from tool to latency")
    return MappingProxyType({str(tool): _read_latency(latency) for tool, latency in value.items()})


def _read_mode(value: object) -> Mode:
    if not isinstance(value, str):
        raise ConfigError("mode", value, "must be text")
    return parse_mode(value)


_READERS = {"latency": _read_latency, "tool_latency": _read_tool_latency, "mode": _read_mode}


def _check_concurrency(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError("concurrency", value, "must be a whole number of at least 1")


def _check_within(setting: str, value: object, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= high:
        raise ConfigError(setting, value, f"must be a number from 0 to {high:g}")


def _check_status(setting: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not _FIRST_ERROR <= value <= _LAST_ERROR:
        raise ConfigError(setting, value, f"must be an HTTP status from {_FIRST_ERROR} to {_LAST_ERROR}")
