"""The faults of a scenario: toxics on links, signals to the daemon, provider modes. Seconds are unscaled."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scenarios.model_load import Distribution, Moment, Name, Seconds, Share, Strict

Link = Annotated[str, Field(pattern=r"^(client-daemon|daemon-provider:[A-Z][A-Z0-9_]*)$")]
"""A proxied link: `client-daemon`, or `daemon-provider:NAME`."""

Stream = Literal["upstream", "downstream", "both"]
"""`upstream`: from the side that connects to the one that listens; `downstream`: back."""

NotNegative = Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)]


class LatencyToxic(Strict):
    """Every chunk is delayed by `latency` ± `jitter`."""

    latency: NotNegative
    """Seconds."""
    jitter: NotNegative = 0.0
    """Seconds; at most `latency`."""

    @model_validator(mode="after")
    def _jitter_within(self) -> "LatencyToxic":
        if self.jitter > self.latency:
            raise ValueError("jitter must be at most latency")
        return self


class BandwidthToxic(Strict):
    """Data passes at a limited rate."""

    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """KB per unscaled second."""


class SlowCloseToxic(Strict):
    """Closing takes longer."""

    delay: NotNegative
    """Seconds."""


class TimeoutToxic(Strict):
    """Data is dropped: a black hole. With `timeout` 0 until the fault is removed; else the link closes after it."""

    timeout: NotNegative = 0.0
    """Seconds without any data after which the link closes; 0: never."""


class ResetPeerToxic(Strict):
    """Connections are reset."""

    timeout: NotNegative = 0.0
    """Seconds until the reset."""


class SlicerToxic(Strict):
    """Data passes in small pieces."""

    average_size: Annotated[int, Field(ge=1)]
    """Bytes."""
    size_variation: Annotated[int, Field(ge=0)] = 0
    """Bytes; below `average_size`."""
    delay: NotNegative = 0.0
    """Seconds between two pieces."""

    @model_validator(mode="after")
    def _variation_within(self) -> "SlicerToxic":
        if self.size_variation >= self.average_size:
            raise ValueError("size_variation must be below average_size")
        return self


class LimitDataToxic(Strict):
    """The link closes after so many bytes, in the middle of a frame."""

    bytes: Annotated[int, Field(ge=0)]
    """Bytes per connection, counted from the start of the fault."""


class Toxic(Strict):
    """Exactly one toxic."""

    latency: LatencyToxic | None = None
    bandwidth: BandwidthToxic | None = None
    slow_close: SlowCloseToxic | None = None
    timeout: TimeoutToxic | None = None
    reset_peer: ResetPeerToxic | None = None
    slicer: SlicerToxic | None = None
    limit_data: LimitDataToxic | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Toxic":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}, or the word down")
        return self

    @property
    def kind(self) -> str:
        """Name of the toxic, as Toxiproxy calls it."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


ProviderMode = Annotated[str, Field(pattern=r"^(ok|status:[45]\d\d|hang|drip|malformed)$")]


class ProviderChange(Strict):
    """What a stub provider does while the fault lasts."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    """The provider."""
    mode: ProviderMode | None = None
    """`status:NNN` refuses at once; `hang` never answers; `drip` answers byte by byte; `malformed` breaks the API."""
    retry_after: NotNegative | None = None
    """Seconds that its 429 names."""
    latency: Distribution | None = None
    """Another latency distribution."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """Executions at once."""

    @model_validator(mode="after")
    def _something(self) -> "ProviderChange":
        if self.mode is None and self.latency is None and self.concurrency is None:
            raise ValueError("give mode, latency or concurrency")
        return self


class Fault(Strict):
    """One fault: a toxic on a link, a signal to the daemon, or a provider that changes."""

    name: Name | None = None
    """What reports call it; absent: made from what it is."""
    at: Moment
    """Seconds since the start of the load."""
    duration: Annotated[Seconds | None, Field(alias="for")] = None
    """Seconds until it is removed; absent: for SIGTERM and SIGKILL only."""
    link: Link | None = None
    toxic: Toxic | Literal["down"] | None = None
    """With `link`. `down`: the link drops its connections and refuses others."""
    stream: Stream = "both"
    """Direction of the toxic."""
    toxicity: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the connections that are hit; rolled per connection."""
    signal: Literal["SIGTERM", "SIGKILL", "SIGSTOP"] | None = None
    """To the daemon. SIGSTOP is followed by SIGCONT after `for` seconds."""
    restart: bool = True
    """With SIGTERM and SIGKILL: whether the daemon is started again, `for` seconds later (at once without)."""
    provider: ProviderChange | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Fault":
        kinds = [self.toxic is not None, self.signal is not None, self.provider is not None]
        if sum(kinds) != 1:
            raise ValueError("give exactly one of toxic, signal, provider")
        if (self.link is None) != (self.toxic is None):
            raise ValueError("link and toxic belong together")
        if self.duration is None and self.signal not in {"SIGTERM", "SIGKILL"}:
            raise ValueError("for is needed: a fault that nobody removes ends with the run")
        return self

    @property
    def title(self) -> str:
        """What reports call the fault."""
        if self.name is not None:
            return self.name
        if self.signal is not None:
            return self.signal.lower()
        if self.provider is not None:
            what = (self.provider.mode or "change").replace(":", "-")
            return f"{self.provider.name.lower()}-{what}"
        kind = self.toxic if isinstance(self.toxic, str) else self.toxic.kind if self.toxic else ""
        return f"{kind}-{(self.link or '').lower().replace(':', '-')}".replace("_", "-")


__all__ = [
    "BandwidthToxic",
    "Fault",
    "LatencyToxic",
    "LimitDataToxic",
    "Link",
    "ProviderChange",
    "ResetPeerToxic",
    "Share",
    "SlicerToxic",
    "SlowCloseToxic",
    "Stream",
    "TimeoutToxic",
    "Toxic",
]
