"""What the logs of daemon, shim and provider say that those of healthy ones do not."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from chaos.probes.case import MARKER
from scenarios.events import LogFinding, LogRead

What = Literal["error", "traceback", "never_retrieved", "pending_destroyed", "secret", "watchdog"]

SHOWN: Final = 200
"""Characters of a line that a finding shows."""

_PHRASES: Final[tuple[tuple[What, re.Pattern[str]], ...]] = (
    ("never_retrieved", re.compile(r"exception was never retrieved|was never awaited")),
    ("pending_destroyed", re.compile(r"was destroyed but it is pending")),
    ("traceback", re.compile(r"Traceback \(most recent call last\)")),
    ("watchdog", re.compile(r"\bwatchdog_\w+")),
)
_ERROR: Final = re.compile(r"\[\s*(error|critical)\s*\]|^(ERROR|CRITICAL)\b", re.IGNORECASE)


def search_logs(paths: Iterable[Path], secrets: Iterable[str]) -> Iterator[LogFinding | LogRead]:
    """Read logs to their end; give each finding, and for each log that it was read.

    What the probes planted is looked for besides `secrets`. A log that cannot be read is not said to be read.
    """
    planted = [secret for secret in {*secrets, MARKER} if secret]
    for path in paths:
        try:
            lines = path.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            for what in _whats(line, planted):
                text = _without(line, planted)[:SHOWN]
                yield LogFinding(at=0.0, file=path.name, line=number, what=what, text=text)
        yield LogRead(at=0.0, file=path.name, lines=len(lines), secrets=len(planted))


def _whats(line: str, planted: list[str]) -> Iterator[What]:
    """Give what is in a line: a secret, and the most telling of the other things."""
    # JSON may write a secret's non-ASCII or quoted characters in another way; both ways are looked for.
    if any(secret in line or json.dumps(secret)[1:-1] in line for secret in planted):
        yield "secret"
    for what, phrase in _PHRASES:
        if phrase.search(line):
            yield what
            return
    if _is_error(line):
        yield "error"


def _is_error(line: str) -> bool:
    if line.startswith("{"):
        try:
            level = json.loads(line).get("level")
        except (ValueError, AttributeError, RecursionError):
            return False
        return str(level).lower() in {"error", "critical"}
    return _ERROR.search(line) is not None


def _without(line: str, planted: list[str]) -> str:
    for secret in planted:
        line = line.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
    return line
