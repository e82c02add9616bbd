"""What a model's commands say to people: one live line on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

_LINE_EVERY_S: Final = 5.0
"""Seconds between two lines of progress where there is no live line."""


class Screen:
    """Tells people how far the work is. Use it as a context: the live line ends with it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = self._since = self._said_at = time.perf_counter()
        self._doing = "starting"
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

    @property
    def elapsed_s(self) -> float:
        """Wall seconds since this screen was made."""
        return time.perf_counter() - self._started_at

    def say(self, text: str) -> None:
        """Show what has begun, or what was found."""
        self._doing, self._since = text, time.perf_counter()
        self._print(text)

    def progress(self, text: str) -> None:
        """Show how far it is: on the live line, or as a line now and then where there is none."""
        self._doing, self._since = text, time.perf_counter()
        if not self._console.is_terminal and self._since - self._said_at >= _LINE_EVERY_S:
            self._print(text)

    def _print(self, text: str) -> None:
        self._said_at = time.perf_counter()
        self._console.print(f"[dim]{self.elapsed_s:6.1f} s[/]  {escape(text)}", soft_wrap=True)

    def _line(self) -> Spinner:
        """Draw the live line; called by the display a few times a second."""
        waited_s = time.perf_counter() - self._since
        self._spinner.update(text=Text(f"{self._doing} · {waited_s:.0f} s" if waited_s >= 1 else self._doing))
        return self._spinner


def span(seconds: float) -> str:
    """Write a time for people: 8 s, 3 min, 2.5 h."""
    if seconds < 100:  # noqa: PLR2004 - a minute and a half is still counted in seconds
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
