"""What a drill says to people: live progress on a terminal, plain lines elsewhere, the table at its end."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from chaos.observe import Intent, Observed
from chaos.smoke import PLANNED_CALLS
from reference_daemon import wire
from reference_daemon.clock import Clock
from scenarios.run import Run
from scenarios.verdict import Verdict

_COLOURS: Final = {Verdict.HELD: "green", Verdict.VIOLATED: "red", Verdict.UNDECIDED: "yellow"}
_LOG_WIDTH: Final = 120
"""Columns where the output is no terminal, so that nothing is folded in a log."""


def console_for(*, stderr: bool) -> Console:
    """Return a console that folds lines at a terminal's edge and nowhere else."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_LOG_WIDTH)


class Screen:
    """Tells people what a drill is doing; a `Watcher`. Use it as a context: the live line ends with it."""

    def __init__(self, console: Console, *, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._started_at = clock.now()
        self._doing, self._calling = "starting", False
        self._daemon_says = ""
        self._since = clock.now()
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._line, console=console, transient=True, auto_refresh=True)

    def __enter__(self) -> Self:
        """Begin to draw, on a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the live line away."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Show what has begun."""
        self._now(text, calling=False)
        self._print(escape(text))

    def call_started(self, intent: Intent, number: int) -> None:
        """Show which call is being made; a line of its own only where there is no live line."""
        what = f"{intent.phase}: {intent.tool} ({number} of {PLANNED_CALLS})"
        self._now(what, calling=True)
        if not self._console.is_terminal:
            self._print(what)

    def heartbeat(self, progress: wire.Progress) -> None:
        """Show what the daemon says of the call."""
        self._daemon_says = f"daemon: {progress.phase}, {progress.remaining:.0f} s left"

    def call_ended(self, seen: Observed) -> None:
        """Show how the call ended."""
        call = seen.call
        colour = "green" if call.outcome.succeeded else "red"
        took = "" if call.latency_s is None else f" after {call.latency_s:.1f} s"
        beats = f"{seen.heartbeats} heartbeat{'' if seen.heartbeats == 1 else 's'}"
        self._print(f"{call.phase}: {call.tool} [{colour}]{call.outcome}[/]{took}, {beats}")

    def _now(self, doing: str, *, calling: bool) -> None:
        self._doing, self._calling = doing, calling
        self._daemon_says, self._since = "", self._clock.now()

    def _print(self, markup: str) -> None:
        wall_s = self._clock.wall_s(self._clock.now() - self._started_at)
        self._console.print(f"[dim]{wall_s:6.1f} s[/]  {markup}")

    def _line(self) -> Group:
        """Draw the live line; called by the display a few times a second."""
        # Calls are measured as the daemon measures them; what the drill itself does takes wall seconds.
        elapsed_s = self._clock.now() - self._since
        if not self._calling:
            elapsed_s = self._clock.wall_s(elapsed_s)
        parts = [self._doing, f"{elapsed_s:.0f} s", self._daemon_says]
        self._spinner.update(text=Text(" · ".join(part for part in parts if part)))
        return Group(self._spinner)


def print_result(console: Console, run: Run, verdict: Verdict, calls: Iterable[Observed], report: Path) -> None:
    """Print the table of calls, the verdict with its reasons, and where the report is."""
    console.print()
    console.print(_table(calls))
    console.print()
    for expectation in run.expectations:
        colour = _COLOURS[expectation.verdict]
        console.print(
            f"[{colour}]{expectation.verdict:<9}[/]  {escape(expectation.name)}: {escape(expectation.reason)}"
        )
    if run.stopped_by is not None:
        console.print(f"[yellow]stopped[/]    {escape(run.stopped_by)}; the report holds what was seen until then")
    console.print(
        f"\n[bold {_COLOURS[verdict]}]{verdict}[/]  {escape(run.scenario)} in {run.wall_s:.1f} s "
        f"(time scale {run.time_scale:g}, seed {run.seed})"
    )
    console.print(f"report: {escape(str(report))}", soft_wrap=True)


def _table(calls: Iterable[Observed]) -> Table:
    """Make a table that fits 80 columns, whole trace_ids included."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in ("phase", "tool", "outcome"):
        table.add_column(name, overflow="fold")
    for name in ("latency", "beats", "tries"):
        table.add_column(name, justify="right")
    table.add_column("trace_id", no_wrap=True)
    for seen in calls:
        call = seen.call
        table.add_row(
            call.phase,
            call.tool,
            Text(call.outcome.replace("_", " "), style="green" if call.outcome.succeeded else "red"),
            "–" if call.latency_s is None else f"{call.latency_s:.1f} s",
            str(seen.heartbeats),
            str(call.attempts),
            call.trace_id,
        )
    return table
