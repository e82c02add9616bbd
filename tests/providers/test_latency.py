import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.latency import (
    Constant,
    Empirical,
    Gamma,
    Latency,
    Lognormal,
    Mixture,
    Part,
    Uniform,
    Weibull,
    from_mapping,
    parse_latency,
    to_mapping,
)

LARGEST_DRAW = math.nextafter(1.0, 0.0)

ONE_OF_EACH: list[Latency] = [
    Constant(45.0),
    Uniform(35.0, 55.0),
    Lognormal(45.0, 0.2),
    Gamma(45.0, 4.0),
    Weibull(45.0, 1.5),
    Empirical((30.0, 40.0, 50.0)),
    Mixture((Part(9.0, Uniform(1.0, 2.0)), Part(1.0, Constant(60.0)))),
]
MONOTONIC = ONE_OF_EACH[:-1]

draws = st.floats(0.0, 1.0, exclude_max=True)


def of_each(latencies: list[Latency]) -> pytest.MarkDecorator:
    """Run a test for each of these distributions."""
    return pytest.mark.parametrize("latency", latencies, ids=lambda latency: type(latency).__name__)


class TestEveryDistribution:
    @of_each(ONE_OF_EACH)
    @pytest.mark.parametrize("draw", [0.0, 5e-324, 0.5, LARGEST_DRAW])
    def test_every_draw_gives_a_time(self, latency: Latency, draw: float) -> None:
        """From the smallest draw to the largest, the result is finite and not negative."""
        assert 0.0 <= latency.at(draw) < math.inf

    @of_each(ONE_OF_EACH)
    @pytest.mark.parametrize("draw", [-0.1, 1.0, math.nan])
    def test_what_is_no_draw_is_refused(self, latency: Latency, draw: float) -> None:
        """A draw is in [0, 1)."""
        with pytest.raises(ValueError, match="draw"):
            latency.at(draw)

    @of_each(MONOTONIC)
    @settings(deadline=None)  # the first gamma draw imports scipy
    @given(first=draws, second=draws)
    def test_a_larger_draw_never_gives_a_shorter_time(self, latency: Latency, first: float, second: float) -> None:
        """`at` is an inverse distribution function, so it never falls."""
        low, high = sorted((first, second))
        assert latency.at(low) <= latency.at(high)

    @of_each(ONE_OF_EACH)
    def test_mapping_reads_back_to_an_equal_distribution(self, latency: Latency) -> None:
        """What is written to a file is what is read from it."""
        assert from_mapping(to_mapping(latency)) == latency


class TestValues:
    def test_uniform_is_linear(self) -> None:
        """A quarter of the draws lies in the first quarter of the range."""
        assert Uniform(35.0, 55.0).at(0.25) == 40.0

    def test_lognormal_median_and_p95(self) -> None:
        """Half of the times are below the median; P95 is exp(1.645 sigma) times it."""
        latency = Lognormal(45.0, 0.2)
        assert latency.at(0.5) == 45.0
        # 1.644854 is the normal P95 to seven digits, hence the tolerance.
        assert latency.at(0.95) == pytest.approx(45.0 * math.exp(0.2 * 1.644854), rel=1e-6)

    def test_gamma_with_shape_one_is_exponential(self) -> None:
        """Its median is then the mean times ln 2."""
        assert Gamma(10.0, 1.0).at(0.5) == pytest.approx(10.0 * math.log(2.0))

    def test_weibull_scale_is_the_63rd_percentile(self) -> None:
        """At 1 - 1/e the time is the scale, whatever the shape."""
        assert Weibull(45.0, 3.0).at(1.0 - math.exp(-1.0)) == pytest.approx(45.0)

    def test_empirical_values_are_equally_likely(self) -> None:
        """The n sorted values own a nth of the draws each, from its start on."""
        latency = Empirical((30.0, 10.0, 20.0, 40.0))
        assert [latency.at(draw) for draw in (0.0, 0.24, 0.25, 0.5, 0.75, LARGEST_DRAW)] == [
            10.0,
            10.0,
            20.0,
            30.0,
            40.0,
            40.0,
        ]

    def test_mixture_gives_each_part_its_share_of_the_draws(self) -> None:
        """With weights 3 and 1, the draw 0.75 is the first of the second part, at its beginning."""
        latency = Mixture((Part(3.0, Uniform(0.0, 3.0)), Part(1.0, Uniform(10.0, 20.0))))
        assert latency.at(0.375) == 1.5
        assert latency.at(0.75) == 10.0
        assert latency.at(0.875) == 15.0


