"""The rule about rules: what cannot be seen is undecided, never held."""

from collections.abc import Iterator
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.registry import Finding, rule

COUNTING_RULES: Final = ("INV-06", "INV-12")
"""Rules that count executions, which nobody can do behind a link that is cut."""


@rule("INV-46", "what a rule cannot see is undecided")
def blind_spots(history: History) -> Finding:
    """Nothing is called held that nobody saw; what the run does not show is listed.

    Evidence: the faults that hide executions, the stories that the run lacks, and the probes: one that saw no answer
    must not say that it held.
    """
    if not history.events and not history.calls:
        return Finding(0, missing="the run has neither calls nor events")
    pretended = [probe for probe in history.probes if probe.held and probe.seen is None]
    breaches = [violation(f"{probe.rule}, {probe.case}: held, though no answer was seen", probe) for probe in pretended]
    hidden = hides_executions(history)
    spots = [f"{' and '.join(COUNTING_RULES)}: {hidden}"] if hidden else []
    spots += [*_absent(history), *_never_seen(history)]
    return Finding(max(len(spots), 1), breaches, note="blind: " + "; ".join(spots) if spots else None)


def hides_executions(history: History) -> str | None:
    """Return which faults hid executions that may have run; None if each of them could be counted."""
    seen = {event.provider for event in history.executions}
    hidden = {
        f"at {provider} during {window.name}"
        for window in history.windows
        for provider in window.blinds
        if provider in seen
    }
    return f"executions could not be counted {', '.join(sorted(hidden))}" if hidden else None


def limited(history: History, number: str, finding: Finding) -> Finding:
    """Return a rule's finding, with what it could not see: it may be broken all the same, but is not held."""
    hidden = hides_executions(history) if number in COUNTING_RULES else None
    if hidden is None or finding.missing is not None:
        return finding
    return Finding(finding.judged, finding.violations, missing=hidden, stalled=finding.stalled)


def _absent(history: History) -> Iterator[str]:
    """Name the stories that the run lacks, and with them what their rules cannot see."""
    if not history.frames:
        yield "rules about frames, since no client's story is there"
    if not history.daemon_calls:
        yield "rules about slots and keys, since the daemon's log is not there"
    if not history.executions:
        yield "rules about executions, since no provider's log is there"


def _never_seen(history: History) -> Iterator[str]:
    """Name what no run on a real machine shows."""
    if not history.simulated:
        yield "INV-23 outside virtual time, and INV-33 about constant time"
