"""The questions, put to the real daemon with its stub providers and to its shim: all are answered right."""

import sys
from pathlib import Path

from chaos.probes import Target, run_probes, search_logs
from chaos.protocol_stage import RULES
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, LogFinding, LogRead, Probe
from tests.processes import RunningDaemon, a_daemon

SCALE = 0.05
TOKEN = "gate-0123456789abcdef"
MAX_BYTES = 2**20
SETTINGS = {
    "EXAI_WS_TOKEN": TOKEN,
    "EXAI_TIME_SCALE": str(SCALE),
    "EXAI_WS_AUTOSTART": "false",
    "EXAI_WS_MAX_FRAME_BYTES": str(MAX_BYTES),
    "LOG_FORMAT": "json",
}


def target_of(daemon: RunningDaemon, clock: Clock, logs: Path) -> Target:
    """Return the daemon as what the questions are put to."""
    return Target(
        host="127.0.0.1",
        port=int(daemon.ready["port"]),
        token=TOKEN,
        embedded=True,
        hello_timeout_s=10.0,
        max_message_bytes=MAX_BYTES,
        clock=clock,
        shim_command=[sys.executable, "-m", "exai", "shim"],
        shim_environment=daemon.env,
        own_logs=logs,
    )


async def test_the_real_daemon_answers_right(tmp_path: Path) -> None:
    """Every question can be put, about every rule; every answer is right, and no log tells a secret."""
    clock, events, said = Clock(SCALE), list[AnyEvent](), list[str]()
    began_at = clock.now()
    logs = tmp_path / "logs"
    logs.mkdir()
    with a_daemon(tmp_path, {**SETTINGS, "EXAI_LOG_DIR": str(tmp_path / "logs")}) as daemon:
        await run_probes(
            target_of(daemon, clock, logs), note=events.append, since=lambda: clock.now() - began_at, say=said.append
        )
        assert daemon.running.process.poll() is None
    probes = [event for event in events if isinstance(event, Probe)]
    assert [f"{probe.rule} {probe.case}: {probe.seen or probe.why_not}" for probe in probes if not probe.held] == []
    assert {probe.rule for probe in probes} == set(RULES)
    assert said == [f"{len(probes)} of {len(probes)} questions answered as they should be; 0 could not be put"]
    log = tmp_path / "daemon.log"
    log.write_text("\n".join(daemon.running.lines))
    while not daemon.running._queue.empty():
        line = daemon.running._queue.get()
        if line is not None:
            log.write_text(log.read_text() + "\n" + line)
    found = list(search_logs([log, *(tmp_path / "logs").rglob("*.jsonl")], [TOKEN]))
    assert [each for each in found if isinstance(each, LogFinding)] == []
    assert any(isinstance(each, LogRead) for each in found)
