"""The policy's numbers: caps, timeouts, TTLs, retry advice, each checked once, where it is made.

Defaults and their reasons come from the strategy (docs/architecture/ws_daemon/strategy.md). Which EXAI_* name sets
which field stands beside the field; the names are read from the environment by `reference_daemon.settings` alone.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reference_daemon.policy.errors import ConfigError


def _positive(setting: str, value: float) -> None:
    """Refuse zero, negative values, infinity and NaN."""
    if not 0.0 < value < float("inf"):
        raise ConfigError(setting, value, "must be a finite number above 0")


def _at_least_one(setting: str, value: int) -> None:
    if value < 1:
        raise ConfigError(setting, value, "must be a whole number of at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many calls may be in flight at once. A missing tool or provider has no cap of its own.

    Attributes:
        total: In the whole daemon (EXAI_WS_GLOBAL_MAX_INFLIGHT; the strategy's target is 12 to 16).
        session: Per session (EXAI_WS_SESSION_MAX_INFLIGHT).
        tools: Per tool (EXAI_WS_TOOL_MAX_INFLIGHT).
        providers: Per provider (EXAI_WS_<PROVIDER>_MAX_INFLIGHT).
    """

    total: int = 16
    session: int = 8
    tools: Mapping[str, int] = field(
        default_factory=lambda: MappingProxyType({"analyze": 3, "codereview": 3, "testgen": 4})
    )
    providers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"GLM": 4, "KIMI": 6}))

    def __post_init__(self) -> None:
        """Refuse caps below 1.

        Raises:
            ConfigError: A cap is below 1.
        """
        _at_least_one("EXAI_WS_GLOBAL_MAX_INFLIGHT", self.total)
        _at_least_one("EXAI_WS_SESSION_MAX_INFLIGHT", self.session)
        for tool, cap in self.tools.items():
            _at_least_one(f"EXAI_WS_TOOL_MAX_INFLIGHT[{tool}]", cap)
        for provider, cap in self.providers.items():
            _at_least_one(f"EXAI_WS_{provider}_MAX_INFLIGHT", cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Budgets of a call, in seconds; the smallest that applies is the call's deadline.

    Attributes:
        call_s: The daemon's ceiling for any call (EXAI_WS_CALL_TIMEOUT).
        step_s: An intermediate workflow step (WORKFLOW_STEP_TIMEOUT_SECS).
        expert_s: The expert's provider request (EXPERT_ANALYSIS_TIMEOUT_SECS).
        expert_buffer_s: What an expert step as a whole may take on top of `expert_s`.
        expert_reserve_s: What an expert step leaves of `call_s`, so that it is the step that is answered.
        expert_floor_s: The least an expert step as a whole gets.
    """

    call_s: float = 180.0
    step_s: float = 120.0
    expert_s: float = 90.0
    expert_buffer_s: float = 30.0
    expert_reserve_s: float = 5.0
    expert_floor_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse budgets that are not above 0.

        Raises:
            ConfigError: A budget is zero, negative, infinite or NaN.
        """
        _positive("EXAI_WS_CALL_TIMEOUT", self.call_s)
        _positive("WORKFLOW_STEP_TIMEOUT_SECS", self.step_s)
        _positive("EXPERT_ANALYSIS_TIMEOUT_SECS", self.expert_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ttls:
    """How long keys and results are remembered, and how many.

    Attributes:
        multiplier: Times the P95 of its tool that a call in flight keeps its key fresh (EXAI_WS_TTL_MULTIPLIER).
        inflight_s: Overrides that product and its bound, in seconds (EXAI_WS_INFLIGHT_TTL_SECS); None: not set.
        result_s: Seconds that the result of an explicit key can be replayed (EXAI_WS_RESULT_TTL).
        result_entries: Most results held at once (EXAI_WS_RESULT_MAX_ENTRIES).
        result_bytes: Most bytes of results held at once (EXAI_WS_RESULT_MAX_BYTES).
        tombstones: Most keys remembered after their result was dropped (EXAI_WS_MAX_TOMBSTONES): those of the last
            7 hours of a daemon that is full with calls of 45 s. More of them would be the daemon's largest growth.
    """

    multiplier: float = 2.0
    inflight_s: float | None = None
    result_s: float = 600.0
    result_entries: int = 10_000
    result_bytes: int = 256 * 1024 * 1024
    tombstones: int = 10_000

    def __post_init__(self) -> None:
        """Refuse times and bounds that would disable a rule by accident.

        Raises:
            ConfigError: A value is out of range.
        """
        _positive("EXAI_WS_TTL_MULTIPLIER", self.multiplier)
        if self.inflight_s is not None:
            _positive("EXAI_WS_INFLIGHT_TTL_SECS", self.inflight_s)
        _positive("EXAI_WS_RESULT_TTL", self.result_s)
        _at_least_one("EXAI_WS_RESULT_MAX_ENTRIES", self.result_entries)
        _at_least_one("EXAI_WS_RESULT_MAX_BYTES", self.result_bytes)
        _at_least_one("EXAI_WS_MAX_TOMBSTONES", self.tombstones)


class AdviceMode(enum.StrEnum):
    """How `retry_after` of a 429 is found."""

    FIXED = "fixed"
    RESIDUAL = "residual"
    APPOINTMENT = "appointment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How a refused call learns when to come back.

    Attributes:
        mode: `fixed`, `residual` or `appointment` (EXAI_WS_RETRY_AFTER).
        fixed_s: The answer in mode `fixed`, in seconds ("fixed:SECONDS").
        quantile: Quantile of the durations that running calls are expected to take (EXAI_WS_RETRY_AFTER_QUANTILE).
            The median lets 0.80 to 0.92 of nine calls in on a cap of three, the P90 0.99: coming back too early
            costs one of three attempts, coming back late costs seconds.
        expected_call_s: Typical duration of expert steps and chats before enough were seen
            (EXAI_WS_EXPECTED_CALL_SECS).
        expected_short_s: The same for steps and tools that call no provider.
        expected_spread: Part by which those may be shorter or longer. A typical duration alone has no P90: half of
            the calls would outlast it, and callers sent to that moment lose one of three attempts.
        least_s: Least retry_after, in seconds. The most is the call timeout.
        max_appointments: Bound of the appointment book.
        grace_s: Seconds after its time at which an appointment that nobody kept is dropped: the client's jitter of
            up to 10 % on a wait of up to a call timeout, and its way back.
    """

    mode: AdviceMode = AdviceMode.APPOINTMENT
    fixed_s: float = 1.0
    quantile: float = 0.9
    expected_call_s: float = 45.0
    expected_short_s: float = 1.0
    expected_spread: float = 0.25
    least_s: float = 1.0
    max_appointments: int = 10_000
    grace_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse values that give no usable time.

        Raises:
            ConfigError: A value is out of range.
        """
        _positive("EXAI_WS_RETRY_AFTER", self.fixed_s)
        _positive("EXAI_WS_EXPECTED_CALL_SECS", self.expected_call_s)
        _positive("expected_short_s", self.expected_short_s)
        if not 0.0 < self.expected_spread < 1.0:
            raise ConfigError("expected_spread", self.expected_spread, "must be between 0 and 1")
        _positive("least_s", self.least_s)
        _positive("grace_s", self.grace_s)
        _at_least_one("max_appointments", self.max_appointments)
        if not 0.0 < self.quantile < 1.0:
            raise ConfigError("EXAI_WS_RETRY_AFTER_QUANTILE", self.quantile, "must be between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Everything the policy is told at its start; it never changes while it runs.

    Attributes:
        caps: See `Caps`.
        timeouts: See `Timeouts`.
        ttls: See `Ttls`.
        advice: See `Advice`.
        drain_grace_s: Seconds that calls in flight may still take once draining began (EXAI_WS_DRAIN_GRACE_SECS).
    """

    caps: Caps = field(default_factory=Caps)
    timeouts: Timeouts = field(default_factory=Timeouts)
    ttls: Ttls = field(default_factory=Ttls)
    advice: Advice = field(default_factory=Advice)
    drain_grace_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a grace that is not above 0.

        Raises:
            ConfigError: `drain_grace_s` is zero, negative, infinite or NaN.
        """
        _positive("EXAI_WS_DRAIN_GRACE_SECS", self.drain_grace_s)
