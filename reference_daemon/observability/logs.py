"""Log lines: for people on a console, or one JSON object a line.

structlog carries the fields; one renderer makes the line. A value never breaks a line: control characters are escaped.
"""

import datetime as dt
import functools
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal

import msgspec
import structlog

from reference_daemon.observability.lines import LineSink

_LEVELS: Final[Mapping[str, int]] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_COLOURS: Final[Mapping[str, str]] = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
}
_PLAIN: Final = re.compile(r"[!#-~\xa1-\u2027\u202a-\uffff]+")
"""A value that is shown as it is: no spaces, quotes or control characters. Any other is quoted."""
_PLAIN_BYTES: Final = b"!" + bytes(range(ord("#"), ord("~") + 1))
"""The ASCII characters of `_PLAIN`."""

_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Stream:
    """What structlog calls with a rendered line."""

    def __init__(self, sink: LineSink) -> None:
        self.msg = sink.write


@functools.lru_cache(maxsize=4)
def _second(whole: int) -> str:
    """Return a Unix second as ISO 8601; a busy daemon asks for the same one thousands of times."""
    return f"{dt.datetime.fromtimestamp(whole, dt.UTC):%Y-%m-%dT%H:%M:%S}"


@functools.lru_cache(maxsize=4)
def _stamp(milliseconds: int) -> str:
    """Return Unix milliseconds as ISO 8601; the lines of one turn share theirs."""
    whole, rest = divmod(milliseconds, 1000)
    return f"{_second(whole)}.{rest:03d}Z"


def timestamp(unix_s: float) -> str:
    """Return Unix time as ISO 8601 in UTC, with milliseconds."""
    return _stamp(int(unix_s * 1000))


def _unfold(event: MutableMapping[str, Any]) -> None:
    """Replace the exception of an event by the lines of its traceback."""
    exc_info = event.pop("exc_info", None)
    if isinstance(exc_info, BaseException):
        event["exception"] = "".join(traceback.format_exception(exc_info))


def render_json(_logger: object, level: str, event: MutableMapping[str, Any]) -> bytes:
    """Make a JSON line: time, level, event, then the fields that have a value."""
    if "exc_info" in event:
        _unfold(event)
    name = event.pop("event")
    fields = {key: value for key, value in event.items() if value is not None}
    line = {"time": timestamp(time.time()), "level": level, "event": name, **fields}
    try:
        return _encode(line)
    except UnicodeEncodeError:  # half a character, as in the name of a file that is no UTF-8
        return json.dumps(line, default=str).encode()


def _shown(value: object) -> str:
    """Return a value as a person reads it, on one line, without anything that a terminal obeys."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text).replace("\x7f", "\\u007f")


@functools.lru_cache(maxsize=8)
def _head(milliseconds: int, level: str, name: str, colour: str) -> bytes:
    """Return the first three words of a line for people; the lines of one turn have few different ones."""
    shown = level.upper()
    if colour:
        shown, name = f"{colour}{shown}\x1b[0m", f"\x1b[1m{name}\x1b[0m"
    return f"{_stamp(milliseconds)[11:-1]} {shown} {name}".encode("utf-8", "backslashreplace")


def render_console(_logger: object, level: str, event: MutableMapping[str, Any], *, colours: bool = False) -> bytes:
    """Make a line for people: time of day, level, event, then key=value of the fields that have a value."""
    if "exc_info" in event:
        _unfold(event)
    head = _head(int(time.time() * 1000), level, event.pop("event"), _COLOURS[level] if colours else "")
    pairs = [f"{key}={value}" for key, value in event.items() if value is not None]
    fields = " ".join(pairs).encode("utf-8", "backslashreplace")
    if len(fields.translate(None, _PLAIN_BYTES)) >= len(pairs) > 0:  # more than the spaces between: look at each value
        pairs = [f"{key}={_shown(value)}" for key, value in event.items() if value is not None]
        fields = " ".join(pairs).encode("utf-8", "backslashreplace")
    return head + b" " + fields if pairs else head


class _Logger(structlog.BoundLoggerBase):
    """A bound logger with four levels and nothing else: a busy daemon writes 30,000 lines a second."""

    least = 0

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        line: Any = {**self._context, **fields} if self._context else fields
        line["event"] = event
        try:
            for processor in self._processors:
                line = processor(self._logger, level, line)
        except structlog.DropEvent:
            return
        self._logger.msg(line)

    def debug(self, event: str, **fields: Any) -> None:
        if self.least <= _LEVELS["DEBUG"]:
            self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self.least <= _LEVELS["INFO"]:
            self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self.least <= _LEVELS["WARNING"]:
            self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)


class _ToStructlog(logging.Handler):
    """Hands the warnings of libraries over, without their tracebacks: they may quote what a peer sent."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().warning("library", logger=record.name, message=record.msg)


def configure_logging(form: Literal["console", "json"], level: str, *, sink: LineSink | None = None) -> LineSink:
    """Send the lines of this process to `sink`, by default to stderr; return the sink."""
    sink = sink if sink is not None else LineSink(sys.stderr.fileno())
    if form == "json":
        renderer: Any = render_json
    else:
        renderer = functools.partial(render_console, colours=sys.stderr.isatty())
    sink.lost_line = lambda lines: renderer(None, "warning", {"event": "log_lines_lost", "lines": lines})
    stream = _Stream(sink)
    structlog.configure(
        processors=[renderer],
        wrapper_class=type("_LeveledLogger", (_Logger,), {"least": _LEVELS[level]}),
        logger_factory=lambda *_: stream,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog(logging.WARNING)]
    # A handshake that fails is a port scan or a broken client; the daemon counts its own refusals.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    return sink
