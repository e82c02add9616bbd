"""Log lines: one line whatever the values are, for people and for programs."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from reference_daemon.observability.lines import LineSink
from reference_daemon.observability.logs import configure_logging, render_console, timestamp

Read = Callable[[], list[str]]
NASTY = {
    "line break": "a\nb",
    "carriage return": "a\rb",
    "escape": "\x1b[31mred\x1b[0m",
    "separators": "a\u2028b\u2029c\x85d",
    "nul": "a\x00b",
    "quotes": 'say "hi" and \\',
    "surrogate": "a\udcffb",
    "equals and spaces": "level=ERROR event=forged",
    "empty": "",
    "long": "x" * 10_000,
}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Read]]:
    """Return a function that starts logging in a form, and returns a function that reads the lines."""
    config, root = structlog.get_config(), logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("websockets.server", "asyncio")}
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)

    def start(form: str, level: str = "INFO") -> Read:
        sink = configure_logging(form, level, sink=LineSink(descriptor))  # type: ignore[arg-type]

        def read() -> list[str]:
            sink.flush()
            # By hand: `splitlines` knows more line breaks than a file has.
            return (tmp_path / "log").read_bytes().decode().removesuffix("\n").split("\n")

        return read

    yield start
    os.close(descriptor)
    structlog.configure(**config)
    root.handlers[:] = handlers
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


class TestJson:
    def test_line_is_one_object(self, started: Callable[..., Read]) -> None:
        """Time, level and event come first, then the fields in their order; what is None is left out."""
        read = started("json")
        structlog.get_logger().info("call_start", tool="analyze", model=None, timeout_s=180.0, n=3)
        (line,) = read()
        assert list(json.loads(line)) == ["time", "level", "event", "tool", "timeout_s", "n"]
        assert json.loads(line) | {"time": ""} == {
            "time": "",
            "level": "info",
            "event": "call_start",
            "tool": "analyze",
            "timeout_s": 180.0,
            "n": 3,
        }

    @pytest.mark.parametrize("value", NASTY.values(), ids=NASTY.keys())
    def test_any_value_stays_on_its_line(self, started: Callable[..., Read], value: str) -> None:
        """No value breaks a line, and the line can be read again."""
        read = started("json")
        structlog.get_logger().info("event", value=value)
        (line,) = read()
        assert json.loads(line)["value"] == value
        assert "\r" not in line

    def test_what_is_no_json_is_written_as_text(self, started: Callable[..., Read]) -> None:
        """A path or an exception that slips in costs no line."""
        read = started("json")
        structlog.get_logger().info("event", path=Path("/x"), error=ValueError("y"))
        assert json.loads(read()[0])["path"] == "/x"


class TestConsole:
    def test_line_is_for_people(self, started: Callable[..., Read]) -> None:
        """Time of day, level, event, then key=value; what is None is left out."""
        read = started("console")
        structlog.get_logger().warning("duplicate", tool="analyze", model=None, elapsed=1.5)
        (line,) = read()
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} WARNING duplicate tool=analyze elapsed=1\.5", line)

    @pytest.mark.parametrize("value", NASTY.values(), ids=NASTY.keys())
    def test_any_value_stays_on_its_line(self, started: Callable[..., Read], value: str) -> None:
        """Control characters and line breaks are escaped, and what could be taken for fields is quoted."""
        read = started("console")
        structlog.get_logger().info("event", value=value, last=1)
        (line,) = read()
        assert re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line) is None
        shown = line.partition("value=")[2].removesuffix(" last=1")
        assert " " not in shown or (shown[0] == shown[-1] == '"')

    def test_colours_are_for_terminals(self) -> None:
        """Level and event are coloured where that was asked for; the values never."""
        line = render_console(None, "error", {"event": "gone", "n": 1}, colours=True)
        assert line.endswith(b" \x1b[31mERROR\x1b[0m \x1b[1mgone\x1b[0m n=1")

    def test_event_without_fields_is_short(self) -> None:
        """Nothing follows the event."""
        assert render_console(None, "info", {"event": "daemon_stopped"}).endswith(b"INFO daemon_stopped")


class TestLevels:
    @pytest.mark.parametrize(
        ("level", "written"),
        [
            ("DEBUG", ["debug", "info", "warning", "error"]),
            ("INFO", ["info", "warning", "error"]),
            ("WARNING", ["warning", "error"]),
            ("ERROR", ["error"]),
        ],
    )
    def test_level_says_what_is_written(self, started: Callable[..., Read], level: str, written: list[str]) -> None:
        """A level and all above it."""
        read = started("json", level)
        for name in ("debug", "info", "warning", "error"):
            getattr(structlog.get_logger(), name)("event")
        assert [json.loads(line)["level"] for line in read()] == written

    def test_bound_fields_come_along(self, started: Callable[..., Read]) -> None:
        """What a logger was bound to is in each of its lines."""
        read = started("json")
        structlog.get_logger().bind(session="s").info("event", n=1)
        assert json.loads(read()[0])["session"] == "s"


class TestLibraries:
    def test_warnings_of_libraries_come_without_their_arguments(self, started: Callable[..., Read]) -> None:
        """A library may quote what a peer sent: its format is written, its arguments and traceback are not."""
        read = started("json")
        error = ValueError("a peer's text")
        logging.getLogger("some.library").warning("cannot read %s", "s3cret", exc_info=error)
        (line,) = read()
        assert json.loads(line)["message"] == "cannot read %s"
        assert "s3cret" not in line
        assert "peer" not in line

    def test_chatter_of_libraries_is_left_out(self, started: Callable[..., Read]) -> None:
        """Below a warning they are not heard."""
        read = started("json")
        logging.getLogger("some.library").info("hello")
        assert read() == [""]


def test_lines_that_were_lost_are_said(started: Callable[..., Read], tmp_path: Path) -> None:
    """After a full disk a warning says how many lines are missing, in the form of all others."""
    started("json")
    reader, writer = os.pipe()
    os.close(reader)
    broken = LineSink(writer)
    configure_logging("json", "INFO", sink=broken)
    os.close(writer)
    assert broken.lost_line is not None
    said = json.loads(broken.lost_line(3))
    assert (said["level"], said["event"], said["lines"]) == ("warning", "log_lines_lost", 3)


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (1_800_000_000.9996, "2027-01-15T08:00:00.999Z")],
)
def test_timestamp_is_utc_with_milliseconds(unix_s: float, text: str) -> None:
    """Times in logs are UTC; milliseconds are cut, never rounded into the next second."""
    assert timestamp(unix_s) == text
