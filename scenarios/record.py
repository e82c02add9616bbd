"""A run as it is kept: `calls.parquet`, and `events.jsonl` with the run itself in its first line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from scenarios.events import AnyEvent
from scenarios.history import Call, read_calls
from scenarios.run import Run

CALLS: Final = "calls.parquet"
EVENTS: Final = "events.jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of a run; everything else is made from it.

    Attributes:
        run: Its conditions.
        calls: Its logical calls.
        events: Its events, in the order of their moments.
    """

    run: Run
    calls: Sequence[Call]
    events: Sequence[AnyEvent]


class NoRecordError(ValueError):
    """A folder holds no run, or a broken one; its text names file and line."""


class _RunLine(msgspec.Struct, tag_field="event", tag="run"):
    """The first line."""

    run: Run


def encode_events(run: Run, events: Iterable[AnyEvent]) -> bytes:
    """Return the content of `events.jsonl`."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(line) + b"\n" for line in (_RunLine(run), *events))


def read_record(directory: Path) -> Record:
    """Read a run back.

    Raises:
        NoRecordError: The folder holds no run, or a broken one.
    """
    run, events = read_events(directory / EVENTS)
    try:
        calls = read_calls(directory / CALLS)
    except (OSError, ValueError) as error:
        raise NoRecordError(f"{directory / CALLS}: {error}") from error
    return Record(run, calls, events)


def read_events(path: Path) -> tuple[Run, list[AnyEvent]]:
    """Read the run and its events.

    Raises:
        NoRecordError: The file cannot be read, or a line is no event.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise NoRecordError(f"{path}: {error.strerror or error}") from error
    decoder = msgspec.json.Decoder(AnyEvent)
    number = 1
    try:
        run = msgspec.json.decode(lines[0] if lines else b"", type=_RunLine).run
        events: list[AnyEvent] = []
        for line in lines[1:]:
            number += 1  # for the message, should this line be none
            events.append(decoder.decode(line))
    except msgspec.MsgspecError as error:
        raise NoRecordError(f"{path}, line {number}: {error}") from error
    return run, events
