"""The load of a scenario: phases, when their calls arrive, and what is called. Seconds are unscaled."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.latency import from_mapping

Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]
"""A duration: above 0, at most a week; a longer one is a mistake of units."""

Moment = Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)]
"""Seconds since the start of the load."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]


def _distribution(mapping: dict[str, object]) -> dict[str, object]:
    """Refuse a mapping that is no distribution, at the place where it stands."""
    try:
        from_mapping(mapping)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return mapping


Distribution = Annotated[dict[str, object], AfterValidator(_distribution)]
"""A distribution of times, such as `{lognormal: {median: 45, sigma: 0.2}}`."""


class Strict(BaseModel):
    """A part of a scenario: unknown keys are mistakes, and nothing changes once it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)


class Poisson(Strict):
    """Independent arrivals, so many per second on average."""

    rate: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
    """Arrivals per second, over all clients of the phase."""


class Uniform(Strict):
    """Arrivals with a fixed gap; the first at the phase's start."""

    gap: Seconds
    """Seconds between two arrivals."""


class Burst(Strict):
    """Arrivals in bursts; the first at the phase's start."""

    size: Annotated[int, Field(ge=1, le=1_000_000)]
    """Calls at once."""
    every: Seconds | None = None
    """Seconds between two bursts; absent: one burst."""


class Closed(Strict):
    """Users who think, call, wait for the end of their call, and think again."""

    users: Annotated[int, Field(ge=1, le=100_000)]
    """How many users; they share the phase's clients in turn."""
    think: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Seconds of thinking before each call but a user's first; exponential with this mean. 0: none."""
    calls: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls of each user at most; absent: as many as fit into the phase's duration."""


class Trace(Strict):
    """Arrivals at given moments."""

    times: Annotated[tuple[Moment, ...], Field(min_length=1, max_length=1_000_000)]
    """Seconds since the phase's start, in any order."""


class Arrivals(Strict):
    """When calls arrive: exactly one kind. Open kinds never wait for answers; `closed` does."""

    poisson: Poisson | None = None
    uniform: Uniform | None = None
    burst: Burst | None = None
    closed: Closed | None = None
    trace: Trace | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Arrivals":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self


class Behaviour(Strict):
    """What a client does besides waiting for its answer; exactly one of these."""

    early_close: Seconds | None = None
    """Seconds after sending at which it drops its connection and never comes back for the call."""
    cancel: Seconds | None = None
    """Seconds after sending at which it cancels the call."""
    stop_reading: Seconds | None = None
    """Seconds for which it reads nothing from its connection after sending."""
    duplicates: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Further copies of the same call, with the same call_key, that it sends at once."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Behaviour":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self


class Phase(Strict):
    """A part of the load."""

    phase: Name
    """Its name, in every report."""
    duration: Seconds
    """Seconds in which calls arrive; calls may end later."""
    start: Moment | None = None
    """Seconds since the start of the load; absent: when the phase before it ends."""
    clients: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Connections that share the calls in turn; clients of different phases are different ones."""
    arrivals: Arrivals
    """When calls arrive."""
    mix: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None
    """Tools and their weights; each call draws one."""
    sequence: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Tools that the calls take in turn, in the place of a mix."""
    expert: bool = True
    """Whether workflow tools make their final step, which asks an expert; else an intermediate step."""
    model: str | None = None
    """Model for every call; absent: the tool's own choice."""
    keys: Literal["unique", "shared", "derived"] = "unique"
    """`unique`: a fresh call_key per call; `shared`: one call_key and the same work for the whole phase; `derived`: no
    call_key, so that the daemon derives it from equal arguments."""
    client_timeout: Seconds | None = None
    """Seconds that a client waits for a call, all attempts together; absent: EXAI_CLIENT_TIMEOUT of the settings, or
    180."""
    behaviour: Behaviour | None = None
    """What every call of the phase does besides waiting."""

    @model_validator(mode="after")
    def _mix_or_sequence(self) -> "Phase":
        if (self.mix is None) == (self.sequence is None):
            raise ValueError("give either mix or sequence")
        return self

    @model_validator(mode="after")
    def _trace_within(self) -> "Phase":
        if self.arrivals.trace and max(self.arrivals.trace.times) > self.duration:
            raise ValueError("a time of the trace is after the end of the phase")
        return self
