"""Small builders for histories written by hand: a good piece, with the given fields changed.

The runs made here have a time scale of 1, so that moments are wall seconds; tests of the scaling change it.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec

from scenarios.checks.context import History
from scenarios.checks.registry import Finding
from scenarios.events import (
    AnyEvent,
    Connection,
    DaemonCall,
    Event,
    Execution,
    FaultMove,
    Frame,
    HealthSeen,
    Lag,
    LogFinding,
    LogRead,
    Probe,
    ProcessMove,
)
from scenarios.history import Body, Call, Outcome
from scenarios.model import Scenario
from scenarios.record import Record
from scenarios.run import Run

TRACE = "0123456789abcdef0123456789abcdef"

A_RUN = Run(
    scenario="by-hand",
    title="A history written by hand",
    body=Body.REAL,
    started_at="2026-01-01T00:00:00Z",
    wall_s=100.0,
    time_scale=1.0,
    seed=7,
    timeouts_s={"heartbeat interval": 5.0, "call timeout": 180.0},
    caps={"global": 4, "session": 3, "tool:analyze": 2, "provider:GLM": 2},
)

A_CALL = Call(
    body=Body.REAL,
    scenario="by-hand",
    phase="steady",
    session="c-1",
    tool="analyze",
    provider="GLM",
    model="glm-4.6",
    expert=True,
    call_key_hash="0123456789ab",
    trace_id=TRACE,
    request_id="r-1",
    attempts=1,
    intended_at=0.0,
    sent_at=0.0,
    acked_at=0.01,
    finished_at=12.0,
    outcome=Outcome.OK,
    status=None,
    timeout_layer=None,
    latency_s=12.0,
    service_s=11.9,
    retry_wait_s=0.0,
    first_heartbeat_s=5.0,
    max_heartbeat_gap_s=5.0,
    faults=(),
)


def a_run(**changes: Any) -> Run:
    """Return a run with the given fields changed."""
    return dataclasses.replace(A_RUN, **changes)


def a_call(**changes: Any) -> Call:
    """Return a good call with the given columns changed."""
    return dataclasses.replace(A_CALL, **changes)


def record(*events: Event, calls: Iterable[Call] = (), **run_changes: Any) -> Record:
    """Return a record of these events and calls."""
    return Record(a_run(**run_changes), list(calls), cast("list[AnyEvent]", list(events)))


def history(*events: Event, calls: Iterable[Call] = (), **run_changes: Any) -> History:
    """Return the history of these events and calls."""
    return History(record(*events, calls=calls, **run_changes))


def broken(check: Callable[[History], Finding], run: History) -> int:
    """Return how many breaches a rule sees."""
    return len(check(run).violations)


def changed(event: Any, **changes: Any) -> Any:
    """Return an event with the given fields changed."""
    return msgspec.structs.replace(event, **changes)


def opened(at: float = -1.0, *, connection: int = 1, **fields: Any) -> Connection:
    """Return the opening of a witness's connection."""
    known: dict[str, Any] = {
        "client": f"c-{connection}",
        "session": f"s-{connection}",
        "boot_id": "b-1",
        "witness": True,
    }
    return Connection(at=at, connection=connection, what="opened", **(known | fields))


def ended(at: float, what: Any = "lost", *, connection: int = 1, **fields: Any) -> Connection:
    """Return a connection's end."""
    return Connection(at=at, connection=connection, what=what, **({"client": f"c-{connection}"} | fields))


def _frame(at: float, direction: Any, op: str, request_id: str | None, **fields: Any) -> Frame:
    connection = fields.pop("connection", 1)
    known = {"client": f"c-{connection}", "trace_id": TRACE}
    return Frame(at=at, connection=connection, direction=direction, op=op, request_id=request_id, **(known | fields))


def sent(at: float, op: str = "call_tool", request_id: str | None = "r-1", **fields: Any) -> Frame:
    """Return a frame that the client of connection 1 sent: a call of analyze."""
    known: dict[str, Any] = {}
    if op == "call_tool":
        known = {"name": "analyze", "call_key_hash": "k-1", "fingerprint": "f-1", "timeout_s": 180.0, "nonce": "n-1"}
    return _frame(at, "sent", op, request_id, **(known | fields))


def received(at: float, op: str = "call_tool_res", request_id: str | None = "r-1", **fields: Any) -> Frame:
    """Return a frame that the client of connection 1 received."""
    return _frame(at, "received", op, request_id, **fields)


def ack(at: float, request_id: str = "r-1", **fields: Any) -> Frame:
    """Return an admission."""
    return received(at, "call_tool_ack", request_id, **({"name": "analyze", "timeout_s": 180.0} | fields))


def heartbeat(at: float, elapsed_s: float | None = None, request_id: str = "r-1", **fields: Any) -> Frame:
    """Return a heartbeat; its elapsed time counts from moment 0 unless it is given."""
    elapsed = at if elapsed_s is None else elapsed_s
    known = {"name": "analyze", "elapsed_s": elapsed, "remaining_s": 180.0 - elapsed, "phase": "expert"}
    return received(at, "progress", request_id, **(known | fields))


