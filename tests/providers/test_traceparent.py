import pytest

from reference_daemon.providers.traceparent import TraceParent, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_what_is_written_is_read() -> None:
    """A header made by one side is understood by the other."""
    assert str(TraceParent(TRACE, SPAN)) == f"00-{TRACE}-{SPAN}-01"
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == TraceParent(TRACE, SPAN)


def test_a_later_version_may_say_more() -> None:
    """Fields that a later version appends are ignored; version 00 has none."""
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-more") == TraceParent(TRACE, SPAN)
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01-more") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_malformed_is_none(text: str | None) -> None:
    """A missing or malformed header is no error: it is no trace."""
    assert parse_traceparent(text) is None
