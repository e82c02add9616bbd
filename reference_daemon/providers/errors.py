"""How a provider request ends badly. Neither error carries the provider's own text: it may quote the prompt.

HarnessError
├── ProviderFailedError   the provider refused, failed, vanished or answered nonsense
└── ProviderLateError     the request's budget ended first
"""

import enum

from reference_daemon.policy.errors import HarnessError


class Failure(enum.StrEnum):
    """Why a provider request failed, as its error says it."""

    RATE_LIMITED = "it limits our rate"
    REFUSED = "it refused the request"
    BROKEN = "it failed"
    REDIRECTED = "it sent us elsewhere, which we do not follow"
    UNREACHABLE = "it cannot be reached"
    LOST = "the connection broke"
    NONSENSE = "its answer breaks the API"


class ProviderFailedError(HarnessError):
    """A provider did not do its work.

    Attributes:
        provider: Name of the provider.
        provider_status: HTTP status that it answered; None if it answered none.
        retry_after_s: How long it asks us to wait, in seconds; None if it does not say.
        reason: Why.
    """

    def __init__(
        self, provider: str, provider_status: int | None, retry_after_s: float | None, reason: Failure
    ) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(provider, provider_status, retry_after_s, reason)
        self.provider, self.provider_status = provider, provider_status
        self.retry_after_s, self.reason = retry_after_s, reason

    def __str__(self) -> str:
        """Name the provider, the reason and the status."""
        status = "" if self.provider_status is None else f" (HTTP {self.provider_status})"
        return f"provider {self.provider}: {self.reason}{status}"


class ProviderLateError(HarnessError):
    """A provider had not answered when the request's budget ended; the request was cut off.

    Attributes:
        provider: Name of the provider.
        budget_s: The budget, in seconds.
    """

    def __init__(self, provider: str, budget_s: float) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(provider, budget_s)
        self.provider, self.budget_s = provider, budget_s

    def __str__(self) -> str:
        """Name the provider and the budget."""
        return f"provider {self.provider}: no answer within {self.budget_s:g} s"
