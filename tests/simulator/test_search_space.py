"""What is searched, and how a point becomes settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reference_daemon.policy.ladder import Profile, judge
from scenarios.load import find_scenario, load_scenario
from scenarios.model import Scenario
from simulator.tune.space import NO_CAP, Parameter, SeedSets, Space, space_for

START = {"EXAI_WS_GLOBAL_MAX_INFLIGHT": "7", "EXAI_WS_RETRY_AFTER": "fixed:2"}


def a_scenario(**changes: Any) -> Scenario:
    """Return six `analyze` at once, and a chat that asks KIMI."""
    values: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "providers": {"GLM": {"latency": {"constant": {"value": 40}}, "concurrency": 5}},
        "load": [{"phase": "one", "duration": 10, "arrivals": {"burst": {"size": 6}}, "sequence": ["analyze"]}],
        "expect": [{"metric": "calls", "min": 1}],
    }
    return Scenario.model_validate(values | changes)


def a_provider(concurrency: int) -> dict[str, Any]:
    """Return a provider of one latency."""
    return {"latency": {"constant": {"value": 40}}, "concurrency": concurrency}


def a_space(scenario: Scenario | None = None, most: Mapping[str, int] | None = None) -> Space:
    """Return the space of the scenario, started from START."""
    return space_for(scenario or a_scenario(), [{}, START], START, most=most or {})


def named(space: Space, name: str) -> Parameter:
    """Return a parameter by its name."""
    return next(parameter for parameter in space.parameters if parameter.name == name)


class TestWhatIsSearched:
    def test_only_tools_and_providers_of_the_load(self) -> None:
        """The cap of a tool or provider that the scenario never asks cannot matter to it."""
        names = {parameter.name for parameter in a_space().parameters}
        assert {name for name in names if "MAX_INFLIGHT" in name} == {
            "EXAI_WS_GLOBAL_MAX_INFLIGHT",
            "EXAI_WS_SESSION_MAX_INFLIGHT",
            "EXAI_WS_TOOL_MAX_INFLIGHT[analyze]",
            "EXAI_WS_GLM_MAX_INFLIGHT",
        }

    def test_the_keys_time_only_where_keys_meet(self) -> None:
        """Calls with unique keys never wait for one another: their TTL decides nothing."""
        load = [
            {"phase": "one", "duration": 10, "keys": "shared", "arrivals": {"burst": {"size": 2}}, "mix": {"chat": 1}}
        ]
        assert "EXAI_WS_TTL_MULTIPLIER" not in {each.name for each in a_space().parameters}
        assert "EXAI_WS_TTL_MULTIPLIER" in {each.name for each in a_space(a_scenario(load=load)).parameters}

    def test_a_provider_is_never_asked_for_more_than_it_allows(self) -> None:
        """The largest cap of a provider is its concurrency, or what a limit says."""
        assert named(a_space(), "EXAI_WS_GLM_MAX_INFLIGHT").options[-1] == "5"
        assert named(a_space(most={"provider:GLM": 3}), "EXAI_WS_GLM_MAX_INFLIGHT").options[-1] == "4"  # the shipped 4

    def test_starts_are_among_the_options(self) -> None:
        """What the search begins with can be found again, in its place."""
        space = a_space()
        assert "7" in named(space, "EXAI_WS_GLOBAL_MAX_INFLIGHT").options
        assert "fixed:2" in named(space, "EXAI_WS_RETRY_AFTER").options
        options = [int(option) for option in named(space, "EXAI_WS_GLOBAL_MAX_INFLIGHT").options]
        assert options == sorted(options)

    def test_patience_is_searched_only_if_asked(self) -> None:
        """The clients' timeout is theirs to change."""
        asked = space_for(a_scenario(), [{}], {}, most={}, patience=True)
        assert "EXAI_CLIENT_TIMEOUT" not in {each.name for each in a_space().parameters}
        assert named(asked, "EXAI_CLIENT_TIMEOUT").options == ("150", "180", "240")


