"""The way to the providers: one request, one budget, one answer or one error that says what went wrong.

Nothing is retried here: the daemon's clients are told what happened, and decide. The `openai` library is
imported when a gateway is made, not with this module: it takes half a second, which `--help` should not.
"""

import ipaddress
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.errors import Failure, ProviderFailedError, ProviderLateError

__all__ = [
    "Completion",
    "CompletionRequest",
    "Failure",
    "Gateway",
    "ProviderFailedError",
    "ProviderLateError",
    "ProviderSettings",
]

_SPAN_ID_BYTES = 8


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
        return self.stub or is_loopback(urlsplit(self.base_url).hostname or "")


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


def new_span_id() -> str:
    """Return 16 random hex digits."""
    return secrets.token_hex(_SPAN_ID_BYTES)


class Gateway:
    """Asks providers. One per daemon; `aclose` it."""

    def __init__(
        self,
        providers: Sequence[ProviderSettings],
        clock: Clock,
        *,
        span_id: Callable[[], str] = new_span_id,
    ) -> None:
        """Make a client for each provider; nothing is connected yet.

        Args:
            providers: The providers, each name once.
            clock: Source of time.
            span_id: Gives each request its own 16 hex digits.
        """
        # Deferred: see the module's docstring.
        from reference_daemon.providers.openai_client import OpenAIClient  # noqa: PLC0415

        self._clients = {settings.name: OpenAIClient(settings, clock) for settings in providers}
        self._clock = clock
        self._span_id = span_id

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the providers that can be asked."""
        return tuple(self._clients)

    async def complete(self, request: CompletionRequest) -> Completion:
        """Ask, and return the answer. When the caller is cancelled, the provider's connection is closed.

        Raises:
            ProviderFailedError: The provider refused, failed, vanished or answered nonsense.
            ProviderLateError: The budget ended first.
            KeyError: There is no such provider.
        """
        client = self._clients[request.provider]
        try:
            async with self._clock.timeout_at(self._clock.now() + request.budget_s):
                return await client.complete(request, self._span_id())
        except TimeoutError:
            raise ProviderLateError(request.provider, request.budget_s) from None

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address means this machine, without asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
