"""What may be tuned: the settings that matter to a scenario, each with the values that are worth trying.

A point of the space is one value for each of them. It is written as people write settings, by EXAI_* names, so what is
tried in the model is read by the same rules as what the daemon is started with.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from reference_daemon.policy.config import AdviceMode
from reference_daemon.policy.errors import HarnessError
from reference_daemon.policy.named import policy_config
from scenarios.model import Scenario
from simulator.model.routing import kind_of, provider_of
from simulator.model.settings import CLIENT_TIMEOUT, LONG_RUN, TOOL_CAPS, ModelSettings, model_settings
from simulator.model.settings import _client_timeout_s as client_timeout_s

Values = Mapping[str, str]
"""Settings by their names, as text."""

Point = tuple[str, ...]
"""One value for each parameter of a space, in their order."""

NO_CAP: Final = "none"
"""The value of a tool's cap that is not there."""

MOST_CAP: Final = 16
"""Largest cap that is tried where no limit says otherwise: the upper end of the strategy's target of 12 to 16."""

UNSEEN_CONCURRENCY: Final = 1_000
"""What a calibrated scenario has where a recording shows no limit of the provider: nobody's knowledge."""

_CAPS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128)
_MULTIPLIERS: Final = ("0.5", "1", "1.5", "2", "2.5", "3", "4")
_ADVICE: Final = ("fixed:1", "fixed:5", "fixed:15", "fixed:30", "fixed:60", "residual", "appointment")
_QUANTILES: Final = ("0.5", "0.75", "0.9", "0.95", "0.99")
_EXPECTED_S: Final = ("15", "30", "45", "60", "90")
_PATIENCE_S: Final = ("150", "180", "240")
_LONG_RUN: Final = "240"


