"""Defects of what refusals and errors say."""

from collections.abc import Callable
from typing import Any, Final, cast

from msgspec.structs import replace

from chaos.defects.defect import Change, Defect
from reference_daemon import calls, wire
from reference_daemon.failures import failure_of
from reference_daemon.live import LiveCall
from reference_daemon.policy.advice import Advisor

FIXED_S: Final = 1.0
"""Seconds that every refused caller is told to wait."""


def exception_text() -> tuple[Change, ...]:
    """A client is shown the text of the exception, and of the one that caused it."""
    worded = cast("Callable[[BaseException, LiveCall], tuple[str, wire.Error]]", failure_of)

    def telling(raised: BaseException, call: LiveCall) -> tuple[str, wire.Error]:
        outcome, why = worded(raised, call)
        cause = raised.__cause__ or raised.__context__
        return outcome, replace(why, message=f"{why.message}: {raised!r}; {_told(cause)}")

    return (Change(calls, "failure_of", telling),)


def _told(cause: BaseException | None) -> str:
    """Return all that an exception knows: its text and, of a provider's, its body."""
    return "" if cause is None else f"{cause!r} {getattr(cause, 'body', '')}"


def fixed_retry_after() -> tuple[Change, ...]:
    """Whoever is refused is told to come back in a second, however full it is."""

    def refused(self: Advisor, *_: Any, **__: Any) -> float:
        return self.clamp(FIXED_S)

    return (Change(Advisor, "refused", refused),)


DEFECTS: Final = (
    Defect(
        name="exception-text-leaks",
        title="the text of an exception reaches the client",
        rule="INV-35",
        stage="protocol",
        where="daemon",
        changes=exception_text,
    ),
    Defect(
        name="fixed-retry-after",
        title="every refused caller is told to wait one second",
        rule="expectation:success_rate",
        also=("expectation:retried_success_rate",),
        stage="backpressure",
        where="daemon",
        changes=fixed_retry_after,
    ),
)
