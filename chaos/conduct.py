"""Conducts a drill for a command: run directory, run, judgement, report, and what is printed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.drill import Checked, Options, run_drill
from chaos.runner import Watcher
from reference_daemon.clock import Clock
from scenarios.checks.judge import judge
from scenarios.history import write_calls
from scenarios.load import to_yaml
from scenarios.record import CALLS, EVENTS, Record, encode_events
from scenarios.run_directory import RunDirectory, RunDirectoryError
from scenarios.verdict import Judgement, Verdict


@dataclass(frozen=True, slots=True)
class Conducted:
    """A drill that is over, judged and written.

    Attributes:
        record: What happened.
        judgement: What it says.
        path: Its run directory.
        interrupted: Whether a person or the system stopped it.
    """

    record: Record
    judgement: Judgement
    path: Path
    interrupted: bool

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole."""
        return self.judgement.verdict


Report = Callable[[Path, Record, Judgement], object]
"""Writes the report into a run directory; the commands pass it in, since nothing else of chaos knows reports."""


def conduct(
    what: Checked, options: Options, directory: RunDirectory, watcher: Watcher, *, clock: Clock, report: Report
) -> Conducted:
    """Run a drill, keep its history first, then judge it and write the report.

    Raises:
        RunDirectoryError: Something cannot be written.
    """
    scenario = what.scenario.model_copy(update={"seed": options.seed, "time_scale": options.time_scale})
    directory.write("scenario.yaml", to_yaml(scenario).encode())
    finished = run_drill(replace(what, scenario=scenario), options, directory, watcher, clock=clock)
    keep(finished.record, directory)
    watcher.say("judging")
    judgement = judge(scenario, finished.record)
    watcher.say("writing the report")
    report(directory.path, finished.record, judgement)
    return Conducted(finished.record, judgement, directory.path, finished.interrupted)


def keep(record: Record, directory: RunDirectory) -> None:
    """Write the history: from it, all else can be made again.

    Raises:
        RunDirectoryError: It cannot be written.
    """
    path = directory.path / CALLS
    try:
        write_calls(path, record.calls)
    except OSError as error:
        raise RunDirectoryError.of(path, error) from error
    directory.write(EVENTS, encode_events(record.run, record.events))
