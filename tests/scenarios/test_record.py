"""A run as it is kept."""

from pathlib import Path

import pytest

from scenarios.events import AnyEvent, FaultMove, Lag
from scenarios.history import Body, write_calls
from scenarios.record import NoRecordError, encode_events, read_record
from scenarios.run import FaultProof, FaultWindow, Run

RUN = Run(
    scenario="small",
    title="Small",
    body=Body.REAL,
    started_at="2026-01-01T00:00:00Z",
    wall_s=1.5,
    time_scale=0.05,
    seed=7,
    timeouts_s={"call timeout": 180.0},
    faults=(
        FaultWindow(
            name="down",
            title="down",
            link="client-daemon",
            started_at=1.0,
            proof=FaultProof(bit=True, healed=None, evidence="x"),
        ),
    ),
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Run and events survive their file, in their order."""
    events: list[AnyEvent] = [Lag(at=1.0, wall_s=0.2), FaultMove(at=2.0, name="down", on=True, link="client-daemon")]
    (tmp_path / "events.jsonl").write_bytes(encode_events(RUN, events))
    write_calls(tmp_path / "calls.parquet", ())
    record = read_record(tmp_path)
    assert (record.run, list(record.events), list(record.calls)) == (RUN, events, [])


def test_broken_line_is_named(tmp_path: Path) -> None:
    """A line that is no event is told with its number."""
    (tmp_path / "events.jsonl").write_bytes(encode_events(RUN, [Lag(at=1.0, wall_s=0.2)]) + b'{"event":"never"}\n')
    with pytest.raises(NoRecordError, match="line 3"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"not json\n"])
def test_file_without_a_run_is_refused(tmp_path: Path, content: bytes) -> None:
    """The first line must be a run."""
    (tmp_path / "events.jsonl").write_bytes(content)
    with pytest.raises(NoRecordError, match="line 1"):
        read_record(tmp_path)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """A folder without events is no run directory."""
    with pytest.raises(NoRecordError, match=r"events\.jsonl"):
        read_record(tmp_path)
