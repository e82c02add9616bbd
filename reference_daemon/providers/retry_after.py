"""The `Retry-After` header: seconds, or an HTTP date.

Source: RFC 9110, section 10.2.3.
"""

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

# A provider that asks for more than an hour is as good as gone; the number must not grow further inwards.
MAX_RETRY_AFTER_S = 3600.0


def parse_retry_after(text: str | None, *, unix_now: float) -> float | None:
    """Return how long to wait from `unix_now`, in wall seconds; None if the header is missing or nonsense."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _until(text, unix_now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(text: str, unix_now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # HTTP dates are always in GMT, also where a sender leaves that out.
        unix_then = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, unix_then - unix_now)