class TestPoints:
    def test_settings_come_back_as_the_same_point(self) -> None:
        """A point's settings stand at that point."""
        space = a_space()
        point = space.point_of(START)
        assert space.point_of(space.values(point)) == point

    @pytest.mark.parametrize(
        ("given", "text"), [("1000000", "1000000"), ("0.00001", "0.00001"), ("45", "45"), ("22.5", "22.5")]
    )
    def test_numbers_are_written_as_settings_are_read(self, given: str, text: str) -> None:
        """Whole ones as such, and none with an exponent, which no setting takes."""
        space = a_space()
        values = {"EXAI_WS_EXPECTED_CALL_SECS": given, "EXAI_WS_RETRY_AFTER": f"fixed:{given}"}
        named_values = dict(zip((each.name for each in space.parameters), space.point_of(values), strict=True))
        assert named_values["EXAI_WS_EXPECTED_CALL_SECS"] == text
        assert named_values["EXAI_WS_RETRY_AFTER"] == f"fixed:{text}"

    def test_a_large_cap_stays_a_whole_number(self) -> None:
        """A million calls at once is 1000000, not 1e+06."""
        assert a_space().point_of({"EXAI_WS_GLOBAL_MAX_INFLIGHT": "1000000"})[0] == "1000000"

    @pytest.mark.parametrize("yes", ["1", "true", "Yes", "on"])
    def test_a_long_run_is_patient(self, yes: str) -> None:
        """The start's patience is what the model's clients have, however the setting says yes."""
        values = {"EXAI_LONG_RUN": yes}
        space = space_for(a_scenario(), [values], values, most={}, patience=True)
        assert space.point_of(values)[-1] == "240"

    def test_a_plain_point_says_what_its_settings_say(self) -> None:
        """A provider's cap above the global one becomes the global one, unless the start has it so."""
        space = space_for(a_scenario(providers={"GLM": a_provider(64)}), [{}, START], START, most={})
        cap = named(space, "EXAI_WS_GLM_MAX_INFLIGHT")
        start = space.point_of(START)
        high = space.moved(start, cap, "24")
        assert space.value_at(space.plain(high, start), cap) == "7"
        assert space.values(space.plain(high, start)) == space.values(high)
        assert space.plain(high, high) == high

    def test_a_tool_without_a_cap_is_not_named(self) -> None:
        """The largest option of a tool's cap is none."""
        space = a_space()
        tool = named(space, "EXAI_WS_TOOL_MAX_INFLIGHT[analyze]")
        values = space.values(space.moved(space.point_of({}), tool, NO_CAP))
        assert values["EXAI_WS_TOOL_MAX_INFLIGHT"] == "codereview=3,testgen=4"

    def test_other_settings_stay(self) -> None:
        """What is not searched keeps the value of the start."""
        space = space_for(a_scenario(), [{}], {"WORKFLOW_STEP_TIMEOUT_SECS": "60"}, most={})
        assert space.values(space.point_of({}))["WORKFLOW_STEP_TIMEOUT_SECS"] == "60"

    @pytest.mark.parametrize("cap", ["1", "5", "16"])
    def test_every_point_passes_the_checklist(self, cap: str) -> None:
        """No provider's cap is above the global one, not even that of a provider that is not searched."""
        space = a_space()
        point = space.moved(space.point_of({}), named(space, "EXAI_WS_GLOBAL_MAX_INFLIGHT"), cap)
        caps = space.settings(point, a_scenario()).config.caps
        assert all(finding.passed for finding in judge(Profile(caps=caps)))

    def test_a_long_run_says_so(self) -> None:
        """240 s of patience are allowed to a long run only."""
        space = space_for(a_scenario(), [{}], {}, most={}, patience=True)
        values = space.values(space.moved(space.point_of({}), named(space, "EXAI_CLIENT_TIMEOUT"), "240"))
        assert values["EXAI_LONG_RUN"] == "true"
        assert space.settings(space.point_of(values), a_scenario()).client_timeout_s == 240.0

    @pytest.mark.parametrize("name", ["backpressure", "slow-provider", "retry-storm", "duplicate-storm"])
    def test_shipped_scenarios_have_a_space(self, name: str) -> None:
        """Each shipped scenario's own settings are a point of its space."""
        path: Path = find_scenario(name)
        scenario = load_scenario(path)
        own = {key: str(value) for key, value in scenario.settings.items()}
        space = space_for(scenario, [{}, own], own, most={})
        assert len(space.point_of(own)) == len(space.parameters)


class TestSeeds:
    def test_no_seed_serves_two_steps(self) -> None:
        """What is found on some seeds is chosen and shown on others."""
        seeds = SeedSets.of(3, 10)
        together = [*seeds.search, *seeds.choice, *seeds.proof]
        assert len(together) == len(set(together)) == 70

    def test_the_same_seed_gives_the_same_sets(self) -> None:
        """All chance comes from the one seed."""
        assert SeedSets.of(3, 10) == SeedSets.of(3, 10)
        assert SeedSets.of(3, 10) != SeedSets.of(4, 10)
