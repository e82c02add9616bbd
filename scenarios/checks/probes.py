"""Rules that a raw client asks about, one question at a time; two of them also by what was found in the logs."""

from collections.abc import Iterator
from typing import Final

from scenarios.checks.context import History
from scenarios.checks.evidence import violation
from scenarios.checks.registry import Finding, rule
from scenarios.events import HealthSeen, LogFinding, Probe
from scenarios.verdict import Violation

BY_PROBES: Final = frozenset(f"INV-{number}" for number in (23, *range(30, 40), 42, 43, 45, 46))
"""Rules whose own checks look at their probes."""


def probed(history: History, number: str) -> Finding:
    """Judge a rule by its probes: each must have held; one that could not be made leaves it undecided."""
    asked = [probe for probe in history.probes if probe.rule == number]
    unmade = [probe for probe in asked if probe.seen is None]
    made = [probe for probe in asked if probe not in unmade]
    breaches = [_wrong(probe) for probe in made if not probe.held]
    missing = None if asked else "no probe made"
    if unmade:
        missing = "; ".join(f"not probed: {probe.case}: {probe.why_not or 'nobody said why'}" for probe in unmade[:3])
        missing += f" and {len(unmade) - 3} more" if len(unmade) > 3 else ""  # noqa: PLR2004 - those just shown
    return Finding(len(made), breaches, missing=missing)


def with_probes(history: History, number: str, finding: Finding) -> Finding:
    """Add what probes show of a rule that is judged by the run's own events, too.

    A rule without a case among the events, but with probes, is judged by these alone.
    """
    if number in BY_PROBES or not any(probe.rule == number for probe in history.probes):
        return finding
    asked = probed(history, number)
    missing = asked.missing if finding.judged == 0 else finding.missing or asked.missing
    return Finding(
        finding.judged + asked.judged,
        [*finding.violations, *asked.violations],
        missing=missing,
        stalled=finding.stalled,
        note=finding.note,
    )


def _wrong(probe: Probe) -> Violation:
    return violation(f"{probe.case}: expected {probe.expected}, seen {probe.seen}", probe)


@rule("INV-23", "steps of the wall clock change nothing")
def wall_clock(history: History) -> Finding:
    """Steps of the wall clock change no deadline, TTL, heartbeat or retry. Evidence: probes."""
    return probed(history, "INV-23")


@rule("INV-30", "a bad frame or a tool's exception harms its own request only")
def own_harm(history: History) -> Finding:
    """A bad frame or a tool's exception harms its own request only. Evidence: probes."""
    return probed(history, "INV-30")


@rule("INV-31", "a foreign Origin or Host is refused before any frame is read")
def foreign_origin(history: History) -> Finding:
    """A foreign Origin or Host is refused before any frame is read. Evidence: probes."""
    return probed(history, "INV-31")


@rule("INV-32", "before hello: only hello, small, soon, few connections; nothing is revealed")
def before_hello(history: History) -> Finding:
    """Before hello nothing but a small and early hello is taken, and nothing is revealed. Evidence: probes."""
    return probed(history, "INV-32")


@rule("INV-33", "the token matches exactly, in constant time")
def exact_token(history: History) -> Finding:
    """Only the very token lets in. Evidence: probes; that the time is constant nobody measures on a real machine."""
    return probed(history, "INV-33")


@rule("INV-34", "rotation is atomic; a failed one changes nothing; bad tries are slowed")
def rotation(history: History) -> Finding:
    """From rotate_ok on the old token is refused, and a failed rotation changes nothing. Evidence: probes."""
    return probed(history, "INV-34")


@rule("INV-35", "no token, argument or provider text in logs, errors, health or metrics")
def no_secret(history: History) -> Finding:
    """Planted secrets are found nowhere. Evidence: probes, and logs that were read to their end for the secrets."""
    finding = probed(history, "INV-35")
    read = [log for log in history.log_reads if log.secrets > 0]
    found = [_found(line) for line in history.log_findings if line.what == "secret"]
    judged = finding.judged + len(read)
    missing = finding.missing
    if missing == "no probe made":
        missing = None if read else "no probe made, and no log searched for planted secrets"
    return Finding(judged, [*finding.violations, *found], missing=missing)


