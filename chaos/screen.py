"""What a drill says to people: live progress on a terminal, plain lines elsewhere, the verdict at its end."""

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from chaos.runner import Load
from reference_daemon.clock import Clock
from scenarios.console import COLOURS
from scenarios.history import Call
from scenarios.record import Record
from scenarios.verdict import Judgement, Verdict

_LINE_EVERY_S: Final = 5.0
"""Wall seconds between two lines of progress where there is no live line."""

_SHOWN_VIOLATIONS: Final = 3


class Screen:
    """Tells people what a drill is doing; a `Watcher`. Use it as a context: the live line ends with it."""

    def __init__(self, console: Console, *, clock: Clock) -> None:
        self._console, self._clock = console, clock
        self._started_at = self._since = clock.now()
        self._doing = "starting"
        self._load: Load | None = None
        self._said_at = clock.now()
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
        self._doing, self._since = text, self._clock.now()
        self._print(escape(text))

    def watch(self, load: Load) -> None:
        """Show the load on the live line from now on."""
        self._load = load
        self.say(f"the load runs: {load.scenario.load_s:g} s of {load.scenario.title}")

    def call_ended(self, call: Call) -> None:  # noqa: ARG002 - the line is drawn from the load itself
        """Show progress now and then, where there is no live line."""
        if self._console.is_terminal or self._load is None:
            return
        if self._clock.wall_s(self._clock.now() - self._said_at) >= _LINE_EVERY_S:
            self._said_at = self._clock.now()
            self._print(escape(progress(self._load)))

    def _print(self, markup: str) -> None:
        wall_s = self._clock.wall_s(self._clock.now() - self._started_at)
        self._console.print(f"[dim]{wall_s:6.1f} s[/]  {markup}")

    def _line(self) -> Group:
        """Draw the live line; called by the display a few times a second."""
        if self._load is not None:
            text = progress(self._load)
        else:
            text = f"{self._doing} · {self._clock.wall_s(self._clock.now() - self._since):.0f} s"
        self._spinner.update(text=Text(text))
        return Group(self._spinner)


def progress(load: Load) -> str:
    """Return one line: phase, faults, calls in flight, what ended, P95 so far."""
    now = load.recorder.since()
    calls = load.calls
    parts = [
        f"{max(now, 0.0):.0f} of {load.scenario.load_s:.0f} s",
        " + ".join(load.phases(now)) or "waiting for the rest",
    ]
    if load.injector is not None and load.injector.active():
        parts.append("fault: " + ", ".join(load.injector.active()))
    if load.driver is not None:
        parts.append(f"{load.driver.in_flight} in flight")
    outcomes = Counter(call.outcome.value for call in calls)
    parts.append(", ".join(f"{number} {name}" for name, number in outcomes.most_common()) or "no call has ended yet")
    latencies = sorted(call.latency_s for call in calls if call.latency_s is not None)
    if latencies:
        parts.append(f"P95 {latencies[min(len(latencies) - 1, int(0.95 * len(latencies)))]:.0f} s")
    return " · ".join(parts)


def print_result(console: Console, record: Record, judgement: Judgement, report: Path) -> None:
    """Print the outcomes, the verdict with its reasons, and where the report is."""
    run = record.run
    console.print()
    console.print(_table(record))
    console.print()
    for expectation in judgement.expectations:
        _verdict_line(console, expectation.verdict, f"{expectation.name}: {expectation.reason}")
    decided = [rule for rule in judgement.invariants if rule.verdict is Verdict.HELD]
    if decided:
        _verdict_line(console, Verdict.HELD, f"{len(decided)} invariants: {', '.join(r.rule for r in decided)}")
    for rule in judgement.invariants:
        if rule.meant:
            continue  # its expectation says it
        if rule.verdict is Verdict.VIOLATED or (rule.required and rule.verdict is Verdict.UNDECIDED):
            _verdict_line(console, rule.verdict, f"{rule.rule} {rule.title}: {rule.reason}")
            for violation in rule.violations[:_SHOWN_VIOLATIONS]:
                trace = f"  trace_id {violation.trace_ids[0]}" if violation.trace_ids else ""
                console.print(f"             {escape(violation.what)}{trace}", soft_wrap=True)
    if judgement.not_judged:
        console.print(f"[dim]not judged[/]  {', '.join(rule.rule for rule in judgement.not_judged)}", soft_wrap=True)
    for part in run.not_carried:
        console.print(f"[dim]left out[/]    {escape(part)}", soft_wrap=True)
    if run.stopped_by is not None:
        console.print(f"[yellow]stopped[/]    {escape(run.stopped_by)}; the report holds what was seen until then")
    console.print(
        f"\n[bold {COLOURS[judgement.verdict]}]{judgement.verdict}[/]  {escape(run.scenario)} in {run.wall_s:.1f} s "
        f"(time scale {run.time_scale:g}, seed {run.seed})"
    )
    console.print(f"report: {escape(str(report))}", soft_wrap=True)


def _verdict_line(console: Console, verdict: Verdict, text: str) -> None:
    console.print(f"[{COLOURS[verdict]}]{verdict:<9}[/]  {escape(text)}", soft_wrap=True)


def _table(record: Record) -> Table:
    """Make a table with a line per phase and tool that fits 80 columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name in ("phase", "tool"):
        table.add_column(name, overflow="fold")
    for name in ("calls", "ok", "P50", "P95", "tries"):
        table.add_column(name, justify="right")
    table.add_column("not ok", overflow="fold")
    groups: dict[tuple[str, str], list[Call]] = {}
    for call in record.calls:
        groups.setdefault((call.phase, call.tool), []).append(call)
    for (phase, tool), calls in groups.items():
        latencies = sorted(call.latency_s for call in calls if call.latency_s is not None)
        failed = Counter(call.outcome.value.replace("_", " ") for call in calls if not call.outcome.succeeded)
        table.add_row(
            phase,
            tool,
            str(len(calls)),
            str(sum(call.outcome.succeeded for call in calls)),
            _quantile(latencies, 0.5),
            _quantile(latencies, 0.95),
            f"{sum(call.attempts for call in calls) / len(calls):.2f}",
            ", ".join(f"{number} {name}" for name, number in failed.most_common()),
        )
    return table


def _quantile(values: list[float], q: float) -> str:
    return f"{values[max(0, -int(-q * len(values) // 1) - 1)]:.1f} s" if values else "–"