class UnknownConcurrencyError(HarnessError):
    """Nobody knows how much a provider takes at once, so the model's never slows down and never refuses."""

    exit_code = 3

    def __init__(self, providers: Sequence[str]) -> None:
        """Keep whose it is."""
        super().__init__(providers)
        self.providers = providers

    def __str__(self) -> str:
        """Say what to do."""
        limits = " ".join(f"--limit provider:{provider}=N" for provider in self.providers)
        return (
            f"no advice: the scenario gives {', '.join(self.providers)} a concurrency of {UNSEEN_CONCURRENCY} or more, "
            f"which stands for an unknown one, and the model would praise any cap; say what is allowed: {limits} (or "
            "--limit provider-concurrency=N), or write it into the scenario"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value that is searched.

    Attributes:
        name: As it is shown: the setting, with the tool behind it where it is a part of one.
        setting: Name of the setting that it stands in.
        tool: The tool whose cap it is; None for a setting of its own.
        options: What is tried, in a sensible order.
        ordered: Whether neighbours among the options are alike.
        meaning: What it does, in a few words.
    """

    name: str
    setting: str
    tool: str | None = None
    options: tuple[str, ...]
    ordered: bool = True
    meaning: str


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters, and the settings that stay as they are.

    Attributes:
        parameters: What is searched.
        base: What is not, by name, where it differs from the shipped settings.
    """

    parameters: tuple[Parameter, ...]
    base: Values

    def values(self, point: Point) -> dict[str, str]:
        """Return all settings of a point, as they would stand in a file that `exai checklist` passes."""
        values = dict(self.base)
        tools = dict(policy_config(values).caps.tools)
        for parameter, value in zip(self.parameters, point, strict=True):
            if parameter.tool is None:
                values[parameter.setting] = value
            elif value == NO_CAP:
                tools.pop(parameter.tool, None)
            else:
                tools[parameter.tool] = int(value)
        if any(parameter.tool for parameter in self.parameters):
            values[TOOL_CAPS] = ",".join(f"{tool}={cap}" for tool, cap in sorted(tools.items()))
        if values.get(CLIENT_TIMEOUT) == _LONG_RUN:
            values[LONG_RUN] = "true"
        caps = policy_config(values).caps
        # The global cap stops these calls anyway; a larger cap of the provider would only promise what it cannot keep.
        lowered = {provider: caps.total for provider, cap in caps.providers.items() if cap > caps.total}
        return values | {f"EXAI_WS_{provider}_MAX_INFLIGHT": str(cap) for provider, cap in lowered.items()}

    def settings(self, point: Point, scenario: Scenario) -> ModelSettings:
        """Return what a model run of the scenario is set to at a point."""
        return model_settings(scenario.model_copy(update={"settings": self.values(point)}))

    def changed(self, old: Point, new: Point) -> tuple[Parameter, ...]:
        """Return the parameters in which two points differ."""
        triples = zip(self.parameters, old, new, strict=True)
        return tuple(parameter for parameter, before, after in triples if before != after)

    def value_at(self, point: Point, parameter: Parameter) -> str:
        """Return a point's value of a parameter."""
        return point[self.parameters.index(parameter)]

    def moved(self, point: Point, parameter: Parameter, value: str) -> Point:
        """Return the point with another value of one parameter."""
        index = self.parameters.index(parameter)
        return (*point[:index], value, *point[index + 1 :])

    def plain(self, point: Point, start: Point) -> Point:
        """Return the point as its settings say it: no provider's cap above the global one, unless the start's is."""
        plain = self.point_of(self.values(point))
        triples = zip(point, plain, start, strict=True)
        return tuple(old if old == begun else new for old, new, begun in triples)

    def point_of(self, values: Values) -> Point:
        """Return the point that settings stand at."""
        return tuple(_text_of(parameter, values) for parameter in self.parameters)


def space_for(
    scenario: Scenario, starts: Iterable[Values], base: Values, *, most: Mapping[str, int], patience: bool = False
) -> Space:
    """Return what is worth searching for a scenario.

    A setting that cannot matter to it is left out: the cap of a tool that it never calls, or the keys' TTL where no two
    calls have a key in common.

    Args:
        scenario: Whose load is to be served.
        starts: Settings that the search begins with; their values are among the options, too.
        base: The settings that are kept where they are not searched.
        most: Largest cap by its scope (`global`, `session`, `tool:NAME`, `provider:NAME`); a provider's own concurrency
            is its largest where nothing is said.
        patience: Whether the clients' timeout may change, too.

    Raises:
        ConfigError: A value of `starts` or `base` breaks a rule.
        UnknownConcurrencyError: A provider has a concurrency that nobody knows, and no limit.
    """
    check_concurrency(scenario, most)
    parameters = [*_cap_parameters(scenario, most), *_advice_parameters(), *_ttl_parameters(scenario)]
    if patience:
        meaning = "how long the MCP clients wait; set them to it, too"
        parameters.append(Parameter(name=CLIENT_TIMEOUT, setting=CLIENT_TIMEOUT, options=_PATIENCE_S, meaning=meaning))
    begun = list(starts)
    widened = tuple(_with_starts(parameter, begun) for parameter in parameters)
    searched = {parameter.setting for parameter in widened if parameter.tool is None}
    return Space(widened, {name: value for name, value in base.items() if name not in searched})


def check_concurrency(scenario: Scenario, most: Mapping[str, int]) -> None:
    """Refuse a provider of the load with a concurrency that nobody knows, where no limit says what is allowed.

    Raises:
        UnknownConcurrencyError: There is one.
    """
    _, providers = asked(scenario)
    unknown = [name for name in providers if scenario.providers[name].concurrency >= UNSEEN_CONCURRENCY]
    unlimited = [provider for provider in unknown if f"provider:{provider}" not in most]
    if unlimited:
        raise UnknownConcurrencyError(unlimited)


def _cap_parameters(scenario: Scenario, most: Mapping[str, int]) -> Iterable[Parameter]:
    tools, providers = asked(scenario)
    yield _cap("EXAI_WS_GLOBAL_MAX_INFLIGHT", None, most.get("global", MOST_CAP), "calls in the daemon")
    yield _cap("EXAI_WS_SESSION_MAX_INFLIGHT", None, most.get("session", MOST_CAP), "calls of a session")
    for tool in tools:
        yield _cap(TOOL_CAPS, tool, most.get(f"tool:{tool}", MOST_CAP), f"calls of {tool}")
    for provider in providers:
        own = scenario.providers[provider].concurrency
        name = f"EXAI_WS_{provider}_MAX_INFLIGHT"
        yield _cap(name, None, most.get(f"provider:{provider}", own), f"calls that ask {provider}")


def _cap(setting: str, tool: str | None, most: int, what: str) -> Parameter:
    options = tuple(str(cap) for cap in sorted({*(cap for cap in _CAPS if cap <= most), min(most, _CAPS[-1])}))
    if tool is not None:
        return Parameter(
            name=f"{setting}[{tool}]", setting=setting, tool=tool, options=(*options, NO_CAP), meaning=f"{what} at once"
        )
    return Parameter(name=setting, setting=setting, options=options, meaning=f"{what} at once")


def _advice_parameters() -> Iterable[Parameter]:
    yield Parameter(
        name="EXAI_WS_RETRY_AFTER",
        setting="EXAI_WS_RETRY_AFTER",
        options=_ADVICE,
        ordered=False,
        meaning="when a refused call is told to come back",
    )
    name = "EXAI_WS_RETRY_AFTER_QUANTILE"
    yield Parameter(name=name, setting=name, options=_QUANTILES, meaning="how long running calls are taken to last")
    name = "EXAI_WS_EXPECTED_CALL_SECS"
    yield Parameter(name=name, setting=name, options=_EXPECTED_S, meaning="the same before enough were seen")


def _ttl_parameters(scenario: Scenario) -> Iterable[Parameter]:
    shared = any(phase.keys != "unique" or phase.behaviour is not None for phase in scenario.load)
    if shared:
        name = "EXAI_WS_TTL_MULTIPLIER"
        yield Parameter(name=name, setting=name, options=_MULTIPLIERS, meaning="how long a call keeps its key fresh")


def asked(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Return the tools of the load that ask a provider, and the providers that they ask."""
    pairs = {
        (tool, provider_of(tool, kind_of(tool, expert=phase.expert), phase.model))
        for phase in scenario.load
        for tool in (*(phase.sequence or ()), *(phase.mix or {}))
    }
    tools = sorted({tool for tool, provider in pairs if provider is not None})
    return tools, sorted({provider for _, provider in pairs if provider in scenario.providers})


def _with_starts(parameter: Parameter, starts: list[Values]) -> Parameter:
    """Return a parameter with the starts' values among its options."""
    new = {_text_of(parameter, values) for values in starts} - set(parameter.options)
    if not new:
        return parameter
    options = [*parameter.options, *sorted(new)]
    if parameter.ordered:
        options.sort(key=lambda text: float("inf") if text == NO_CAP else float(text))
    return Parameter(
        name=parameter.name,
        setting=parameter.setting,
        tool=parameter.tool,
        options=tuple(options),
        ordered=parameter.ordered,
        meaning=parameter.meaning,
    )


def _text_of(parameter: Parameter, values: Values) -> str:
    """Return what settings give a parameter, with the shipped value where they say nothing."""
    config = policy_config(values)
    if parameter.tool is not None:
        cap = config.caps.tools.get(parameter.tool)
        return NO_CAP if cap is None else str(cap)
    advice = config.advice
    found: dict[str, float | str] = {
        "EXAI_WS_GLOBAL_MAX_INFLIGHT": config.caps.total,
        "EXAI_WS_SESSION_MAX_INFLIGHT": config.caps.session,
        "EXAI_WS_RETRY_AFTER": f"fixed:{_number(advice.fixed_s)}"
        if advice.mode is AdviceMode.FIXED
        else advice.mode.value,
        "EXAI_WS_RETRY_AFTER_QUANTILE": advice.quantile,
        "EXAI_WS_EXPECTED_CALL_SECS": advice.expected_call_s,
        "EXAI_WS_TTL_MULTIPLIER": config.ttls.multiplier,
        CLIENT_TIMEOUT: client_timeout_s(values),
    }
    found |= {f"EXAI_WS_{provider}_MAX_INFLIGHT": cap for provider, cap in config.caps.providers.items()}
    # A provider without a cap of its own is taken to have the largest that is tried.
    value = found.get(parameter.setting, parameter.options[-1])
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """Write a number as settings are read: without an exponent, and whole where it is."""
    return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"


@dataclass(frozen=True, slots=True)
class SeedSets:
    """Seeds for the three steps, none of them in two: what is found on some is chosen and shown on others.

    Attributes:
        search: Of the trials.
        choice: For choosing among the best trials, and for taking changes back.
        proof: For the figures that are told.
    """

    search: tuple[int, ...]
    choice: tuple[int, ...]
    proof: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, replications: int) -> "SeedSets":
        """Return the sets: as many replications for a trial, twice as many for the choice, four times for the proof."""
        drawn = tuple(random.Random(f"{seed}/tune").sample(range(2**31), 7 * replications))
        return cls(drawn[:replications], drawn[replications : 3 * replications], drawn[3 * replications :])
