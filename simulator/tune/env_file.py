"""`recommended.env`: the recommended settings as the daemon reads them, each with where it comes from and why."""

from collections.abc import Iterator
from typing import Final

from reference_daemon.policy.config import PolicyConfig
from reference_daemon.policy.named import policy_config
from scenarios.version import version
from simulator.model.settings import TOOL_CAPS
from simulator.replication.replications import Interval
from simulator.tune.rule import AIMS, CONFIDENCE, difference, mean
from simulator.tune.space import Parameter, Values
from simulator.tune.tune import Tuning

MARK: Final = "# Made by exai tune"
"""With which the file begins: only such a file is written over."""


def env_text(tuning: Tuning) -> str:
    """Return the file: what is recommended, or the settings of the start, so that whoever uses it changes nothing."""
    return "\n".join([*_head(tuning), *(_lines(tuning) if tuning.advised else _as_it_was(tuning)), ""])


def _head(tuning: Tuning) -> Iterator[str]:
    yield f"{MARK} {version()}"
    yield f"# {tuning.order.command}"
    if not tuning.found:
        yield "# No setting that was tried keeps the limits: nothing is recommended."
    elif not tuning.feasible:
        yield "# What was chosen does not keep the limits on fresh seeds: nothing is recommended."
    elif not tuning.advised:
        yield "# No setting that was tried is better than the ones it started with, outside the interval."
        yield "# Nothing is recommended: leave them as they are."
    else:
        seeds = len(tuning.seeds.proof)
        yield f"# What the model predicts, with intervals at {CONFIDENCE:.1%}, on {seeds} fresh seeds:"
        old, new = tuning.proof[tuning.start], tuning.proof[tuning.recommended]
        for aim in AIMS:
            yield f"#   {aim.label}: {told(mean(old, aim))} -> {told(mean(new, aim))}"
        yield "# Only what the policy reads stands here; all other settings stay as they are."


def _as_it_was(tuning: Tuning) -> Iterator[str]:
    """Return the settings of the start."""
    if tuning.order.start.values:
        yield "# The settings that it started with:"
    yield from (f"{name}={value}" for name, value in sorted(tuning.order.start.values.items()))


def _lines(tuning: Tuning) -> Iterator[str]:
    """Return every setting that is not the shipped one, or that is changed back to it."""
    start, values = tuning.order.start.values, tuning.space.values(tuning.recommended)
    changed = tuning.space.changed(tuning.start, tuning.recommended)
    shipped = PolicyConfig()
    for name in sorted(values):
        mine = [parameter for parameter in changed if parameter.setting == name]
        same_as_shipped = policy_config({name: values[name]}) == shipped and not name.startswith("EXAI_CLIENT")
        if not mine and same_as_shipped and start.get(name, values[name]) == values[name]:
            continue
        yield ""
        yield from (_why(tuning, parameter) for parameter in mine) if mine else (_kept(name, start, values),)
        yield f"{name}={values[name]}"


def _kept(name: str, start: Values, values: Values) -> str:
    if start.get(name) == values[name] or name == TOOL_CAPS:
        return "# As it was at the start."
    if name.endswith("_MAX_INFLIGHT"):
        return "# No more than the daemon as a whole takes."
    return "# Goes with the others."


def _why(tuning: Tuning, parameter: Parameter) -> str:
    """Return one comment: from what to what, and what happens without this change."""
    old, new = (tuning.space.value_at(point, parameter) for point in (tuning.start, tuning.recommended))
    what = f"{parameter.tool}: " if parameter.tool else ""
    without, with_it = tuning.taken_back[parameter.name], tuning.proof[tuning.recommended]
    effects = [f"{aim.label} {told(difference(without, with_it, aim), signed=True)}" for aim in AIMS]
    return f"# {what}from {old} to {new} ({parameter.meaning}). Taken back alone: {'; '.join(effects)}."


def told(found: Interval, *, signed: bool = False) -> str:
    """Write an interval for people: the mean, and its ends in brackets."""
    if not found.n:
        return "no value"
    ends = (found.mean, found.low, found.high) if found.known else (found.mean,)
    mean, *rest = (_three(value, signed=signed) for value in ends)
    return f"{mean} ({' to '.join(rest)})" if rest else mean


def _three(value: float, *, signed: bool) -> str:
    """Write three digits at least, and never an exponent for what is large."""
    return f"{value:{'+' if signed else ''}{'.0f' if abs(value) >= _LARGE else '.3g'}}"


_LARGE: Final = 1000
