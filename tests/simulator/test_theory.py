"""What queueing theory says, against values that are known."""

import math

import pytest

from simulator.model.queueing import erlang_b, erlang_c, erlang_c_wait_s


@pytest.mark.parametrize(
    ("servers", "offered", "expected"),
    [
        (1, 1.0, 1 / 2),  # a / (1 + a)
        (2, 1.0, 1 / 5),  # a² / 2 / (1 + a + a² / 2)
        (10, 5.0, 0.018385),  # printed tables of Erlang B
        (100, 100.0, 0.075700),
    ],
)
def test_erlang_b_equals_the_tables(servers: int, offered: float, expected: float) -> None:
    """The recursion gives the published values."""
    assert erlang_b(servers, offered) == pytest.approx(expected, abs=5e-7)


def test_erlang_b_survives_large_systems() -> None:
    """Two thousand servers neither overflow nor leave [0, 1]."""
    assert 0.0 < erlang_b(2000, 2000.0) < 0.03


def test_erlang_c_of_one_server_is_its_load() -> None:
    """With one server an arrival waits if it is busy: P(wait) = ρ, and the mean wait is ρ / (1 - ρ) services."""
    assert erlang_c(1, 0.6) == pytest.approx(0.6)
    assert erlang_c_wait_s(1, 0.6, 10.0) == pytest.approx(15.0)


@pytest.mark.parametrize(("servers", "offered"), [(0, 1.0), (1, 0.0), (1, math.nan), (1, math.inf)])
def test_senseless_systems_are_refused(servers: int, offered: float) -> None:
    """No servers, no load and no number are no system."""
    with pytest.raises(ValueError, match="must be"):
        erlang_b(servers, offered)


def test_a_queue_that_grows_for_ever_is_refused() -> None:
    """At full load there is no mean wait."""
    with pytest.raises(ValueError, match="below servers"):
        erlang_c(2, 2.0)
