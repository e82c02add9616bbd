"""The history: what is written is read back, whole or not at all, by us and by pandas."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenarios.history import SCHEMA, Body, Call, Outcome, TimeoutLayer, read_calls, write_calls

MakeCall = Callable[..., Call]

COLUMNS = [
    "body",
    "scenario",
    "phase",
    "session",
    "tool",
    "provider",
    "model",
    "expert",
    "call_key_hash",
    "trace_id",
    "request_id",
    "attempts",
    "intended_at",
    "sent_at",
    "acked_at",
    "finished_at",
    "outcome",
    "status",
    "timeout_layer",
    "latency_s",
    "service_s",
    "retry_wait_s",
    "first_heartbeat_s",
    "max_heartbeat_gap_s",
    "faults",
]


def a_lost_call(a_call: MakeCall) -> Call:
    """Make a call that has null wherever null is allowed."""
    nullable = {field.name: None for field in SCHEMA if field.nullable}
    return a_call(outcome=Outcome.UNKNOWN, faults=("client-latency", "down"), **nullable)


class TestSchema:
    def test_has_exactly_these_columns_in_this_order(self) -> None:
        """The columns are a contract with every reader of old histories."""
        assert SCHEMA.names == COLUMNS

    def test_every_column_says_what_it_means(self) -> None:
        """A reader of the bare file finds unit and meaning of each column in it."""
        for column in SCHEMA:
            assert set(column.metadata) == {b"unit", b"meaning"}
            assert column.metadata[b"meaning"]

    @pytest.mark.parametrize("column", list(SCHEMA), ids=lambda column: column.name)
    def test_times_are_in_seconds(self, column: pa.Field) -> None:
        """A name that ends in `_s` or `_at` is a number of seconds."""
        if column.name.endswith(("_s", "_at")):
            assert column.type == pa.float64()
            assert column.metadata[b"unit"] == b"s"

    def test_what_is_always_known_cannot_be_null(self) -> None:
        """Tool, trace_id, intended start and outcome are known of every call, also of a lost one."""
        assert not any(SCHEMA.field(name).nullable for name in ("tool", "trace_id", "intended_at", "outcome"))


class TestFile:
    def test_calls_come_back_as_they_were(self, tmp_path: Path, a_call: MakeCall) -> None:
        """Enumerations, tuples and nulls survive the file."""
        late = a_call(body=Body.SIMULATED, outcome=Outcome.TIMEOUT, status=504, timeout_layer=TimeoutLayer.EXPERT)
        calls = [a_call(), a_lost_call(a_call), late]
        write_calls(tmp_path / "calls.parquet", calls)
        assert read_calls(tmp_path / "calls.parquet") == calls

    def test_an_empty_history_is_a_history(self, tmp_path: Path) -> None:
        """A run without a call leaves a file with all columns and no row."""
        write_calls(tmp_path / "calls.parquet", [])
        assert read_calls(tmp_path / "calls.parquet") == []
        assert list(pd.read_parquet(tmp_path / "calls.parquet").columns) == COLUMNS

    def test_pandas_reads_it(self, tmp_path: Path, a_call: MakeCall) -> None:
        """An outcome is a plain word there, a missing moment is missing, not zero."""
        write_calls(tmp_path / "calls.parquet", [a_call(), a_lost_call(a_call)])
        frame = pd.read_parquet(tmp_path / "calls.parquet")
        assert frame["outcome"].tolist() == ["ok", "unknown"]
        assert frame["finished_at"].isna().tolist() == [False, True]

    def test_the_same_calls_give_the_same_bytes(self, tmp_path: Path, a_call: MakeCall) -> None:
        """Nothing of the moment of writing enters the file."""
        for name in ("one", "two"):
            write_calls(tmp_path / name, [a_call()])
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()

    def test_a_failed_write_leaves_the_old_history(
        self, tmp_path: Path, a_call: MakeCall, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the disk is full, the history of before stands, and no part of the new one lies about."""
        write_calls(tmp_path / "calls.parquet", [a_call()])

        def full(table: pa.Table, path: Path) -> None:
            path.write_bytes(b"PAR1")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            write_calls(tmp_path / "calls.parquet", [])
        assert [path.name for path in tmp_path.iterdir()] == ["calls.parquet"]
        assert read_calls(tmp_path / "calls.parquet") == [a_call()]

    def test_a_foreign_table_is_refused(self, tmp_path: Path) -> None:
        """A Parquet file with other columns is no history, and its name is told."""
        pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
        with pytest.raises(ValueError, match=r"other\.parquet: its columns"):
            read_calls(tmp_path / "other.parquet")


@pytest.mark.parametrize("outcome", Outcome)
def test_only_an_answer_is_a_success(outcome: Outcome) -> None:
    """An answer, fresh or replayed, is a success; an unknown outcome is none."""
    assert outcome.succeeded == (outcome.value in {"ok", "replayed"})