def result(at: float, request_id: str = "r-1", **fields: Any) -> Frame:
    """Return a good terminal answer."""
    known = {"nonce": "n-1", "payload_hash": "p-1", "duration_s": at}
    return received(at, "call_tool_res", request_id, **(known | fields))


def refusal(at: float, request_id: str = "r-1", *, status: int = 429, **fields: Any) -> Frame:
    """Return a refusal: a 429 of the global cap, or another one."""
    known: dict[str, Any] = {"status": status, "code": {429: "OVER_CAPACITY", 409: "DUPLICATE"}.get(status, "ERROR")}
    if status == 429:
        known |= {"scope": "global", "limit": 4, "in_use": 4, "retry_after_s": 2.0}
    if status == 409:
        known |= {"original_request_id": "r-0", "retry_after_s": 2.0}
    return received(at, "call_tool_res", request_id, **(known | fields))


def exchange(start: float = 0.0, request_id: str = "r-1", *, length_s: float = 12.0, **fields: Any) -> list[Frame]:
    """Return the frames of a good call: sent, acked, heartbeats every 5 s, answered."""
    admitted = start + 0.01
    frames = [sent(start, request_id=request_id, **fields), ack(admitted, request_id, **fields)]
    beat = admitted + 5.0
    while beat < start + length_s:
        frames.append(heartbeat(beat, beat - admitted, request_id, **fields))
        beat += 5.0
    frames.append(result(start + length_s, request_id, duration_s=length_s - 0.01, **fields))
    return frames


def daemon_call(at: float, what: Any, request_id: str = "r-1", **fields: Any) -> DaemonCall:
    """Return a step of a call in the daemon's log: a call of analyze at GLM."""
    known: dict[str, Any] = {
        "session": "s-1",
        "trace_id": TRACE,
        "tool": "analyze",
        "provider": "GLM",
        "kind": "expert",
        "call_key_hash": "k-1",
    }
    if what == "admitted":
        known["timeout_s"] = 180.0
    if what == "answered":
        known |= {"outcome": "ok"}
    return DaemonCall(at=at, what=what, request_id=request_id, **(known | fields))


def execution(at: float, what: Any, number: int | None = 1, **fields: Any) -> Execution:
    """Return an event of execution `number` at GLM."""
    known = {"provider": "GLM", "tool": "analyze", "trace_id": TRACE}
    return Execution(at=at, what=what, execution=number, **(known | fields))


def health(at: float, *, took_s: float = 0.01, **fields: Any) -> HealthSeen:
    """Return an answer to health: nothing in flight."""
    return HealthSeen(at=at, asked_at=at - took_s, **({"total": 0, "total_cap": 4, "sessions": 1} | fields))


def probe(rule: str, *, held: bool = True, at: float = 0.0, **fields: Any) -> Probe:
    """Return a probe that held, or one that did not."""
    known = {"case": "a case", "expected": "refused", "seen": "refused" if held else "let in"}
    return Probe(at=at, rule=rule, held=held, **(known | fields))


def fault(name: str, start: float, end: float | None, link: str = "client-daemon", **fields: Any) -> list[FaultMove]:
    """Return a fault's moves: on, and off unless it never was."""
    moves = [FaultMove(at=start, name=name, on=True, link=link, **fields)]
    if end is not None:
        moves.append(FaultMove(at=end, name=name, on=False, link=link, **fields))
    return moves


def lag(at: float, wall_s: float = 0.5) -> Lag:
    """Return a stall that ended at `at`."""
    return Lag(at=at, wall_s=wall_s)


def process(at: float, what: Any, boot: int = 1, **fields: Any) -> ProcessMove:
    """Return something that happened to the daemon's process."""
    return ProcessMove(at=at, what=what, boot=boot, **fields)


def log_read(file: str = "daemon.log", *, secrets: int = 1, lines: int = 10) -> LogRead:
    """Return a log that was read."""
    return LogRead(at=100.0, file=file, lines=lines, secrets=secrets)


def log_finding(what: Any, file: str = "daemon.log") -> LogFinding:
    """Return something found in a log."""
    return LogFinding(at=100.0, file=file, line=3, what=what, text="a line")


def a_scenario(**changes: Any) -> Scenario:
    """Return a scenario: 100 s of steady load, which must succeed."""
    known: dict[str, Any] = {
        "name": "by-hand",
        "title": "A scenario written by hand",
        "providers": {"GLM": {"latency": {"constant": {"value": 10}}}},
        "load": [{"phase": "steady", "duration": 100, "arrivals": {"uniform": {"gap": 5}}, "mix": {"analyze": 1}}],
        "expect": [{"metric": "success_rate", "min": 0.9}],
    }
    return Scenario.model_validate(known | changes)
