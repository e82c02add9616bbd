"""Findings 1 and 2: the old root causes on the real daemon, before and after.

The drills are run as commands, as anybody would: the simulator itself knows nothing of the daemon's shell.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from reference_daemon.policy.errors import HarnessError
from reports.study import Bars, Scatter, Section, Series, Study, Table
from scenarios.checks.intervals import wilson
from scenarios.checks.selection import succeeded
from scenarios.history import Call
from scenarios.record import NoRecordError, Record, read_record
from simulator.findings.experiment import Conditions
from simulator.replication.command_run import run_command

_OVERLOAD: Final = """\
name: {name}
title: Six analyze at once on a cap of three
seed: 53
time_scale: 0.05
{defect}providers:
  GLM: {{latency: {{uniform: {{low: 35, high: 55}}}}}}
load:
  - {{phase: rush, duration: 60, clients: 6, arrivals: {{burst: {{size: 6}}}}, sequence: [analyze]}}
expect:
  - {{metric: calls, min: 6, max: 6}}
"""


_JUDGED: Final = frozenset({0, 1})
"""Exit statuses of a drill that was judged: held, or violated, as a seeded defect may make it."""


class DrillFailedError(HarnessError):
    """A drill says nothing: it left no history, or half of one."""

    exit_code = 3

    def __init__(self, scenario: str, reason: str, last_words: str) -> None:
        """Keep what was run, what was wrong, and what it said last."""
        super().__init__(scenario, reason, last_words)
        self.scenario, self.reason, self.last_words = scenario, reason, last_words

    def __str__(self) -> str:
        """Name all of them."""
        return f"exai drill {self.scenario} {self.reason}" + (f": {self.last_words}" if self.last_words else "")


@dataclass(frozen=True, slots=True)
class Drilled:
    """One drill.

    Attributes:
        label: What is shown.
        record: What happened.
    """

    label: str
    record: Record


def cancellations(conditions: Conditions) -> Study:
    """Run both ends of root cause 1, before and after."""
    drills = [
        _drill(conditions, label, name)
        for label, name in (
            ("client gives up early, before", "root-cause-client-timeout-before"),
            ("client gives up early, after", "root-cause-client-timeout"),
            ("heartbeat cancels, before", "root-cause-heartbeat-cancel-before"),
            ("heartbeat cancels, after", "root-cause-heartbeat-cancel"),
        )
    ]
    before = [call.latency_s for each in drills[::2] for call in each.record.calls if call.latency_s is not None]
    answered = [sum(map(succeeded, each.record.calls)) for each in drills]
    headline = (
        f"Before, {answered[0]} of {len(drills[0].record.calls)} and {answered[2]} of {len(drills[2].record.calls)} "
        f"expert calls are answered, {_over_after(before)}; after, {answered[1]} of "
        f"{len(drills[1].record.calls)} and {answered[3]} of {len(drills[3].record.calls)}."
    )
    text = "Expert calls of 35 to 55 s through the real daemon. The defects are seeded; all else is the same."
    return _study("cancellations", headline, text, drills)


def _over_after(latencies_s: Sequence[float]) -> str:
    """Say when calls were over."""
    if not latencies_s:
        return "and none ended"
    return f"all over after {min(latencies_s):.1f} to {max(latencies_s):.1f} s"


def duplicates(conditions: Conditions) -> Study:
    """Run root cause 2, before and after, unique keys, and the key that a 429 leaves behind."""
    drills = [
        _drill(conditions, "equal arguments, before", "root-cause-coalescing-before"),
        _drill(conditions, "equal arguments, after", "root-cause-coalescing"),
        _drill(conditions, "unique keys", "parallel"),
    ]
    with TemporaryDirectory(prefix="exai-finding-") as folder:
        for label, defect in (("poisoned key, before", "key-kept-on-429"), ("poisoned key, after", None)):
            name = f"overload-{'before' if defect else 'after'}"
            path = Path(folder) / f"{name}.yaml"
            line = f"daemon: {{defect: {defect}}}\n" if defect else ""
            path.write_text(_OVERLOAD.format(name=name, defect=line), encoding="utf-8")
            drills.append(_drill(conditions, label, str(path)))
    waits = [_slowest_duplicate(each) for each in drills[:2]]
    poisoned, clean = (sum(map(succeeded, each.record.calls)) for each in drills[3:])
    headline = (
        f"A duplicate waited {waits[0]} before, and is told so within {waits[1]} now; unique keys never wait. Of six "
        f"calls on a cap of three, {poisoned} are answered where a 429 keeps the key, and {clean} where it does not."
    )
    text = (
        "Three calls with equal arguments; six calls with unique keys, four times; six calls on a cap of three, whose "
        "refused ones come back. The defects are seeded; all else is the same."
    )
    return _study("duplicates", headline, text, drills)


def _slowest_duplicate(drilled: Drilled) -> str:
    found = [call.latency_s for call in drilled.record.calls if call.outcome == "duplicate" and call.latency_s]
    return f"{max(found):.2f} s" if found else "–"


def _drill(conditions: Conditions, label: str, scenario: str) -> Drilled:
    """Run one drill and read what it left."""
    conditions.say(f"exai drill {Path(scenario).stem}")
    folder = conditions.runs_dir / label.replace(",", "").replace(" ", "-")
    known = set(folder.glob("*")) if folder.exists() else set()
    done = run_command([sys.executable, "-m", "exai", "drill", scenario, "--runs-dir", str(folder)], quiet=True)
    new = sorted(set(folder.glob("*")) - known) if folder.exists() else []
    try:
        record = read_record(new[-1])
    except (IndexError, NoRecordError) as error:
        why = f"ended with {done.status} and left no history"
        raise DrillFailedError(scenario, why, done.last_words) from error
    reason = _why_not(record, Path(scenario).stem, done.status)
    if reason is not None:
        raise DrillFailedError(scenario, reason, done.last_words)
    return Drilled(label, record)


def _why_not(record: Record, name: str, status: int) -> str | None:
    """Return why a drill says nothing; None if it does."""
    if record.run.stopped_by is not None:
        return f"was stopped ({record.run.stopped_by})"
    if record.run.scenario != name:
        return f"left the history of {record.run.scenario}"
    return None if status in _JUDGED else f"ended with {status}"


def _study(name: str, headline: str, text: str, drills: Sequence[Drilled]) -> Study:
    series = tuple(_dots(each) for each in drills)
    rates = [_rate(each.record.calls) for each in drills]
    return Study(
        kind="finding",
        name=name,
        headline=headline,
        sections=(
            Section(
                "Real drills",
                text,
                tables=(Table("Each drill at time scale 0.05", _HEAD, tuple(map(_row, drills))),),
                charts=(
                    Scatter("latency", "Every call", "call, by its number in the drill", "ended after, s", series),
                    Bars(
                        "success",
                        "Share answered, with 95 % intervals",
                        "share",
                        tuple(each.label for each in drills),
                        tuple(rate for rate, _, _ in rates),
                        tuple(low for _, low, _ in rates),
                        tuple(high for _, _, high in rates),
                    ),
                ),
            ),
        ),
        facts={
            each.label: {"calls": len(each.record.calls), "success_rate": _rate(each.record.calls)[0]}
            for each in drills
        },
        settings={each.label: f"seed {each.record.run.seed}" for each in drills} | {"intervals": "95 %, Wilson"},
    )


_HEAD: Final = ("drill", "seed", "calls", "answered", "share (95 %)", "ended after, s: least, median, most", "outcomes")


def _row(drilled: Drilled) -> tuple[str, ...]:
    calls = drilled.record.calls
    rate, low, high = _rate(calls)
    ended = sorted(call.latency_s for call in calls if call.latency_s is not None)
    spread = f"{ended[0]:.1f}, {ended[len(ended) // 2]:.1f}, {ended[-1]:.1f}" if ended else "–"
    outcomes = Counter(f"{call.outcome} {call.status or ''}".strip() for call in calls)
    return (
        drilled.label,
        str(drilled.record.run.seed),
        str(len(calls)),
        str(sum(map(succeeded, calls))),
        f"{rate:.2f} ({low:.2f} to {high:.2f})",
        spread,
        ", ".join(f"{name} × {number}" for name, number in sorted(outcomes.items())),
    )


def _rate(calls: Sequence[Call]) -> tuple[float, float, float]:
    hits = sum(map(succeeded, calls))
    return (hits / len(calls) if calls else 0.0, *wilson(hits, len(calls)))


def _dots(drilled: Drilled) -> Series:
    calls = sorted(drilled.record.calls, key=lambda call: call.intended_at)
    kept = [(number, call.latency_s) for number, call in enumerate(calls, 1) if call.latency_s is not None]
    return Series(drilled.label, tuple(float(number) for number, _ in kept), tuple(latency for _, latency in kept))
