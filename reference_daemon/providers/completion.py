"""What is asked of a provider, what it answers, and where it is."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reference_daemon.addresses import is_loopback_url
from reference_daemon.policy.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Where a provider is, and how to ask it.

    Attributes:
        name: Its name, for example "GLM".
        base_url: Where its OpenAI-compatible API begins.
        api_key: Its key; never shown. May be empty for a stub.
        default_model: The model that stands for "auto".
        stub: Whether a stub answers, and no model.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    default_model: str
    stub: bool = False

    def __post_init__(self) -> None:
        """Refuse a base URL that is none, and a key that no header can carry.

        Raises:
            ConfigError: One of them is wrong; a key is not shown.
        """
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"{self.name}_API_URL", self.base_url, "must be an http or https URL")
        if not (self.api_key or self.stub):
            raise ConfigError(f"{self.name}_API_KEY", "", "must be set")
        if not (self.api_key.isascii() and all(letter.isprintable() for letter in self.api_key)):
            raise ConfigError(f"{self.name}_API_KEY", "***", "must be printable ASCII")

    @property
    def local(self) -> bool:
        """Whether it is on this machine: then no proxy is used, and it may be told the call's draw."""
        return self.stub or is_loopback_url(self.base_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """One question to a provider.

    Attributes:
        provider: Name of the provider.
        model: Name of the model.
        system: What the model is to be.
        prompt: What it is asked.
        tool: Tool that asks.
        trace_id: 32 hex digits of the call.
        budget_s: Longest time until the whole answer is in, in seconds.
        draw: The call's own draw for a stub's latency, from [0, 1); None if it has none.
        thinking_mode: How much the model is to think: minimal, low, medium, high or max.
    """

    provider: str
    model: str
    system: str
    prompt: str
    tool: str
    trace_id: str
    budget_s: float
    draw: float | None = None
    thinking_mode: str = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A provider's answer.

    Attributes:
        text: What it says.
        model: The model that was asked.
        provider: Name of the provider.
        tokens_in: Tokens of the question, as the provider counts; None if it does not say.
        tokens_out: Tokens of the answer, likewise.
        stub: Whether a stub has answered.
    """

    text: str
    model: str
    provider: str
    tokens_in: int | None
    tokens_out: int | None
    stub: bool
