"""The `traceparent` header of W3C Trace Context: how a call's trace id travels to the provider.

    00-<trace id: 32 hex digits>-<span id: 16 hex digits>-<flags: 2 hex digits>

The trace id is the call's; the span id is new for every request to a provider, so that a retry is told from
its first.

Source: W3C Trace Context, section 3.2.
"""

import re
from dataclasses import dataclass

_PATTERN = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)
_SAMPLED = "01"


@dataclass(frozen=True, slots=True)
class TraceParent:
    """One request of a trace.

    Attributes:
        trace_id: 32 hex digits, the same for everything that belongs to one call.
        span_id: 16 hex digits, this request's own.
    """

    trace_id: str
    span_id: str

    def __str__(self) -> str:
        """Write the header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED}"


def parse_traceparent(text: str | None) -> TraceParent | None:
    """Read a header's value; None if it is missing or malformed, for then a trace starts anew."""
    found = _PATTERN.fullmatch(text or "")
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None  # all zeros mean "invalid"
    return TraceParent(found["trace"], found["span"])
