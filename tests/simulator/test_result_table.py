"""Figures as people read them."""

import io
import math

import pytest
from rich.console import Console

from simulator.replication.metrics import FIGURES
from simulator.replication.replications import Interval
from simulator.result_table import ends, figure_table, number, with_interval
from simulator.screen import Screen, span

SURE = Interval(0.5, 0.4, 0.6, 4)
SINGLE = Interval(0.5, -math.inf, math.inf, 1)
NONE = Interval(math.nan, -math.inf, math.inf, 0)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("success_rate", 0.98765, "98.77 %"),
        ("p95_s", 61.25, "61.2 s"),
        ("goodput_per_s", 0.08123, "0.0812 /s"),
        ("calls", 12345.0, "12345"),
        ("attempts_per_call", 1.0512, "1.05"),
        ("p95_s", math.nan, "–"),
    ],
)
def test_a_value_has_its_unit(name: str, value: float, text: str) -> None:
    """Shares are per cent, seconds have one digit, and what is unknown is a dash."""
    assert number(value, FIGURES[name]) == text


@pytest.mark.parametrize(
    ("value", "text", "both"),
    [(SURE, "50.00 ± 10.00 %", "40.00 to 60.00 %"), (SINGLE, "50.00 %", "?"), (NONE, "–", "–")],
    ids=["replications", "one", "none"],
)
def test_an_interval_is_written_only_if_it_is_known(value: Interval, text: str, both: str) -> None:
    """One replication gives a value without a width; none gives nothing."""
    assert with_interval(value, FIGURES["success_rate"]) == text
    assert ends(value, FIGURES["success_rate"]) == both


@pytest.mark.parametrize(
    ("name", "value", "text", "both"),
    [
        ("success_rate", Interval(0.9925, 0.9686, 1.0164, 5), "99.25 +0.75 −2.39 %", "96.86 to 100.00 %"),
        ("success_rate", Interval(1.0, 0.99, 1.0, 5), "100.00 −1.00 %", "99.00 to 100.00 %"),
        ("refusal_rate", Interval(0.0, 0.0, 0.004, 5), "0.00 +0.40 %", "0.00 to 0.40 %"),
        ("p50_s", Interval(0.75, -1.6, 3.1, 5), "0.8 +2.4 −0.8 s", "0.0 to 3.1 s"),
    ],
)
def test_nothing_impossible_is_written(name: str, value: Interval, text: str, both: str) -> None:
    """No success above 100 % and no negative seconds: at a bound the two sides differ."""
    assert with_interval(value, FIGURES[name]) == text
    assert ends(value, FIGURES[name]) == both


def test_the_table_says_what_each_figure_means() -> None:
    """Name, mean, interval and meaning stand in one row."""
    console = Console(file=io.StringIO(), width=160)
    console.print(figure_table({"success_rate": SURE}))
    assert isinstance(console.file, io.StringIO)
    row = console.file.getvalue().splitlines()[1]
    assert row.split("  ")[0] == "success_rate"
    assert "40.00 to 60.00 %" in row
    assert FIGURES["success_rate"].meaning in row


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (100.0, "2 min"), (3600.0, "60 min"), (9000.0, "2.5 h")])
def test_a_time_for_people(seconds: float, text: str) -> None:
    """Seconds, minutes and hours, each while it is handy."""
    assert span(seconds) == text


def test_plain_lines_where_there_is_no_terminal() -> None:
    """What begins is a line; progress between is not, unless some seconds have passed."""
    console = Console(file=io.StringIO(), width=160)
    with Screen(console) as screen:
        screen.say("begun")
        screen.progress("1 of 9")
    assert isinstance(console.file, io.StringIO)
    (line,) = console.file.getvalue().splitlines()
    assert line.endswith("begun")
