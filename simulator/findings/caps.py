"""Finding 5: what each cap costs, and where more of it only moves the queue into the provider."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from reference_daemon.policy.config import Caps, PolicyConfig
from reports.study import Lines, Section, Study, Table
from scenarios.model import Scenario
from simulator.findings.experiment import Conditions, conditions_of, line, of, share, written
from simulator.replication.metrics import Figures
from simulator.replication.replications import Interval, interval_of_share, paired

CONCURRENCY: Final = 6
"""Executions that the provider allows at once."""

OFFERED: Final = 5.0
"""Calls that ask the provider at once, on average, if none is refused."""

_MEAN_S: Final = 45.0
_DURATION_S: Final = 4000.0
_WARM_UP_S: Final = 500.0
_USUAL: Final = 20

_TEXT: Final = (
    f"Calls arrive at random and ask for {OFFERED:g} at once; the provider allows {CONCURRENCY} and refuses what is "
    "over that, which fails the call: the daemon does not ask twice."
)

PROVIDER_CAPS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12)
TOOL_CAPS: Final = (1, 2, 3, 4, 5, 6)
GLOBAL_CAPS: Final = (1, 2, 3, 4, 5, 6, 8, 12, 16)


def study(conditions: Conditions) -> Study:
    """Run the experiment."""
    seeds = conditions.seeds(_USUAL)
    provider = _vary(conditions, seeds, PROVIDER_CAPS, lambda cap: _open(providers={"GLM": cap}))
    tool = _vary(
        conditions, seeds, TOOL_CAPS, lambda cap: _open(tools={"analyze": cap}, providers={"GLM": CONCURRENCY})
    )
    whole = _vary(conditions, seeds, GLOBAL_CAPS, lambda cap: _open(total=cap, providers={"GLM": CONCURRENCY}))
    at, beyond = (provider[PROVIDER_CAPS.index(cap)] for cap in (CONCURRENCY, PROVIDER_CAPS[-1]))
    failed = failed_share(beyond)
    gained = paired([each.goodput_per_s for each in beyond], [each.goodput_per_s for each in at])
    headline = (
        f"Up to the provider's own {CONCURRENCY} at once more cap brings more answers; beyond, "
        f"{share(failed)} of the calls fail at the provider, and the answers per hour change by "
        f"{written(_per_hour(gained), 0)}."
    )
    return Study(
        kind="finding",
        name="caps",
        headline=headline,
        sections=(
            Section(
                "Over each cap", _TEXT, charts=tuple(_charts({"provider": provider, "tool": tool, "global": whole}))
            ),
            _section("EXAI_WS_GLM_MAX_INFLIGHT", PROVIDER_CAPS, provider, "All other caps are open."),
            _section(
                "EXAI_WS_TOOL_MAX_INFLIGHT[analyze]",
                TOOL_CAPS,
                tool,
                f"The provider's cap is {CONCURRENCY}; half of the calls are analyze.",
            ),
            _section("EXAI_WS_GLOBAL_MAX_INFLIGHT", GLOBAL_CAPS, whole, f"The provider's cap is {CONCURRENCY}."),
        ),
        facts={"failed_at_provider_beyond": failed.as_dict(), "goodput_gained_beyond_per_s": gained.as_dict()},
        settings=conditions_of(seeds),
    )


def scenario() -> Scenario:
    """Return the load: experts and chats that all ask one provider, which refuses what is over its concurrency."""
    phase = {
        "phase": "steady",
        "duration": _DURATION_S,
        "clients": 20,
        "arrivals": {"poisson": {"rate": OFFERED / _MEAN_S}},
        "mix": {"analyze": 2, "codereview": 1, "chat": 1},
    }
    latency = {"uniform": {"low": 35, "high": 55}}
    return Scenario.model_validate(
        {
            "name": "caps",
            "title": "Caps",
            "providers": {"GLM": {"latency": latency, "concurrency": CONCURRENCY}},
            "load": [phase],
            "expect": [{"metric": "calls", "min": 1}],
        }
    )


def failures(figures: Figures) -> float | None:
    """Return the share of the calls that failed at the provider: neither answered, nor refused, nor late."""
    if not figures.calls or figures.success_rate is None or figures.over_capacity_rate is None:
        return None
    rest = 1.0 - figures.success_rate - figures.over_capacity_rate - figures.timeouts / figures.calls
    return max(rest, 0.0)


def failed_share(figures: Sequence[Figures]) -> Interval:
    """Return the interval of the share that failed at the provider."""
    return interval_of_share([failures(each) for each in figures], sum(each.calls for each in figures))


def _open(
    *, total: int = 64, tools: Mapping[str, int] | None = None, providers: Mapping[str, int] | None = None
) -> Caps:
    """Return caps that stop nothing but what is named."""
    return Caps(total=total, session=64, tools=tools or {}, providers=providers or {"GLM": 64})


def at_provider(cap: int) -> PolicyConfig:
    """Return the shipped settings with no cap that counts but the provider's."""
    return PolicyConfig(caps=_open(providers={"GLM": cap}))


def _vary(
    conditions: Conditions, seeds: Sequence[int], caps: Sequence[int], made: Callable[[int], Caps]
) -> list[list[Figures]]:
    conditions.say(f"caps from {caps[0]} to {caps[-1]}")
    load = scenario()
    return [conditions.figures(load, PolicyConfig(caps=made(cap)), seeds, warm_up_s=_WARM_UP_S) for cap in caps]


def _per_hour(found: Interval) -> Interval:
    return Interval(found.mean * 3600, found.low * 3600, found.high * 3600, found.n)


def _section(setting: str, caps: Sequence[int], figures: list[list[Figures]], text: str) -> Section:
    rows = tuple(
        (
            str(cap),
            written(_per_hour(of(each, "goodput_per_s")), 0),
            share(of(each, "success_rate")),
            share(of(each, "refusal_rate")),
            written(of(each, "p95_s"), 0),
            share(failed_share(each)),
        )
        for cap, each in zip(caps, figures, strict=True)
    )
    head = ("cap", "answers per hour", "success rate", "attempts refused (429)", "P95, s", "failed at the provider")
    return Section(setting, text, tables=(Table("", head, rows),))


def _charts(found: Mapping[str, list[list[Figures]]]) -> Iterator[Lines]:
    """Return a plot for each figure, with a line for each cap; and who says no, over the provider's cap."""
    caps = {"provider": PROVIDER_CAPS, "tool": TOOL_CAPS, "global": GLOBAL_CAPS}
    for name, title, unit in (
        ("goodput_per_s", "Answers", "answers per second"),
        ("refusal_rate", "Attempts refused with 429", "share of the attempts"),
        ("p95_s", "P95 with retries", "s"),
    ):
        series = tuple(
            line(f"{scope} cap", caps[scope], [of(each, name) for each in figures]) for scope, figures in found.items()
        )
        yield Lines(name.partition("_")[0], title, "cap", unit, series)
    failed = [failed_share(each) for each in found["provider"]]
    refused = [of(each, "over_capacity_rate") for each in found["provider"]]
    series = (line("daemon, after three attempts", PROVIDER_CAPS, refused), line("provider", PROVIDER_CAPS, failed))
    yield Lines(
        "who-says-no", "Calls that fail, by who said no", "EXAI_WS_GLM_MAX_INFLIGHT", "share of the calls", series
    )