def _found(line: LogFinding) -> Violation:
    return violation(f"{line.what.replace('_', ' ')} in {line.file}, line {line.line}", line)


@rule("INV-36", "keys, results and sessions belong to who was authenticated")
def ownership(history: History) -> Finding:
    """An id that a client chose grants nothing. Evidence: probes."""
    return probed(history, "INV-36")


@rule("INV-37", "every map, queue and buffer is bounded")
def bounded(history: History) -> Finding:
    """Memory stops growing once the result store is full. Evidence: probes."""
    return probed(history, "INV-37")


@rule("INV-38", "it listens on loopback only unless told otherwise")
def loopback(history: History) -> Finding:
    """The daemon listens on loopback only, unless it was told otherwise. Evidence: probes."""
    return probed(history, "INV-38")


@rule("INV-39", "shim: parallel calls over one connection all end right")
def shim_parallel(history: History) -> Finding:
    """Parallel calls of a shim over its one connection each get their own answer. Evidence: probes."""
    return probed(history, "INV-39")


@rule("INV-42", "shim: stdout carries JSON-RPC only; it exits soon after stdin ends")
def shim_streams(history: History) -> Finding:
    """The shim's stdout is clean, its children inherit neither stream, and it ends within 2 s. Evidence: probes."""
    return probed(history, "INV-42")


@rule("INV-43", "shim: progress only when asked for, increasing; an error is never an empty success")
def shim_progress(history: History) -> Finding:
    """The shim reports progress with a progressToken only, and errors as errors. Evidence: probes."""
    return probed(history, "INV-43")


@rule("INV-45", "at quiescence tasks, descriptors and timers are back at the baseline")
def baseline(history: History) -> Finding:
    """Once all is quiet nothing is left over, and no log speaks of a task that was lost.

    Evidence: probes, logs that were read to their end, and what health says at rest before and after the load.
    """
    finding = probed(history, "INV-45")
    lost = {"never_retrieved", "pending_destroyed", "traceback"}
    found = [_found(line) for line in history.log_findings if line.what in lost]
    rests = list(_rests(history))
    left = [breach for before, after in rests for breach in _left_over(history, before, after)]
    judged = finding.judged + len(history.log_reads) + len(rests)
    missing = finding.missing
    if missing == "no probe made":
        missing = None if history.log_reads or rests else "no probe made, no log read, and no health before and after"
    return Finding(judged, [*finding.violations, *found, *left], missing=missing)


def _rests(history: History) -> Iterator[tuple[HealthSeen, HealthSeen]]:
    """Yield the first rest of each start of the daemon with its last one after the load.

    Each open session has tasks and a descriptor of its own, so a later rest with more sessions says nothing.
    """
    starts = [move.at for move in history.processes if move.what == "started"] or [float("-inf")]
    for start, following in zip(starts, [*starts[1:], float("inf")], strict=True):
        # The drill logs the start of the daemon when it is ready; what was asked before belongs to the first start.
        since = float("-inf") if start == starts[0] else start
        seen = [health for health in history.health if since <= health.at < following and health.total == 0]
        after = [health for health in seen[1:] if health.quiescent and health.sessions <= seen[0].sessions]
        if after:
            yield seen[0], after[-1]


CLOSING_TASKS: Final = 4
"""Tasks that connections may still have that are closing at this very moment; a leak has one for each of many calls."""


def _left_over(history: History, before: HealthSeen, after: HealthSeen) -> Iterator[Violation]:
    if before.tasks is not None and after.tasks is not None and after.tasks > before.tasks + CLOSING_TASKS:
        yield violation(f"{after.tasks} tasks at rest after the load, {before.tasks} before it", before, after)
    # A pooled connection to a provider may stay open for each call that was in flight at once.
    pooled = history.run.caps.get("global", 0)
    if before.descriptors is None or after.descriptors is None or after.descriptors <= before.descriptors + pooled:
        return
    what = f"{after.descriptors} descriptors at rest after the load, {before.descriptors} before it"
    yield violation(what, before, after)
