"""What people see: plain lines where there is no terminal, a whole table in 80 columns, the verdict last."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from chaos.observe import Intent, Observed, unfinished
from chaos.screen import Screen, print_result
from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.outcomes import CallOutcome
from scenarios.run import Run
from scenarios.verdict import ExpectationResult, Verdict

MakeObserved = Callable[..., Observed]


class Wall:
    """A wall clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


@pytest.fixture
def wall() -> Wall:
    """Return a wall clock."""
    return Wall()


def console(*, terminal: bool = False) -> Console:
    """Return a console of 80 columns that keeps what is written."""
    return Console(file=io.StringIO(), width=80, force_terminal=terminal, highlight=False, color_system=None)


def written(console: Console) -> str:
    """Return what was written, control codes removed."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def a_run(verdict: Verdict, *, stopped_by: str | None = None) -> Run:
    """Return a run with one expectation."""
    result = ExpectationResult(name="x", value=1.0, limit="1", verdict=verdict, reason="2 of 2 [calls]")
    return Run(
        scenario="smoke-sequential",
        title="Three tools",
        started_at="2026-01-02T03:04:05Z",
        wall_s=13.25,
        time_scale=0.05,
        seed=7,
        timeouts_s={},
        versions={},
        faults=(),
        expectations=(result,),
        stopped_by=stopped_by,
    )


class TestProgress:
    def test_without_a_terminal_every_step_is_a_line(
        self, intent: Intent, an_observed: MakeObserved, wall: Wall
    ) -> None:
        """A log shows what began when, in wall seconds, and how each call ended; heartbeats are no lines."""
        out = console()
        with Screen(out, clock=Clock(0.05, monotonic=wall)) as screen:
            screen.say("starting the daemon")
            wall.at += 1.5
            screen.call_started(intent, 4)
            screen.heartbeat(wire.Progress("r-1", "analyze", 0.0, "", "expert", 5.0, 85.0))
            wall.at += 0.7
            screen.call_ended(an_observed())
        assert written(out).splitlines() == [
            "   0.0 s  starting the daemon",
            "   1.5 s  latency: analyze (4 of 6)",
            "   2.2 s  latency: analyze ok after 14.0 s, 2 heartbeats",
        ]

    def test_the_live_line_says_what_is_going_on(self, intent: Intent, wall: Wall) -> None:
        """Phase, tool, elapsed time, and what the last heartbeat said."""
        screen = Screen(console(terminal=True), clock=Clock(0.05, monotonic=wall))
        screen.call_started(intent, 4)
        screen.heartbeat(wire.Progress("r-1", "analyze", 0.0, "", "expert", 20.0, 70.4))
        wall.at += 1.0
        out = console(terminal=True)
        out.print(screen._line())
        assert "latency: analyze (4 of 6) · 20 s · daemon: expert, 70 s left" in written(out)

    def test_the_live_line_counts_wall_seconds_where_no_call_is_made(self, wall: Wall) -> None:
        """Two seconds of starting a daemon are not forty."""
        screen = Screen(console(terminal=True), clock=Clock(0.05, monotonic=wall))
        screen.say("starting the daemon")
        wall.at += 2.0
        out = console(terminal=True)
        out.print(screen._line())
        assert "starting the daemon · 2 s" in written(out)

    def test_what_a_call_said_is_not_shown_of_the_next(self, intent: Intent, wall: Wall) -> None:
        """A new call starts from nought."""
        screen = Screen(console(terminal=True), clock=Clock(0.05, monotonic=wall))
        screen.heartbeat(wire.Progress("r-1", "analyze", 0.0, "", "expert", 20.0, 70.0))
        screen.call_started(intent, 5)
        out = console(terminal=True)
        out.print(screen._line())
        assert "daemon" not in written(out)

    def test_on_a_terminal_the_live_line_is_taken_away(self, wall: Wall) -> None:
        """What stays are the lines, and the cursor is shown again."""
        out = console(terminal=True)
        with Screen(out, clock=Clock(0.05, monotonic=wall)) as screen:
            screen.say("starting [the] daemon")
        assert "starting [the] daemon" in written(out)
        assert isinstance(out.file, io.StringIO)
        assert "\x1b[?25h" in out.file.getvalue()


class TestResult:
    def test_the_table_fits_80_columns_with_whole_trace_ids(self, an_observed: MakeObserved) -> None:
        """From a line of the table a person can go to the log."""
        out = console()
        print_result(out, a_run(Verdict.HELD), Verdict.HELD, [an_observed()], Path("runs/x/report.html"))
        row = next(line for line in written(out).splitlines() if line.startswith("latency"))
        assert row.split() == ["latency", "analyze", "ok", "14.0", "s", "2", "1", an_observed().call.trace_id]
        assert max(len(line) for line in written(out).splitlines()) <= 80

    def test_a_long_outcome_is_folded_not_cut(self, an_observed: MakeObserved) -> None:
        """The trace_id stays whole, and so does the word that matters."""
        out = console()
        seen = an_observed(outcome=CallOutcome.CONNECTION_LOST)
        print_result(out, a_run(Verdict.HELD), Verdict.HELD, [seen], Path("report.html"))
        assert re.search(r"analyze connection .* \w{32}\n +lost", written(out))

    def test_a_call_without_an_end_has_no_latency(self, intent: Intent) -> None:
        """Nobody knows how long it would have taken."""
        out = console()
        seen = unfinished(intent, "f" * 32, start_at=0.0)
        print_result(out, a_run(Verdict.UNDECIDED), Verdict.UNDECIDED, [seen], Path("report.html"))
        row = next(line for line in written(out).splitlines() if line.startswith("latency"))
        assert row.split() == ["latency", "analyze", "unknown", "–", "0", "1", "f" * 32]

    @pytest.mark.parametrize("verdict", Verdict)
    def test_ends_with_verdict_duration_and_report(self, verdict: Verdict) -> None:
        """The last two lines are what a person looks for."""
        out = console()
        print_result(out, a_run(verdict), verdict, [], Path("runs/x/report.html"))
        assert written(out).splitlines()[-2:] == [
            f"{verdict}  smoke-sequential in 13.2 s (time scale 0.05, seed 7)",
            "report: runs/x/report.html",
        ]

    def test_every_expectation_is_told_with_its_reason(self) -> None:
        """Brackets in a reason are text, not markup."""
        out = console()
        print_result(out, a_run(Verdict.VIOLATED), Verdict.VIOLATED, [], Path("report.html"))
        assert "violated   x: 2 of 2 [calls]" in written(out)

    def test_says_why_a_run_did_not_end(self) -> None:
        """An interrupted drill does not look like a short one."""
        out = console()
        run = a_run(Verdict.UNDECIDED, stopped_by="interrupted")
        print_result(out, run, Verdict.UNDECIDED, [], Path("report.html"))
        assert "stopped    interrupted; the report holds what was seen until then" in written(out)
