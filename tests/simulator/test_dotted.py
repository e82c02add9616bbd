"""Numbers of a scenario by a path with dots."""

import pytest

from reference_daemon.policy.errors import HarnessError
from scenarios.mistakes import ScenarioError
from simulator.sweep.paths import NoSuchPathError, changed, places_of
from tests.simulator.small import a_scenario


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "place"),
        [
            ("load.0.arrivals.poisson.rate", ("load", 0, "arrivals", "poisson", "rate")),
            ("load.0.rate", ("load", 0, "arrivals", "poisson", "rate")),
            ("load.steady.rate", ("load", 0, "arrivals", "poisson", "rate")),
            ("load.*.rate", ("load", 0, "arrivals", "poisson", "rate")),
            ("providers.GLM.concurrency", ("providers", "GLM", "concurrency")),
            ("providers.*.concurrency", ("providers", "GLM", "concurrency")),
            ("retry.max_attempts", ("retry", "max_attempts")),
            ("load.0.client_timeout", ("load", 0, "client_timeout")),
        ],
    )
    def test_leads_to_one_value(self, path: str, place: tuple[str | int, ...]) -> None:
        """A path leads there as it stands, or by the only thing below that has its last name."""
        assert places_of(a_scenario(), path) == [place]

    @pytest.mark.parametrize(
        ("path", "meant"),
        [
            ("load.0.rat", "rate"),
            ("load.stedy.rate", "steady"),
            ("providers.GML.concurrency", "GLM"),
            ("retry.max_atempts", "max_attempts"),
            ("lod.0.rate", "load"),
        ],
    )
    def test_misspelt_one_names_the_nearest(self, path: str, meant: str) -> None:
        """A path that leads to nothing says what was probably meant."""
        with pytest.raises(NoSuchPathError) as caught:
            places_of(a_scenario(), path)
        assert (caught.value.meant, caught.value.exit_code) == (meant, 2)

    def test_one_that_may_mean_two(self) -> None:
        """Where two values below have the name, both are named and none is taken."""
        uniform = {"latency": {"uniform": {"low": 35, "high": 55}}}
        scenario = a_scenario(providers={"GLM": uniform, "KIMI": uniform})
        with pytest.raises(NoSuchPathError, match=r"providers\.GLM\.latency\.uniform\.low or providers\.KIMI"):
            places_of(scenario, "providers.low")

    @pytest.mark.parametrize("path", ["seed", "settings.EXAI_WS_CALL_TIMEOUT", "load", "load.0", "load.7.rate"])
    def test_what_cannot_be_varied(self, path: str) -> None:
        """The seed has its own option, settings their own names, and a whole phase is no value."""
        with pytest.raises(NoSuchPathError):
            places_of(a_scenario(), path)


class TestChanged:
    def test_value_is_set_and_the_rest_stays(self) -> None:
        """Two paths at once; everything else is as it was, the original too."""
        scenario = a_scenario()
        made = changed(scenario, {"load.0.rate": "0.5", "retry.max_attempts": "1"})
        poisson = made.load[0].arrivals.poisson
        assert poisson is not None
        assert (poisson.rate, made.retry.max_attempts) == (0.5, 1)
        assert changed(made, {"load.0.rate": "0.1", "retry.max_attempts": "3"}) == scenario

    def test_value_that_was_absent(self) -> None:
        """What a scenario leaves to its default can be set."""
        assert changed(a_scenario(), {"load.0.client_timeout": "60"}).load[0].client_timeout == 60.0

    @pytest.mark.parametrize(
        ("path", "value", "reason"),
        [
            ("load.0.rate", "-1", "must be above 0"),
            ("load.0.rate", "fast", "must be a number"),
            ("providers.GLM.concurrency", "0", "must be at least 1"),
            ("retry.max_attempts", "1.5", "must be a whole number"),
        ],
    )
    def test_bad_value_is_refused_like_one_in_a_file(self, path: str, value: str, reason: str) -> None:
        """The scenario's own rules hold: key and reason are named."""
        with pytest.raises(ScenarioError, match=reason) as caught:
            changed(a_scenario(), {path: value})
        assert isinstance(caught.value, HarnessError)
        assert str(caught.value).startswith(f"{path}={value}: ")
