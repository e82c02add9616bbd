"""The way to the providers: one request, one budget, one answer or one error that says what went wrong.

Nothing is retried here: the daemon's clients are told what happened, and decide. The `openai` library is
imported when a gateway is made, not with this module: it takes half a second, which `--help` should not.
"""

import secrets
from collections.abc import Callable, Sequence

from reference_daemon.clock import Clock
from reference_daemon.providers.completion import Completion, CompletionRequest, ProviderSettings
from reference_daemon.providers.errors import ProviderLateError

_SPAN_ID_BYTES = 8


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
