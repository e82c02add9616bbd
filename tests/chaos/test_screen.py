"""What a drill says while it runs, and at its end."""

import io
from pathlib import Path

from rich.console import Console

from chaos.recorder import Recorder
from chaos.runner import Load
from chaos.screen import Screen, print_result, progress
from reference_daemon.clock import Clock
from scenarios.verdict import ExpectationResult, InvariantResult, Judgement, Verdict, Violation
from tests.scenarios.checks.histories import a_call, a_scenario, record


def plain() -> Console:
    """Return a console that is no terminal."""
    return Console(file=io.StringIO(), width=120, highlight=False)


def text_of(console: Console) -> str:
    """Return what was printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_before_any_call() -> None:
    """Before the load there is no call, and the line says so."""
    load = Load(scenario=a_scenario(), recorder=Recorder(Clock()))
    assert "no call has ended yet" in progress(load)


def test_the_result_names_what_was_violated_and_where_to_look() -> None:
    """Verdict, reasons, the first violation with its trace_id, what was not judged, and the report."""
    violation = Violation(what="two executions at once", trace_ids=("ab" * 16,))
    judgement = Judgement(
        expectations=(
            ExpectationResult(
                name="success_rate", value=0.5, limit="at least 1", verdict=Verdict.VIOLATED, reason="1 of 2 calls"
            ),
        ),
        invariants=(
            InvariantResult(
                rule="INV-12",
                title="no overlap",
                verdict=Verdict.VIOLATED,
                judged=2,
                reason="1 breach",
                violations=(violation,),
                violated=1,
            ),
            InvariantResult(rule="INV-23", title="clocks", verdict=Verdict.UNDECIDED, judged=0, reason="no probe"),
        ),
    )
    console = plain()
    print_result(console, record(calls=[a_call()]), judgement, Path("runs/x/report.html"))
    text = text_of(console)
    for words in ("success_rate: 1 of 2 calls", "INV-12 no overlap", "ab" * 16, "INV-23", "runs/x/report.html"):
        assert words in text


def test_lines_where_there_is_no_terminal() -> None:
    """Without a terminal each thing that begins is a line with its wall time."""
    console = plain()
    with Screen(console, clock=Clock()) as screen:
        screen.say("starting the daemon")
    assert "0.0 s  starting the daemon" in text_of(console)