class TestParse:
    @pytest.mark.parametrize(
        ("text", "latency"),
        [
            ("constant:45", Constant(45.0)),
            ("uniform:35,55", Uniform(35.0, 55.0)),
            ("lognormal:45,0.2", Lognormal(45.0, 0.2)),
            ("gamma:45,4", Gamma(45.0, 4.0)),
            ("weibull:45,1.5", Weibull(45.0, 1.5)),
            ("empirical:3,1,2", Empirical((1.0, 2.0, 3.0))),
        ],
    )
    def test_numbers_come_in_the_order_of_the_attributes(self, text: str, latency: Latency) -> None:
        """NAME:NUMBERS is the whole syntax."""
        assert parse_latency(text) == latency

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("normal:1,2", "constant, uniform"),
            ("uniform", "'': must be a number"),
            ("uniform:35", "takes 2: low,high"),
            ("uniform:55,35", r"uniform\.high"),
            ("constant:soon", "'soon': must be a number"),
            ("constant:nan", r"constant\.value"),
            ("constant:-1", r"constant\.value"),
            ("constant:inf", r"constant\.value"),
            ("constant:45000000", "604800"),
            ("lognormal:45,-0.2", r"lognormal\.sigma"),
            ("gamma:45,0", r"gamma\.shape"),
            ("mixture:1", "file"),
        ],
    )
    def test_a_mistake_is_named(self, text: str, named: str) -> None:
        """The error says which parameter was wrong, and what would do."""
        with pytest.raises(ConfigError, match=named):
            parse_latency(text)


class TestMapping:
    @pytest.mark.parametrize(
        ("mapping", "named"),
        [
            ({}, "exactly one"),
            ({"constant": {"value": 1}, "uniform": {"low": 1, "high": 2}}, "exactly one"),
            ({"normal": {"mean": 1}}, "'normal'"),
            ({"lognormal": {"median": 45}}, r"lognormal\.sigma"),
            ({"lognormal": {"median": 45, "sigma": 0.2, "mu": 1}}, r"lognormal\.mu"),
            ({"lognormal": {"median": "45", "sigma": 0.2}}, r"lognormal\.median"),
            ({"constant": {"value": True}}, r"constant\.value"),
            ({"constant": 45}, "must be a mapping"),
            ({"empirical": {"values": []}}, "at least one"),
            ({"empirical": {"values": [1, -1]}}, r"values\[1\]"),
            ({"empirical": {"values": "12"}}, "must be a list"),
            ({"mixture": {"parts": []}}, "at least one"),
            ({"mixture": {"parts": [{"weight": 0, "latency": {"constant": {"value": 1}}}]}}, "weight"),
            ({"mixture": {"parts": [{"weight": 1, "latency": 45}]}}, "must be a mapping"),
            ({"mixture": {"parts": [{"weight": 1}]}}, "missing"),
        ],
    )
    def test_a_mistake_is_named(self, mapping: dict[str, object], named: str) -> None:
        """A missing, unknown or malformed key is named with its distribution."""
        with pytest.raises(ConfigError, match=named):
            from_mapping(mapping)


def test_import_needs_no_numbers_library_and_no_event_loop() -> None:
    """Simulator and command line share the module: it imports neither numpy, scipy nor asyncio."""
    code = (
        "import sys; import reference_daemon.providers.latency;print({'numpy', 'scipy', 'asyncio'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
