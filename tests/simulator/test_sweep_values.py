"""What a sweep varies, read from the command line, and the settings that come out."""

import pytest

from reference_daemon.policy.errors import ConfigError, HarnessError
from simulator.sweep.values import BadVaryError, Vary, points, read_vary
from tests.simulator.small import a_scenario


class TestRead:
    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("N=1,2,4", ("1", "2", "4")),
            ("N=4", ("4",)),
            ("N=2..5", ("2", "3", "4", "5")),
            ("N=0.1..0.3:0.1", ("0.1", "0.2", "0.3")),
            ("N=1..6:2", ("1", "3", "5")),
            ("N=10..30:10,100", ("10", "20", "30", "100")),
            ("N=a=1,b=2;a=3", ("a=1,b=2", "a=3")),
            ("N=fixed:1,residual", ("fixed:1", "residual")),
        ],
    )
    def test_lists_and_ranges(self, text: str, values: tuple[str, ...]) -> None:
        """A list, a range with both ends, both together, and values that hold commas."""
        assert read_vary(text) == Vary("N", values)

    @pytest.mark.parametrize(
        "text",
        ["N", "N=", "=1", "N=1,,2", "N=1,1", "N=5..1", "N=1..5:0", "N=1..5:-1", "N=a..b", "N=0..1:0.00001", "N=1..inf"],
    )
    def test_what_cannot_be_read(self, text: str) -> None:
        """The text is named, with what is wrong with it."""
        with pytest.raises(BadVaryError) as caught:
            read_vary(text)
        assert (caught.value.text, caught.value.exit_code) == (text, 2)

    def test_numbers_or_words(self) -> None:
        """Lines are drawn over numbers; words have none."""
        assert read_vary("N=1,2.5").numbers == (1.0, 2.5)
        assert read_vary("N=1,residual").numbers is None


class TestPoints:
    def test_grid_is_every_combination(self) -> None:
        """Two values of one and two of another are four settings, the last one varying fastest."""
        made = points(a_scenario(), [read_vary("EXAI_WS_GLOBAL_MAX_INFLIGHT=2,3"), read_vary("load.0.rate=0.1,0.2")])
        assert [tuple(point.values.values()) for point in made] == [
            ("2", "0.1"),
            ("2", "0.2"),
            ("3", "0.1"),
            ("3", "0.2"),
        ]
        assert [point.config.caps.total for point in made] == [2, 2, 3, 3]
        rates = [point.scenario.load[0].arrivals.poisson for point in made]
        assert [each.rate for each in rates if each is not None] == [0.1, 0.2, 0.1, 0.2]

    def test_one_at_a_time_starts_from_what_is(self) -> None:
        """The first row is what the sweep starts from, each other one differs from it in one thing."""
        varied = [read_vary("EXAI_WS_GLOBAL_MAX_INFLIGHT=2,3"), read_vary("EXAI_WS_SESSION_MAX_INFLIGHT=1")]
        made = points(a_scenario(), varied, one_at_a_time=True, given={"EXAI_WS_GLM_MAX_INFLIGHT": "9"})
        assert [(point.config.caps.total, point.config.caps.session) for point in made] == [
            (16, 8),
            (2, 8),
            (3, 8),
            (16, 1),
        ]
        assert {point.config.caps.providers["GLM"] for point in made} == {9}
        assert [point.shipped for point in made] == [True, False, False, False]

    @pytest.mark.parametrize(
        ("text", "same"),
        [
            ("EXAI_WS_GLOBAL_MAX_INFLIGHT=16;15", (True, False)),
            ("EXAI_CLIENT_TIMEOUT=180;181", (True, False)),
            ("EXAI_WS_DISABLE_COALESCE_FOR_TOOLS=testgen,analyze,codereview,kimi_chat_with_tools;chat", (True, False)),
            ("load.0.rate=0.1;0.10;0.2", (True, True, False)),
        ],
    )
    def test_a_value_that_is_there_already_runs_as_before(self, text: str, same: tuple[bool, ...]) -> None:
        """However it is written, and whichever part of the model reads it."""
        start, *others = points(a_scenario(), [read_vary(text)], one_at_a_time=True)
        assert tuple(each.runs_as(start) for each in others) == same

    def test_a_bad_value_refuses_all(self) -> None:
        """One cap of 0 among good ones: nothing is made."""
        with pytest.raises(ConfigError, match="EXAI_WS_GLOBAL_MAX_INFLIGHT = 0"):
            points(a_scenario(), [read_vary("EXAI_WS_GLOBAL_MAX_INFLIGHT=4,0,8")])

    @pytest.mark.parametrize(
        "text", ["EXAI_WS_GLOBAL_MAX_INFLIHGT=4", "load.0.rat=1", "nothing=1", "EXAI_WS_PROGRESS_INTERVAL_SECS=3"]
    )
    def test_a_name_that_there_is_not(self, text: str) -> None:
        """A setting or a path that leads to nothing is wrong usage."""
        with pytest.raises(HarnessError) as caught:
            points(a_scenario(), [read_vary(text)])
        assert caught.value.exit_code == 2

    def test_a_name_twice(self) -> None:
        """Two lists for one name have no meaning."""
        with pytest.raises(BadVaryError, match="twice"):
            points(a_scenario(), [read_vary("load.0.rate=1"), read_vary("load.0.rate=2")])
