"""What happened, event by event: the stories of clients, daemon and provider, merged on one clock.

`events.jsonl` of a run has one event a line, the run itself first (see `scenarios.record`). Moments (`at`) are unscaled
seconds since the start of the load; times the run's `time_scale`, a difference of two is wall seconds. All bodies of a
run live on one machine and read one monotonic clock, so their moments compare. Where a body's story is missing (a
foreign daemon keeps its log to itself), its events are missing, and rules that need them are undecided.
"""

from typing import Literal

import msgspec

CallStep = Literal["admitted", "refused", "answered", "stopped", "replayed"]
"""A step in the life of a call, see `DaemonCall`."""

ExecutionStep = Literal["start", "end", "cancelled", "refused"]
"""A step in the life of an execution, see `Execution`."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """One thing that happened.

    Attributes:
        at: When, in unscaled seconds since the start of the load; negative before it.
    """

    at: float


class Frame(Event, frozen=True, kw_only=True, omit_defaults=True, tag="frame", gc=False):
    """A frame that a client sent or received, as it saw it. Texts are kept as hashes only.

    A long run has millions of them; they hold no containers, so the garbage collector need not look at them.

    Attributes:
        client: Label of the client.
        connection: Number of its connection, from 1 over all clients of the load; the witness's go down from -1.
        direction: From the client's side.
        op: The frame's op; "?" if it could not be read.
        request_id: Of the request; None if the frame has none.
        trace_id: The same.
        name: Tool, of a `call_tool` or its ack and heartbeats.
        call_key_hash: First 12 hex digits of the SHA-256 of the call key that was sent.
        fingerprint: Hash of name and arguments that were sent: equal for the same work.
        timeout_s: Sent: what the client said that it waits. Received: the deadline that the ack names.
        code: Code of an error.
        status: Its status.
        scope: Of a 429.
        limit: Of a 429: the cap.
        in_use: Of a 429: slots in use.
        retry_after_s: Of a 429, 503 or 502.
        original_request_id: Of a 409.
        superseded_by: Of a 409 SUPERSEDED.
        elapsed_s: Of a heartbeat or a 504.
        remaining_s: Of a heartbeat.
        phase: Of a heartbeat or a 504.
        replayed: Of a result.
        duration_s: Of a result: how long it took in the daemon.
        nonce: Sent: the token in the work by which its result is known. Received: the one found in the result.
        payload_hash: Hash of a result's outputs, or of its error: equal for payloads that are equal byte for byte.
        summary: Of a result: whether its text ends with a CALL SUMMARY that names its trace_id; None if nobody looked.
        to_request_id: Of a `cancel` or an `attach`, if another than `request_id`.
    """

    client: str
    connection: int
    direction: Literal["sent", "received"]
    op: str
    request_id: str | None = None
    trace_id: str | None = None
    name: str | None = None
    call_key_hash: str | None = None
    fingerprint: str | None = None
    timeout_s: float | None = None
    code: str | None = None
    status: int | None = None
    scope: str | None = None
    limit: int | None = None
    in_use: int | None = None
    retry_after_s: float | None = None
    original_request_id: str | None = None
    superseded_by: str | None = None
    elapsed_s: float | None = None
    remaining_s: float | None = None
    phase: str | None = None
    replayed: bool = False
    duration_s: float | None = None
    nonce: str | None = None
    payload_hash: str | None = None
    summary: bool | None = None
    to_request_id: str | None = None


class Connection(Event, frozen=True, kw_only=True, omit_defaults=True, tag="connection"):
    """A client's connection opened (hello accepted) or ended.

    Attributes:
        client: Label of the client.
        connection: Its number.
        what: `opened`, `closed` by the client, or `lost`.
        session: Session id that the daemon gave.
        boot_id: The daemon's.
        witness: Whether the link has no proxy and no toxic: bounds in wall milliseconds are judged on these.
    """

    client: str
    connection: int
    what: Literal["opened", "closed", "lost"]
    session: str | None = None
    boot_id: str | None = None
    witness: bool = False


class DaemonCall(Event, frozen=True, kw_only=True, omit_defaults=True, tag="daemon_call"):
    """A step in the life of a call, from the daemon's own event log and stamped by it.

    Attributes:
        what: `admitted` (every slot held), `refused`, `answered` (its terminal was made), `stopped` (its work has
            stopped, slots and key are free; also for calls that were answered by it), `replayed`.
        request_id: Of the request.
        session: Session id.
        trace_id: Trace of the call.
        tool: Name of the tool.
        provider: Provider whose slot it holds; None if none.
        kind: step, expert, chat or local.
        call_key_hash: Hash of its key; None without one.
        explicit: Whether the client gave the key.
        timeout_s: The deadline that was set, from `admitted`.
        waits: Whether it took over a lapsed key and waits for its owner's work.
        outcome: Of `answered`.
        status: Of `answered` and `refused`.
        code: Of `refused`.
        scope: Of a refusal with 429.
        retry_after_s: Of a refusal.
        original_request_id: Of a refusal with 409.
        duration_s: Of `answered`.
        client_there: Of `answered`: whether somebody was there to get it.
        boot: Number of the daemon's start in this run, from 1.
    """

    what: CallStep
    request_id: str
    session: str
    trace_id: str | None = None
    tool: str | None = None
    provider: str | None = None
    kind: str | None = None
    call_key_hash: str | None = None
    explicit: bool = True
    timeout_s: float | None = None
    waits: bool = False
    outcome: str | None = None
    status: int | None = None
    code: str | None = None
    scope: str | None = None
    retry_after_s: float | None = None
    original_request_id: str | None = None
    duration_s: float | None = None
    client_there: bool = True
    boot: int = 1


class Execution(Event, frozen=True, kw_only=True, omit_defaults=True, tag="execution"):
    """What really ran at the stub provider, from its own log.

    Attributes:
        what: `start` and `end` of an execution, `cancelled` when the daemon went away first, `refused` when none
            began.
        provider: Name of the provider.
        tool: Tool that asked.
        trace_id: Trace of the call that asked; None if the request named none, or a malformed one.
        execution: Number of the execution; None if none began.
        in_flight: Executions of this provider after the event.
        status: HTTP status of `end` and `refused`.
        latency_s: How long it was to take (`start`), or took.
    """

    what: ExecutionStep
    provider: str
    tool: str | None = None
    trace_id: str | None = None
    execution: int | None = None
    in_flight: int = 0
    status: int | None = None
    latency_s: float | None = None


class FaultMove(Event, frozen=True, kw_only=True, omit_defaults=True, tag="fault"):
    """A fault was put on or taken off.

    Attributes:
        name: Name of the fault.
        on: Whether it was put on.
        link: Link that it is on; "" for the daemon itself or a provider.
        blinds: Providers whose executions nobody can count while it is on: their link is cut or a black hole.
    """

    name: str
    on: bool
    link: str = ""
    blinds: tuple[str, ...] = ()


class ProcessMove(Event, frozen=True, kw_only=True, omit_defaults=True, tag="process"):
    """The daemon's process was started, got a signal, or ended.

    Attributes:
        what: What happened.
        boot: Number of the daemon's start in this run, from 1.
        signal: Name of the signal.
        exit_code: Of an end: the exit status, negative for a signal.
        boot_id: Of a start: what the daemon calls it.
    """

    what: Literal["started", "signalled", "ended"]
    boot: int
    signal: str | None = None
    exit_code: int | None = None
    boot_id: str | None = None


class HealthSeen(Event, frozen=True, kw_only=True, omit_defaults=True, tag="health"):
    """An answer to `health`, on the witness's connection.

    Attributes:
        asked_at: When it was asked for; `at` is when the answer came.
        total: Calls in flight in the daemon.
        total_cap: The global cap.
        tools: In flight by tool.
        providers: In flight by provider.
        sessions: Sessions open.
        draining: Whether it is about to end.
        tasks: asyncio tasks of the daemon, if it says.
        descriptors: Open file descriptors of its process, if the drill could look.
        quiescent: Whether nothing was in flight any more, and the load is over.
    """

    asked_at: float
    total: int
    total_cap: int | None = None
    tools: dict[str, int] = {}
    providers: dict[str, int] = {}
    sessions: int = 0
    draining: bool = False
    tasks: int | None = None
    descriptors: int | None = None
    quiescent: bool = False


class Lag(Event, frozen=True, kw_only=True, omit_defaults=True, tag="lag"):
    """The machine stood still: an event loop woke late. Breaches of wall bounds near it are undecided.

    Attributes:
        wall_s: How late, in wall seconds.
        where: Whose loop.
    """

    wall_s: float
    where: str = "drill"


class Probe(Event, frozen=True, kw_only=True, omit_defaults=True, tag="probe"):
    """A question put to the daemon or the shim by a raw client, with the answer that is right and the one that came.

    Attributes:
        rule: The invariant that it is about.
        case: What was tried, for example "Origin https://evil".
        expected: The answer that is right.
        seen: The answer that came; None if the probe could not be made, which `why_not` explains.
        held: Whether `seen` is right.
        took_s: Wall seconds until the answer.
        why_not: Why the probe could not be made.
    """

    rule: str
    case: str
    expected: str
    seen: str | None = None
    held: bool = False
    took_s: float | None = None
    why_not: str | None = None


class LogFinding(Event, frozen=True, kw_only=True, omit_defaults=True, tag="log_finding"):
    """Something in a log of daemon, shim or provider that a healthy one does not write.

    Attributes:
        file: Name of the log.
        line: Number of the line, from 1.
        what: `error`, `traceback`, `never_retrieved`, `pending_destroyed`, `secret`, `watchdog`.
        text: The line, shortened, without the secret.
    """

    file: str
    line: int
    what: Literal["error", "traceback", "never_retrieved", "pending_destroyed", "secret", "watchdog"]
    text: str = ""


class LogRead(Event, frozen=True, kw_only=True, omit_defaults=True, tag="log_read"):
    """A log was read to its end and searched: without this, no finding means nothing.

    Attributes:
        file: Name of the log.
        lines: How many lines it has.
        secrets: How many planted secrets it was searched for.
    """

    file: str
    lines: int
    secrets: int = 0


AnyEvent = (
    Frame
    | Connection
    | DaemonCall
    | Execution
    | FaultMove
    | ProcessMove
    | HealthSeen
    | Lag
    | Probe
    | LogFinding
    | LogRead
)
