"""The one schema of what happened: a row per logical call, whichever body ran it, kept as Parquet.

A logical call is what a user asked for: all its attempts, waits and reconnects are one row. Durations are
unscaled seconds; moments are unscaled seconds since the start of the load. A value that nobody saw is null,
never zero: a call without `finished_at` never ended as far as its client knows.
"""

import dataclasses
import enum
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq


class Body(enum.StrEnum):
    """What ran the call."""

    REAL = "real"
    SIMULATED = "simulated"


class Outcome(enum.StrEnum):
    """How a logical call ended for its client. `unknown`: it may have run; nobody can tell from here."""

    OK = "ok"
    REPLAYED = "replayed"
    OVER_CAPACITY = "over_capacity"
    DUPLICATE = "duplicate"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    PROVIDER_ERROR = "provider_error"
    CONNECTION_LOST = "connection_lost"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"
    KEY_REUSED = "key_reused"
    DRAINING = "draining"
    INTERRUPTED = "interrupted"
    ERROR = "error"

    @property
    def succeeded(self) -> bool:
        """Whether the client got the answer that it asked for."""
        return self is Outcome.OK or self is Outcome.REPLAYED


class TimeoutLayer(enum.StrEnum):
    """Whose patience ended first when a call timed out."""

    CLIENT = "client"
    SHIM = "shim"
    DAEMON = "daemon"
    STEP = "step"
    EXPERT = "expert"
    WEB = "web"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds; its type stands beside it.

    Attributes:
        unit: "s", "1" for a count, empty for what has none.
        meaning: What a value says, and what null says.
    """

    unit: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One logical call. Each column's unit and meaning stand beside it, and are written into the file.

    `latency_s` counts from `intended_at`, not from `sent_at`: a driver or a client that starts late must not
    make the daemon look fast.
    """

    body: Annotated[Body, Column("", "what ran the call: the real daemon or the simulator")]
    scenario: Annotated[str, Column("", "name of the scenario")]
    phase: Annotated[str, Column("", "name of the load phase that the call belongs to")]
    session: Annotated[str, Column("", "the client's label of its session")]
    tool: Annotated[str, Column("", "name of the tool")]
    provider: Annotated[str | None, Column("", "provider that answered; null if none was called or nobody said")]
    model: Annotated[str | None, Column("", "model that answered; null if none was called or nobody said")]
    expert: Annotated[bool, Column("", "whether the call asked for the expert phase")]
    call_key_hash: Annotated[str | None, Column("", "first 12 hex digits of the SHA-256 of the call key")]
    trace_id: Annotated[str, Column("", "32 hex digits that the call has in every log")]
    request_id: Annotated[str | None, Column("", "id of the last attempt's request; null if none was sent")]
    attempts: Annotated[int, Column("1", "times that the call was sent")]
    intended_at: Annotated[float, Column("s", "moment at which the call should have started")]
    sent_at: Annotated[float | None, Column("s", "moment of the first attempt; null if none was sent")]
    acked_at: Annotated[float | None, Column("s", "moment of admission as the client saw it; null if never admitted")]
    finished_at: Annotated[float | None, Column("s", "moment of the final answer; null if the call never ended")]
    outcome: Annotated[Outcome, Column("", "how the call ended for its client")]
    status: Annotated[int | None, Column("", "status of the error; null without an error")]
    timeout_layer: Annotated[TimeoutLayer | None, Column("", "who gave up first; null if nobody did")]
    latency_s: Annotated[float | None, Column("s", "from the intended start to the final answer; null if never ended")]
    service_s: Annotated[float | None, Column("s", "duration as the daemon measured it; null if it did not say")]
    retry_wait_s: Annotated[float, Column("s", "time spent waiting between attempts")]
    first_heartbeat_s: Annotated[float | None, Column("s", "from admission to the first heartbeat; null without one")]
    max_heartbeat_gap_s: Annotated[
        float | None,
        Column("s", "longest silence between admission, heartbeats and final answer; null if never admitted"),
    ]
    faults: Annotated[tuple[str, ...], Column("", "names of the faults that were active while it ran")]


_ARROW_TYPES: Final = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
}
"""Arrow type of each annotation; enumerations are written as their values."""


def _arrow_field(name: str, annotation: Any) -> pa.Field:
    kind, column = typing.get_args(annotation)
    nullable = isinstance(kind, types.UnionType)
    if nullable:
        (kind,) = (member for member in typing.get_args(kind) if member is not types.NoneType)
    arrow_type = _ARROW_TYPES.get(kind, pa.string())
    return pa.field(name, arrow_type, nullable=nullable, metadata=dataclasses.asdict(column))


SCHEMA: Final = pa.schema(
    [_arrow_field(name, hint) for name, hint in typing.get_type_hints(Call, include_extras=True).items()]
)
"""The columns of `Call` in their order, with `unit` and `meaning` as metadata of each."""


def write_calls(path: Path, calls: Iterable[Call]) -> None:
    """Write a history, which may be empty; readers see the old file or the whole new one, never a part.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    names = SCHEMA.names
    rows = [{name: getattr(call, name) for name in names} for call in calls]
    part = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), part)
        os.replace(part, path)  # noqa: PTH105 - Path.replace is the same call; the pair reads as one step
    finally:
        part.unlink(missing_ok=True)


def read_calls(path: Path) -> list[Call]:
    """Read a history.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no Parquet file, or its columns are not those of `SCHEMA`.
    """
    with pq.ParquetFile(path) as file:
        if not file.schema_arrow.equals(SCHEMA):
            raise ValueError(f"{path.name}: its columns are not those of a history of calls")
        # In small batches, and column by column: rows as dictionaries would take several times a history's size.
        batches = file.iter_batches(batch_size=_BATCH, use_threads=False)
        calls = [call for batch in batches for call in _calls(batch)]
    pa.default_memory_pool().release_unused()  # what is left of the file would stay in memory beside the calls
    return calls


_BATCH: Final = 8192
"""Rows that are decoded at a time."""


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "body": Body,
    "outcome": Outcome,
    "timeout_layer": TimeoutLayer,
}
"""How the words of a column become its values again, where they are not strings."""


def _calls(batch: pa.RecordBatch) -> Iterator[Call]:
    """Turn rows back into calls."""
    names = SCHEMA.names
    columns = [_values(name, batch.column(name)) for name in names]
    return (Call(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))


def _values(name: str, column: pa.Array) -> list[Any]:
    """Return a column's values; equal words are one object, since most columns have few different ones."""
    if pa.types.is_list(column.type):
        known: dict[tuple[str, ...], tuple[str, ...]] = {}
        return [known.setdefault(words, words) for words in map(tuple, column.to_pylist())]
    if not pa.types.is_string(column.type):
        values: list[Any] = column.to_pylist()
        return values
    encoded = column.dictionary_encode()
    read = _READ.get(name, str)
    words = [read(word) for word in encoded.dictionary.to_pylist()]
    return [None if place is None else words[place] for place in encoded.indices.to_pylist()]
