"""What is found in logs, and that a finding does not tell the secret on."""

from pathlib import Path

import pytest

from chaos.probes.case import MARKER
from chaos.probes.logs import search_logs
from scenarios.events import LogFinding, LogRead

SECRET = "s3cret-token"
BAD = [
    ('{"level":"error","event":"x"}', "error"),
    ("2026-01-01 [error    ] it broke", "error"),
    ("Traceback (most recent call last):", "traceback"),
    ('{"level":"error","event":"asyncio","text":"Task exception was never retrieved"}', "never_retrieved"),
    ("Task was destroyed but it is pending!", "pending_destroyed"),
    ('{"level":"warning","event":"watchdog_silent"}', "watchdog"),
    (f'{{"level":"info","token":"{SECRET}"}}', "secret"),
    (f'{{"level":"info","prompt":"{MARKER}-x"}}', "secret"),
]


@pytest.mark.parametrize(("line", "what"), BAD, ids=[line[:30] for line, _ in BAD])
def test_a_bad_line_is_found(tmp_path: Path, line: str, what: str) -> None:
    """Each is found once, with its file and line; the log counts as read."""
    log = tmp_path / "daemon.log"
    log.write_text(f'{{"level":"info","event":"errors","error":"none"}}\n{line}\n')
    finding, read = search_logs([log], [SECRET])
    assert isinstance(finding, LogFinding)
    assert (finding.file, finding.line, finding.what) == ("daemon.log", 2, what)
    assert SECRET not in finding.text
    assert MARKER not in finding.text
    assert read == LogRead(at=0.0, file="daemon.log", lines=2, secrets=2)


def test_a_log_that_is_not_there_was_not_read(tmp_path: Path) -> None:
    """No finding in a log that cannot be read means nothing, so it is not said to be read."""
    assert list(search_logs([tmp_path / "none.log"], [SECRET])) == []


def test_an_empty_secret_is_not_everywhere(tmp_path: Path) -> None:
    """A secret that is empty is none."""
    log = tmp_path / "daemon.log"
    log.write_text("fine\n")
    assert list(search_logs([log], [""])) == [LogRead(at=0.0, file="daemon.log", lines=1, secrets=1)]
