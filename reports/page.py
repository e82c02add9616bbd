"""What all pages share: the templates' environment, and how a number is written for people."""

import math
from typing import Final

import jinja2

from reports.comparison import change
from reports.stats import Estimate
from scenarios.verdict import ExpectationResult

NOTHING: Final = "–"
"""Written where nothing was seen, so that nothing is claimed."""

_PLAIN: Final = (-4, 5)
"""Powers of ten between which a number is written without an exponent."""


def environment() -> jinja2.Environment:
    """Return the templates' environment: whatever others wrote is escaped, and a misspelt name fails."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"seconds": seconds, "estimate": estimate, "value": value, "words": words, "change": change}
    return made


def seconds(duration_s: float | None) -> str:
    """Write a duration for a table."""
    if duration_s is None:
        return NOTHING
    return f"{duration_s:.3f}" if 0 < abs(duration_s) < 1 else f"{duration_s:.1f}"


def estimate(found: Estimate | None) -> str:
    """Write a quantile with its interval; an end that so few calls do not show is open."""
    if found is None:
        return NOTHING
    low, high = ("?" if end is None else seconds(end) for end in (found.low_s, found.high_s))
    return f"{seconds(found.value_s)} ({low} to {high})"


def value(result: ExpectationResult) -> str:
    """Write what was seen, with its interval if there is one."""
    if result.value is None:
        return NOTHING
    if result.low is None and result.high is None:
        return f"{result.value:.4g}"
    low, high = ("?" if end is None else f"{end:.4g}" for end in (result.low, result.high))
    return f"{result.value:.4g} ({low} to {high})"


def words(name: str) -> str:
    """Write a name of the code as words."""
    return name.replace("_", " ")


def three_digits(number: float | None) -> str:
    """Write a number with three significant digits, without an exponent where a person would not write one."""
    if number is None or math.isnan(number):
        return NOTHING
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if isinstance(number, int):
        return str(number)
    # The exponent after rounding: 0.99999 is 1, not 1.00.
    exponent = int(f"{number:.2e}".partition("e")[2])
    if number and not _PLAIN[0] <= exponent <= _PLAIN[1]:
        return f"{number:.3g}"
    written = f"{round(number, 2 - exponent):.{max(0, 2 - exponent)}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
