"""When a client tries again."""

import pytest

from reference_daemon.policy.errors import ConfigError
from reference_daemon.policy.retry import GiveUp, Recovery, RetryAt, RetryConfig, RetryPolicy


@pytest.fixture
def retry() -> RetryPolicy:
    """The shipped client's: three attempts, 10 % jitter, backoffs of 1 s, 2 s, ... 30 s."""
    return RetryPolicy()


def after(
    retry: RetryPolicy,
    retry_after_s: float | None = 10.0,
    *,
    code: str = "OVER_CAPACITY",
    attempt: int = 1,
    deadline_at: float = 180.0,
    draw: float = 0.0,
) -> RetryAt | GiveUp:
    """Decide at second 0."""
    return retry.after_refusal(code, retry_after_s, attempt=attempt, now=0.0, deadline_at=deadline_at, draw=draw)


class TestWhatIsRetried:
    @pytest.mark.parametrize("code", ["OVER_CAPACITY", "DRAINING"])
    def test_refusals_that_say_later(self, retry: RetryPolicy, code: str) -> None:
        """Nothing ran, and something may have changed by then."""
        assert after(retry, code=code) == RetryAt(10.0)

    @pytest.mark.parametrize(
        "code", ["DUPLICATE", "KEY_REUSED", "TIMEOUT", "EXEC_ERROR", "INTERRUPTED", "PROVIDER_ERROR", "SUPERSEDED", ""]
    )
    def test_nothing_else(self, retry: RetryPolicy, code: str) -> None:
        """A call that is late may still run, and one that failed would fail again."""
        assert after(retry, code=code) is GiveUp.NOT_RETRIED

    @pytest.mark.parametrize(
        ("attempt", "again"), [(2, RetryAt(10.0)), (3, GiveUp.NO_ATTEMPTS), (4, GiveUp.NO_ATTEMPTS)]
    )
    def test_three_attempts_in_all(self, retry: RetryPolicy, attempt: int, again: RetryAt | GiveUp) -> None:
        """After the second there is one more, after the third none."""
        assert after(retry, attempt=attempt) == again


class TestHowLong:
    @pytest.mark.parametrize(("draw", "at"), [(0.0, 10.0), (0.5, 10.5), (0.999, 10.999)])
    def test_the_advice_and_up_to_a_tenth_more(self, retry: RetryPolicy, draw: float, at: float) -> None:
        """Never less than the daemon said."""
        again = after(retry, draw=draw)
        assert isinstance(again, RetryAt)
        assert again.at == pytest.approx(at, rel=1e-12)

    @pytest.mark.parametrize(("attempt", "at"), [(1, 1.0), (2, 2.0), (3, 4.0), (5, 16.0), (6, 30.0), (2_000, 30.0)])
    def test_the_backoff_where_that_is_longer(self, attempt: int, at: float) -> None:
        """It doubles up to 30 s, so that advice that is always too short does not burn all attempts."""
        retry = RetryPolicy(RetryConfig(max_attempts=10_000))
        assert after(retry, 0.5, attempt=attempt) == RetryAt(at)

    @pytest.mark.parametrize("advice_s", [None, 0.0, -5.0, float("nan"), float("inf"), 3600.1])
    def test_advice_that_makes_no_sense_is_no_advice(self, retry: RetryPolicy, advice_s: float | None) -> None:
        """The backoff applies."""
        assert after(retry, advice_s) == RetryAt(1.0)

    def test_an_hour_is_still_advice(self, retry: RetryPolicy) -> None:
        """The bound itself is taken at its word."""
        assert after(retry, 3600.0, deadline_at=1e6) == RetryAt(3600.0)

    @pytest.mark.parametrize(("deadline_at", "again"), [(11.0, RetryAt(10.0)), (10.9, GiveUp.NO_TIME)])
    def test_no_attempt_that_could_not_end_in_time(
        self, retry: RetryPolicy, deadline_at: float, again: RetryAt | GiveUp
    ) -> None:
        """No call is expected to be shorter than 1 s; one that could end exactly at the deadline is made."""
        assert after(retry, deadline_at=deadline_at) == again

    def test_the_jitter_counts_against_the_deadline(self, retry: RetryPolicy) -> None:
        """With the longest jitter the attempt would come too late."""
        assert after(retry, deadline_at=11.5, draw=0.0) == RetryAt(10.0)
        assert after(retry, deadline_at=11.5, draw=0.9) is GiveUp.NO_TIME


class TestReconnect:
    @pytest.mark.parametrize(
        ("attempt", "draw", "wait_s"), [(1, 0.0, 0.0), (1, 0.5, 0.5), (3, 0.5, 2.0), (99, 0.5, 15.0)]
    )
    def test_full_jitter(self, retry: RetryPolicy, attempt: int, draw: float, wait_s: float) -> None:
        """Any point below a ceiling that doubles up to 30 s: a hundred clients do not come at once."""
        assert retry.reconnect_s(attempt, draw=draw) == wait_s

    @pytest.mark.parametrize(
        ("status", "same_boot", "recovery"),
        [
            (200, True, Recovery.FOLLOW),
            (200, False, Recovery.FOLLOW),
            (404, True, Recovery.SEND_AGAIN),
            (404, False, Recovery.UNKNOWN),
            (410, True, Recovery.UNKNOWN),
            (410, False, Recovery.UNKNOWN),
        ],
    )
    def test_what_became_of_a_call_whose_connection_was_lost(
        self, retry: RetryPolicy, status: int, recovery: Recovery, *, same_boot: bool
    ) -> None:
        """Only a daemon that was there all the time and never saw the key proves that nothing ran."""
        assert retry.recover(status, same_boot=same_boot) is recovery


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
        ({"first_s": 0.0}, "first_s, max_s"),
        ({"first_s": 31.0}, "first_s, max_s"),
        ({"max_s": float("inf")}, "first_s, max_s"),
    ],
)
def test_numbers_that_retry_never_or_for_ever_are_refused(config: dict[str, float], setting: str) -> None:
    """One attempt, no jitter and equal backoffs are allowed."""
    RetryConfig(max_attempts=1, jitter=0.0, first_s=30.0, max_s=30.0)
    with pytest.raises(ConfigError) as caught:
        RetryConfig(**config)  # type: ignore[arg-type]
    assert caught.value.setting == setting
