"""Limits of a tuning."""

import math

import pytest

from reference_daemon.policy.config import PolicyConfig
from scenarios.load import find_scenario, load_scenario
from scenarios.model import Scenario
from simulator.replication.replications import Interval
from simulator.tune.limits import Bound, LimitError, read_limits


@pytest.fixture
def scenario() -> Scenario:
    """Return a scenario with GLM and KIMI."""
    return load_scenario(find_scenario("parallel"))


def test_caps_and_bounds_are_told_apart(scenario: Scenario) -> None:
    """A scope limits a cap, a figure is bounded on the side on which it gets worse."""
    limits = read_limits(["global=12", "provider:GLM=4", "p95_s=120", "success_rate=0.9"], scenario)
    assert limits.caps == {"global": 12, "provider:GLM": 4}
    assert limits.bounds == (Bound("p95_s", 120.0, at_least=False), Bound("success_rate", 0.9, at_least=True))


def test_one_limit_for_every_provider(scenario: Scenario) -> None:
    """`provider-concurrency` stands for each provider of the scenario."""
    assert read_limits(["provider-concurrency=5"], scenario).caps == {"provider:GLM": 5, "provider:KIMI": 5}


@pytest.mark.parametrize(
    "text",
    [
        "p95_s",
        "p95_s=fast",
        "p95_s=50%",
        "p95_s=-1",
        "p95_s=inf",
        "global=0",
        "global=1.5",
        "globalfoo=5",
        "sessions=5",
        "calls=3",
        "nonsense=3",
        "tool:analyse=3",
        "provider:GML=4",
        "success_rate=95",
        "success_rate=101%",
    ],
)
def test_what_is_no_limit_is_refused(text: str, scenario: Scenario) -> None:
    """The message names what was given."""
    with pytest.raises(LimitError, match=text) as raised:
        read_limits([text], scenario)
    assert raised.value.exit_code == 2


def test_a_share_may_stand_in_per_cent(scenario: Scenario) -> None:
    """`95%` and `0.95` are the same bound."""
    assert read_limits(["success_rate=95%"], scenario) == read_limits(["success_rate=0.95"], scenario)


def test_a_slip_is_told_with_what_was_meant(scenario: Scenario) -> None:
    """A tool that the load never calls costs no search: the message names the nearest."""
    with pytest.raises(LimitError, match='did you mean "tool:analyze"'):
        read_limits(["tool:analyse=3"], scenario)


@pytest.mark.parametrize(("mean", "kept"), [(119.9, True), (120.0, True), (120.1, False), (math.nan, False)])
def test_a_bound_holds_at_its_value(mean: float, kept: bool, scenario: Scenario) -> None:
    """At the bound it is kept; a figure that nobody saw keeps none."""
    limits = read_limits(["p95_s=120"], scenario)
    assert limits.kept_by({"p95_s": Interval(mean, mean, mean, 3)}, PolicyConfig()) is kept


@pytest.mark.parametrize(
    ("text", "kept"), [("global=16", True), ("global=15", False), ("tool:kimi_chat_with_tools=8", False)]
)
def test_a_cap_above_its_limit_breaks_it(text: str, kept: bool, scenario: Scenario) -> None:
    """The shipped global cap is 16; a tool without a cap is above every limit."""
    assert read_limits([text], scenario).kept_by({}, PolicyConfig()) is kept
