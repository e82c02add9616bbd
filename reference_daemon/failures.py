"""What a tool's exception means for its caller. Nothing of the exception's own text gets out: it may hold anything."""

from reference_daemon import intake, wire
from reference_daemon.live import LiveCall
from reference_daemon.providers.errors import ProviderFailedError, ProviderLateError
from reference_daemon.server.context import ArgumentError


def failure_of(raised: BaseException, call: LiveCall) -> tuple[str, wire.Error]:
    """Return the outcome and the error for what a tool raised."""
    if isinstance(raised, ProviderFailedError):
        return "provider_error", intake.error(
            "PROVIDER_ERROR",
            f"{raised.provider}: {raised.reason}",
            provider=raised.provider,
            provider_status=raised.provider_status,
            retry_after=raised.retry_after_s,
        )
    if isinstance(raised, ProviderLateError):
        context = call.context
        elapsed_s = context.clock.now() - context.started_at
        return "timeout", intake.error(
            "TIMEOUT",
            f"{raised.provider} did not answer within its {raised.budget_s:g} s",
            limit=round(raised.budget_s, 3),
            elapsed=round(elapsed_s, 3),
            phase=context.phase,
        )
    if isinstance(raised, ArgumentError):
        return "refused", intake.bad_field(raised.field, raised.reason)
    return "error", intake.error("EXEC_ERROR", f"the tool failed ({type(raised).__name__})")
