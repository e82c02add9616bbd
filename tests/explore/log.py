"""What daemon and clients log in a run: errors are findings; the daemon's event log is kept, to be read like a file."""

import logging
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import structlog

from chaos.collect import daemon_events
from reference_daemon.observability.lines import LineSink
from scenarios.events import DaemonCall

TOLD: Final = "a secret is logged"
"""How a line begins that tells a secret."""


class KeptLines(LineSink):
    """The event log of one start of the daemon; a process that is killed has written all that it knew."""

    def __init__(self) -> None:
        """Keep lines, write none."""
        super().__init__(-1)
        self.kept: list[bytes] = []
        self.closed = False

    def write(self, line: bytes) -> None:
        """Keep a line."""
        if not self.closed:
            self.kept.append(line)

    def flush(self) -> None:
        """Write nothing."""

    def read_bytes(self) -> bytes:
        """Return what a file of these lines would hold."""
        return b"".join(line + b"\n" for line in self.kept)

    def events(self, boot: int) -> list[DaemonCall]:
        """Return the events as a drill reads them from a file."""
        return daemon_events(cast("Path", self), start_at=0.0, boot=boot)


class _Errors(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(f"{record.name}: {record.getMessage()} {record.exc_info}")


@contextmanager
def errors_logged(secrets: Sequence[str] = ()) -> Iterator[list[str]]:
    """Yield a list that takes what is logged as an error, or with a secret in it, while the body runs."""
    found: list[str] = []

    def keep(_logger: object, level: str, event: MutableMapping[str, Any]) -> str:
        line = " ".join(f"{name}={value}" for name, value in event.items())
        if level == "error":
            found.append(line)
        elif any(secret in line for secret in secrets):
            found.append(f"{TOLD}: {line}")
        raise structlog.DropEvent

    before, root = structlog.get_config(), logging.getLogger()
    handlers, raising = root.handlers[:], logging.raiseExceptions
    wrapper = structlog.make_filtering_bound_logger(logging.INFO)
    structlog.configure(processors=[keep], wrapper_class=wrapper, cache_logger_on_first_use=False)
    root.handlers[:] = [_Errors(found)]
    library = logging.getLogger("websockets.server")
    level = library.level
    library.setLevel(logging.CRITICAL)
    try:
        yield found
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        logging.raiseExceptions = raising
        library.setLevel(level)
