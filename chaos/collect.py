"""Reads the stories of daemon and provider after a drill, on the drill's own time.

Both logs are files of JSON lines. A last line that was cut off belongs to a process that was killed while it wrote,
and is left out; any other line that is none means that the file is not what it should be.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from reference_daemon.policy.errors import HarnessError
from scenarios.events import CallStep, DaemonCall, Execution, ExecutionStep

CANARY: Final = "canary"
"""Tool that a canary's requests to a provider name: they are no executions of the load."""


class LogUnreadableError(HarnessError):
    """A log of daemon or provider is not what it should be.

    Attributes:
        path: The file.
        line: Number of the line, from 1; 0 for the file as a whole.
        reason: What is wrong.
    """

    def __init__(self, path: Path, line: int, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(path, line, reason)
        self.path, self.line, self.reason = path, line, reason

    def __str__(self) -> str:
        """Name file, line and reason."""
        where = f", line {self.line}" if self.line else ""
        return f"{self.path}{where}: {self.reason}"


class _DaemonLine(msgspec.Struct):
    event: str
    clock_at: float | None = None
    session: str = ""
    tool: str | None = None
    provider: str | None = None
    kind: str | None = None
    trace_id: str | None = None
    request_id: str = ""
    call_key: str | None = None
    timeout_s: float | None = None
    outcome: str | None = None
    status: int | None = None
    duration_s: float | None = None
    scope: str | None = None
    retry_after_s: float | None = None
    original_request_id: str | None = None
    code: str | None = None
    explicit: bool | None = None
    waits: bool | None = None
    working: bool | None = None
    client_there: bool | None = None


class _StubLine(msgspec.Struct):
    event: ExecutionStep
    at: float
    provider: str
    tool: str | None
    trace_id: str | None
    execution: int | None
    in_flight: int
    status: int | None = None
    latency_s: float | None = None


_WHAT: Final[Mapping[str, CallStep]] = {
    "accepted": "admitted",
    "rejected": "refused",
    "stopped": "stopped",
    "replayed": "replayed",
}

_Line = TypeVar("_Line")


def daemon_events(path: Path, *, start_at: float, boot: int) -> list[DaemonCall]:
    """Return the life of every call, from the daemon's event log.

    A call whose work has stopped when it is answered has one line for both; here it becomes two events.

    Args:
        path: The daemon's `ws_daemon.metrics.jsonl`.
        start_at: Start of the load, a reading of the daemon's clock.
        boot: Number of the daemon's start.

    Raises:
        LogUnreadableError: The file cannot be read, or a line is none.
    """
    events: list[DaemonCall] = []
    for line in _lines(path, _DaemonLine):
        if line.clock_at is None:
            continue  # sessions and the daemon's own start
        at = line.clock_at - start_at
        if line.event == "finished":
            events.append(_daemon_call(line, "answered", at, boot))
            if not line.working:
                events.append(_daemon_call(line, "stopped", at, boot))
        elif line.event in _WHAT:
            events.append(_daemon_call(line, _WHAT[line.event], at, boot))
    return events


def _daemon_call(line: _DaemonLine, what: CallStep, at: float, boot: int) -> DaemonCall:
    return DaemonCall(
        at=at,
        what=what,
        request_id=line.request_id,
        session=line.session,
        trace_id=line.trace_id,
        tool=line.tool,
        provider=line.provider,
        kind=line.kind,
        call_key_hash=line.call_key,
        explicit=line.explicit is not False,
        timeout_s=line.timeout_s,
        waits=bool(line.waits),
        outcome=line.outcome if what == "answered" else None,
        status=line.status if what in {"answered", "refused"} else None,
        code=line.code,
        scope=line.scope,
        retry_after_s=line.retry_after_s,
        original_request_id=line.original_request_id,
        duration_s=line.duration_s if what == "answered" else None,
        client_there=line.client_there is not False,
        boot=boot,
    )


def provider_events(path: Path, *, start_at: float) -> list[Execution]:
    """Return what really ran, from the stub provider's log; requests of canaries are left out.

    Raises:
        LogUnreadableError: The file cannot be read, or a line is none.
    """
    return [
        Execution(
            at=line.at - start_at,
            what=line.event,
            provider=line.provider,
            tool=line.tool,
            trace_id=line.trace_id,
            execution=line.execution,
            in_flight=line.in_flight,
            status=line.status,
            latency_s=line.latency_s,
        )
        for line in _lines(path, _StubLine)
        if line.tool != CANARY
    ]


def _lines(path: Path, kind: type[_Line]) -> Iterator[_Line]:
    """Read a file of JSON lines."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LogUnreadableError(path, 0, error.strerror or type(error).__name__) from error
    decoder = msgspec.json.Decoder(kind)
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError as error:
            if number == len(lines):  # no line break after it: the process was killed while it wrote
                return
            raise LogUnreadableError(path, number, str(error)) from error
