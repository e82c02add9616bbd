"""What a scenario is: providers, load, faults, settings and expectations, in unscaled seconds.

Read from YAML by `scenarios.load`; the same object drives a drill of the real daemon and a run of the model.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reference_daemon.providers.latency import Latency, from_mapping
from scenarios.model_faults import Fault
from scenarios.model_load import Distribution, Moment, Name, Phase, Seconds, Share, Strict

Metric = Literal[
    "calls",  # logical calls
    "success_rate",  # share of the calls that got their answer
    "outcomes",  # calls with the given outcome (count)
    "outcome_rate",  # their share
    "timeouts",  # calls that timed out, at the given layer
    "timeout_rate",
    "p50_s",
    "p95_s",
    "p99_s",
    "max_s",  # latency from the intended start, of the calls that ended
    "service_p95_s",  # duration as the daemon measured it
    "attempts_mean",  # attempts per call: 1 without retries
    "attempts_max",
    "refusals",  # answers 429, of the given scope (count, from the events)
    "duplicates",  # answers 409 DUPLICATE (count, from the events)
    "retried_success_rate",  # share of the calls refused at first that got their answer in the end
    "executions",  # executions that the provider began (count, from its log)
    "max_heartbeat_gap_s",
    "first_heartbeat_max_s",
    "calls_without_heartbeat",  # admitted calls of more than two intervals that never saw one
    "call_summaries",  # share of the answered calls whose result ends with a CALL SUMMARY naming its trace_id
    "daemon_errors",  # lines of level error in the daemon's log, watchdog included (count)
    "goodput_per_s",  # answered calls per second of the phase
    "recovery_s",  # seconds from the end of the last fault until calls succeed again without a failure between
    "refused_as_duplicate_max_s",  # slowest answer 409, in unscaled seconds
]

Scope = Annotated[str, Field(pattern=r"^(global|session|tool(:[\w.-]+)?|provider(:[A-Z][A-Z0-9_]*)?)$")]


class Expectation(Strict):
    """A metric with a limit, or the invariants."""

    metric: Metric | None = None
    min: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max: Annotated[float, Field(allow_inf_nan=False)] | None = None
    phase: Name | None = None
    """Calls of this phase only."""
    tool: str | None = None
    provider: str | None = None
    outcome: str | None = None
    layer: Literal["client", "shim", "daemon", "step", "expert", "web", "provider"] | None = None
    scope: Scope | None = None
    """Refusals of this scope; `tool` and `provider` without a name mean any."""
    during: Name | None = None
    """Calls during which the fault of this name was active."""
    least_calls: Annotated[int, Field(ge=1)] | None = None
    """Calls that it takes to judge; absent: 1, or as many as the quantile needs (20 for P95, 100 for P99)."""
    why: str | None = None
    """A sentence for whoever reads a red report."""
    invariants: Literal["all"] | tuple[Annotated[str, Field(pattern=r"^INV-\d\d$")], ...] | None = None
    broken: Annotated[str, Field(pattern=r"^INV-\d\d$")] | None = None
    """A rule that must be broken: the scenario shows an old behaviour, and holds when it shows."""

    @model_validator(mode="after")
    def _metric_or_invariants(self) -> "Expectation":
        if sum(given is not None for given in (self.metric, self.invariants, self.broken)) != 1:
            raise ValueError("give either metric or invariants, or broken")
        if self.metric is not None and self.min is None and self.max is None:
            raise ValueError("a metric needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Errors(Strict):
    """Executions of a provider that fail after their latency."""

    rate: Share
    status: Annotated[int, Field(ge=400, le=599)] = 500


class Provider(Strict):
    """A stub provider, or the model of one."""

    latency: Distribution
    """Distribution of the time that an execution takes."""
    tool_latency: dict[str, Distribution] = Field(default_factory=dict)
    """The same for single tools."""
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Executions at once; one more is refused with 429."""
    errors: Errors | None = None
    retry_after: Annotated[float, Field(ge=0, le=3600)] = 20.0
    """Seconds that its 429 names."""

    def distribution(self, tool: str | None = None) -> Latency:
        """Return the distribution of the time that an execution for `tool` takes."""
        return from_mapping(self.tool_latency.get(tool or "", self.latency))


class Daemon(Strict):
    """How the daemon is started."""

    defect: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] | None = None
    """A seeded defect, by name: shows what a check catches, or an old root cause. Absent: the daemon as it is."""


class Retry(Strict):
    """The load clients' rules for trying again, where they differ from the shipped ones."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    jitter: Share = 0.1
    first: Seconds = 1.0
    max: Seconds = 30.0


class Scenario(Strict):
    """A scenario."""

    name: Name
    title: Annotated[str, Field(min_length=1, max_length=200)]
    description: str = ""
    """What it shows, and how to read its result."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    time_scale: Annotated[float, Field(ge=0.02, le=1)] = 0.05
    """Wall seconds per second of the scenario."""
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """The daemon's settings where they differ from the shipped ones; a drill checks them before anything starts."""
    daemon: Daemon = Daemon()
    retry: Retry = Retry()
    providers: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], Provider], Field(min_length=1)]
    load: Annotated[tuple[Phase, ...], Field(min_length=1)]
    faults: tuple[Fault, ...] = ()
    quiesce: Moment = 240.0
    """Seconds after the last arrival within which every call must have ended; then the run is judged as it is."""
    expect: Annotated[tuple[Expectation, ...], Field(min_length=1)]
    """What must hold: a drill without expectations says nothing."""

    @model_validator(mode="after")
    def _names_meet(self) -> "Scenario":
        phases = [phase.phase for phase in self.load]
        if len(set(phases)) != len(phases):
            raise ValueError("two phases have the same name")
        for fault in self.faults:
            provider = fault.provider.name if fault.provider else (fault.link or "").partition(":")[2]
            if provider and provider not in self.providers:
                raise ValueError(f"a fault names the provider {provider}, which is none of {', '.join(self.providers)}")
        return self

    @property
    def load_s(self) -> float:
        """Seconds from the start of the load to the end of its last phase."""
        return max(start + phase.duration for start, phase in self.phases())

    def phases(self) -> list[tuple[float, Phase]]:
        """Return the phases with their starts, in seconds since the start of the load."""
        placed: list[tuple[float, Phase]] = []
        end = 0.0
        for phase in self.load:
            start = end if phase.start is None else phase.start
            placed.append((start, phase))
            end = start + phase.duration
        return placed
