"""A calibration as a scenario: providers and load as they were recorded, ready for `exai simulate` and `exai drill`."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import yaml

from reference_daemon.policy.events import CallKind
from reference_daemon.providers.latency import Latency, to_mapping
from scenarios.model import Scenario
from simulator.calibrate.calibration import Calibration, Group, Window
from simulator.calibrate.recordings import CalibrationError, Seen
from simulator.model.routing import provider_of

MOST_REPLAYED: Final = 50_000
"""Arrivals that fit into a scenario file as moments."""

_DIGITS: Final = 6
_MOST_CLIENTS: Final = 1_000
_UNSEEN_CONCURRENCY: Final = 1_000
"""Executions at once of a calibrated provider: a limit that a recording never shows must not refuse anybody."""

_MODELS: Final = {"GLM": "glm-4.6", "KIMI": "kimi-k2"}
_STEP: Final = "steps"
_LONGEST_LINE: Final = 6
"""Keys of a mapping that is written in one line at most."""


def scenario_of(calibration: Calibration, *, name: str, seed: int, replay: bool = False) -> dict[str, object]:
    """Return the scenario as plain values, checked by the scenarios' own rules.

    Args:
        calibration: What was learned.
        name: Name of the scenario.
        seed: Its seed.
        replay: Whether the very moments of the recorded arrivals are kept, in the place of rates.

    Raises:
        CalibrationError: There are more arrivals than a scenario file holds.
    """
    if replay and calibration.calls > MOST_REPLAYED:
        raise CalibrationError(
            "--replay", f"{calibration.calls} arrivals do not fit into a scenario, which holds {MOST_REPLAYED}"
        )
    windows = (_whole(calibration),) if replay else calibration.windows
    load = [phase for number, window in enumerate(windows) for phase in _phases(calibration, window, number, replay)]
    found: dict[str, object] = {
        "name": name,
        "title": f"Calibrated from {calibration.calls} recorded calls",
        "seed": seed,
        "time_scale": 0.05,
    }
    if calibration.settings:
        found["settings"] = dict(calibration.settings)
    found |= {
        "providers": {provider: _provider(calibration, provider) for provider in calibration.errors},
        "load": load,
        "expect": [{"metric": "calls", "min": 1}, {"invariants": "all"}],
    }
    Scenario.model_validate(found)
    return found


def to_text(scenario: dict[str, object], calibration: Calibration) -> str:
    """Write the scenario as a file, with what a reader must know of it on top."""
    settings = (
        "The settings are those of the recorded daemon."
        if calibration.settings
        else "The recording does not tell the daemon's caps and timeouts: the shipped ones hold unless settings say so."
    )
    head = (
        "# Made by exai calibrate; see the report beside it for how well the distributions fit.\n"
        f"# {settings}\n"
        f"# concurrency is {_UNSEEN_CONCURRENCY}: a recording does not show how many executions a provider takes.\n"
    )
    return head + yaml.dump(scenario, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes each distribution, each mix and each row of numbers in one line."""


def _mapping_node(dumper: yaml.SafeDumper, value: dict[str, object]) -> yaml.Node:
    nested = [item for item in value.values() if not _plain(item)]
    short = len(value) <= _LONGEST_LINE and all(
        isinstance(item, dict) and all(map(_plain, item.values())) for item in nested
    )
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=short)


def _sequence_node(dumper: yaml.SafeDumper, value: list[object]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=all(map(_plain, value)))


def _plain(value: object) -> bool:
    return not isinstance(value, dict | list)


_Dumper.add_representer(dict, _mapping_node)
_Dumper.add_representer(list, _sequence_node)


def _provider(calibration: Calibration, name: str) -> dict[str, object]:
    """Return a provider: the tool with most calls gives the latency of all that have none of their own."""
    groups = [group for group in calibration.groups if group.provider == name]
    common = next((group for group in groups if group.tool is None), None) or max(groups, key=_size)
    provider: dict[str, object] = {"latency": _mapping(common.choice.latency)}
    own = {group.tool: _mapping(group.choice.latency) for group in groups if group.tool and group is not common}
    if own:
        provider["tool_latency"] = own
    provider["concurrency"] = _UNSEEN_CONCURRENCY
    errors = calibration.errors[name]
    if errors.failed:
        provider["errors"] = {"rate": _rounded(errors.rate), "status": 500}
    return provider


def _size(group: Group) -> int:
    return group.times.n


def _mapping(latency: Latency) -> dict[str, object]:
    """Return a distribution with as many digits as mean something."""
    return {
        name: {
            key: [_rounded(number) for number in value] if isinstance(value, list) else _rounded(value)
            for key, value in parameters.items()
        }
        for name, parameters in to_mapping(latency).items()
    }


def _rounded(value: object) -> float:
    return float(f"{float(str(value)):.{_DIGITS}g}")


def _whole(calibration: Calibration) -> Window:
    windows = calibration.windows
    return Window(
        start_s=0.0,
        duration_s=sum(window.duration_s for window in windows),
        calls=tuple(call for window in windows for call in window.calls),
    )


def _phases(calibration: Calibration, window: Window, number: int, replay: bool) -> Iterator[dict[str, object]]:  # noqa: FBT001 - as `scenario_of` has it
    """Return a window's phases: one for each kind of call that a phase can have."""
    for (kind, model), calls in sorted(_kinds(window.calls).items(), key=lambda item: str(item[0])):
        parts = [f"window-{number + 1}", *([kind] if kind else []), *([model.replace(".", "-")] if model else [])]
        phase: dict[str, object] = {
            "phase": "-".join(parts).lower(),
            "start": round(window.start_s, 3),
            "duration": _up(window.duration_s),
            "clients": max(1, min(calibration.sessions, _MOST_CLIENTS)),
        }
        if replay:
            phase["arrivals"] = {"trace": {"times": [round(call.at_s - window.start_s, 3) for call in calls]}}
        else:
            phase["arrivals"] = {"poisson": {"rate": _rounded(len(calls) / window.duration_s)}}
        phase["mix"] = dict(sorted(Counter(call.tool for call in calls).items()))
        if kind == _STEP:
            phase["expert"] = False
        if model:
            phase["model"] = model
        yield phase


def _kinds(calls: Iterable[Seen]) -> dict[tuple[str, str], list[Seen]]:
    """Part the calls by whether they are intermediate steps, and by the model that they must name to be routed so."""
    parts: dict[tuple[str, str], list[Seen]] = {}
    for call in calls:
        kind = _STEP if call.kind is CallKind.STEP else ""
        default = provider_of(call.tool, call.kind, None)
        model = "" if call.provider in {None, default} else _MODELS.get(call.provider or "", "")
        parts.setdefault((kind, model), []).append(call)
    return parts


def _up(duration_s: float) -> float:
    """Round up, so that no moment of a trace lies behind the end."""
    return math.ceil(duration_s * 1000) / 1000
