"""The stories of daemon and provider become events on the drill's own time."""

from pathlib import Path

import pytest

from chaos.collect import LogUnreadableError, daemon_events, provider_events
from scenarios.events import DaemonCall, Execution

ACCEPTED = (
    b'{"event":"accepted","at":1.0,"session":"s","tool":"analyze","provider":"GLM","kind":"expert","trace_id":"t",'
    b'"request_id":"r","call_key":"k","timeout_s":90.0,"clock_at":102.0,"explicit":true}\n'
)
FINISHED = (
    b'{"event":"finished","at":1.0,"session":"s","request_id":"r","outcome":"ok","status":200,"duration_s":40.0,'
    b'"clock_at":142.0,"client_there":false}\n'
)
START = (
    b'{"event":"start","at":103.0,"unix_s":1.0,"provider":"GLM","model":"m","tool":"analyze","trace_id":"t",'
    b'"span_id":null,"execution":1,"in_flight":1,"status":null,"latency_s":40.0}\n'
)


def written(folder: Path, content: bytes) -> Path:
    """Return a file with that content."""
    path = folder / "log.jsonl"
    path.write_bytes(content)
    return path


class TestDaemon:
    def test_moments_count_from_the_start_of_the_load(self, tmp_path: Path) -> None:
        """`at` is the daemon's clock less the start of the load; the boot is the one that was named."""
        assert daemon_events(written(tmp_path, ACCEPTED), start_at=100.0, boot=2) == [
            DaemonCall(
                at=2.0,
                what="admitted",
                request_id="r",
                session="s",
                trace_id="t",
                tool="analyze",
                provider="GLM",
                kind="expert",
                call_key_hash="k",
                timeout_s=90.0,
                boot=2,
            )
        ]

    def test_an_answer_without_work_is_a_stop_too(self, tmp_path: Path) -> None:
        """A call whose work has stopped when it is answered gives two events at one moment."""
        answered, stopped = daemon_events(written(tmp_path, FINISHED), start_at=100.0, boot=1)
        assert (answered.what, answered.at, answered.status, answered.client_there) == ("answered", 42.0, 200, False)
        assert (stopped.what, stopped.at, stopped.status, stopped.duration_s) == ("stopped", 42.0, None, None)

    def test_an_answer_before_the_end_of_the_work_is_no_stop(self, tmp_path: Path) -> None:
        """While the work goes on, the stop comes with an event of its own."""
        late = FINISHED.replace(b'"client_there":false', b'"working":true')
        stop = FINISHED.replace(b'"finished"', b'"stopped"').replace(b"142.0", b"150.0")
        events = daemon_events(written(tmp_path, late + stop), start_at=100.0, boot=1)
        assert [(event.what, event.at) for event in events] == [("answered", 42.0), ("stopped", 50.0)]

    def test_sessions_are_no_calls(self, tmp_path: Path) -> None:
        """Lines without a moment of the daemon's clock are about something else."""
        line = b'{"event":"session_opened","at":1.0,"session":"s"}\n'
        assert daemon_events(written(tmp_path, line), start_at=0.0, boot=1) == []

    def test_a_cut_last_line_is_left_out(self, tmp_path: Path) -> None:
        """A daemon that was killed while it wrote leaves half a line, and the story before it."""
        assert len(daemon_events(written(tmp_path, ACCEPTED + FINISHED[:40]), start_at=0.0, boot=1)) == 1

    def test_any_other_bad_line_is_named(self, tmp_path: Path) -> None:
        """A line in the middle that is none says that the file is not what it should be: which file, which line."""
        path = written(tmp_path, ACCEPTED + b"{nonsense\n" + FINISHED)
        with pytest.raises(LogUnreadableError, match=r"log\.jsonl, line 2: "):
            daemon_events(path, start_at=0.0, boot=1)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """Without the file there is no story, which is not the same as an empty one."""
        with pytest.raises(LogUnreadableError, match="No such file"):
            daemon_events(tmp_path / "log.jsonl", start_at=0.0, boot=1)


class TestProvider:
    def test_an_execution_is_told_on_the_drills_time(self, tmp_path: Path) -> None:
        """Start, provider, tool, trace and number of an execution are kept."""
        assert provider_events(written(tmp_path, START), start_at=100.0) == [
            Execution(
                at=3.0,
                what="start",
                provider="GLM",
                tool="analyze",
                trace_id="t",
                execution=1,
                in_flight=1,
                latency_s=40.0,
            )
        ]

    def test_canaries_are_left_out(self, tmp_path: Path) -> None:
        """What a canary asked is no part of the load."""
        canary = START.replace(b'"analyze"', b'"canary"')
        assert len(provider_events(written(tmp_path, canary + START), start_at=0.0)) == 1
