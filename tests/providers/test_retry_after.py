import pytest

from reference_daemon.providers.retry_after import parse_retry_after

# Wed, 21 Oct 2015 07:28:00 GMT
UNIX_NOW = 1_445_412_480.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:29:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:29:00", 60.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
    ],
)
def test_seconds_and_dates_are_read(text: str, seconds: float) -> None:
    """Both forms say how long to wait; a moment in the past means at once."""
    assert parse_retry_after(text, unix_now=UNIX_NOW) == seconds


@pytest.mark.parametrize("text", [None, "", "soon", "nan", "inf", "1e999", "Wed, 99 Oct 2015 07:29:00 GMT"])
def test_nonsense_says_nothing(text: str | None) -> None:
    """A header that cannot be read is as good as none."""
    assert parse_retry_after(text, unix_now=UNIX_NOW) is None
