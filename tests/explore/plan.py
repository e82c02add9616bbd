"""A plan: what a seed makes happen, as a list of steps that can be printed, shortened and run again.

A step says all that it needs, so that any part of a list is a plan, too. Moments are virtual seconds from the start.
"""

from dataclasses import dataclass
from typing import Literal

Ending = Literal["ok", "fails", "limited", "nonsense", "hangs", "stubborn"]
"""What the provider does: answer, 500, 429, nonsense, nothing at all, or go on though it was cancelled."""

Question = Literal["tools", "rotate", "rotate_wrong", "rotate_short", "prefix", "case", "origin", "host"]
"""The tools; a rotation that succeeds, one with a wrong token, one to a token too short; a hello with half a token, or
with the token in capitals; a way in from a web page, and under a foreign name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The conditions of a run; the settings in seconds and slots.

    Attributes:
        total: The global cap.
        session: The cap of a session.
        analyze: The cap of the tool `analyze`.
        testgen: The cap of the tool `testgen`.
        glm: The cap of the provider GLM.
        kimi: The cap of the provider KIMI.
        call_s: The daemon's ceiling for a call.
        expert_s: Budget of the expert's request.
        beat_s: Interval of heartbeats.
        inflight_ttl_s: How long a key in flight is fresh; None: by what was seen.
        result_ttl_s: How long a result is kept.
        results: How many results are kept at most.
        grace_s: What calls in flight get when the daemon is told to end.
        advice: How `retry_after` is found.
        client_s: How long the shim waits for a call.
        delay_s: A piece takes up to this on the network, but for the witness.
        slices: Whether the network cuts pieces smaller.
        wild: Whether the order of all callbacks of a turn is drawn.
    """

    total: int = 4
    session: int = 3
    analyze: int = 2
    testgen: int = 2
    glm: int = 2
    kimi: int = 2
    call_s: float = 40.0
    expert_s: float = 20.0
    beat_s: float = 4.0
    inflight_ttl_s: float | None = None
    result_ttl_s: float = 300.0
    results: int = 10_000
    grace_s: float = 15.0
    advice: str = "appointment"
    client_s: float = 60.0
    delay_s: float = 0.0
    slices: bool = False
    wild: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A client calls a tool.

    Attributes:
        at: When.
        n: Number of the step: its trace_id is made from it.
        client: Who.
        tool: The tool.
        work: Number of the work: equal for the same arguments.
        key: Number of the explicit key; None for a fresh one.
        derive: Whether no key is sent.
        takes_s: How long the provider takes.
        ending: What the provider does.
        timeout_s: How long the client waits.
        attempt_s: How long it waits for one attempt; None: as long as for the call.
        cancel_s: After how long it cancels; None: never.
        request: Of a raw client: number of its request_id.
    """

    at: float
    n: int
    client: str
    tool: str = "chat"
    work: int = 0
    key: int | None = None
    derive: bool = False
    takes_s: float = 5.0
    ending: Ending = "ok"
    timeout_s: float = 60.0
    attempt_s: float | None = None
    cancel_s: float | None = None
    request: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """A raw client asks for the answer of the execution that holds a key."""

    at: float
    client: str
    request: int
    key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A raw client cancels a request of its own, or of another raw client.

    Attributes:
        at: When.
        client: Who.
        request: Number of the request.
        owner: Whose request it is; "" for the client's own.
    """

    at: float
    client: str
    request: int
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A client asks for the tools, for a rotation of the token, or to be let in as it must not be."""

    at: float
    client: str
    what: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A client's connections break.

    Attributes:
        at: When.
        client: Whose.
        seen_by: Who sees it: both ends, or only the daemon's (`up`) or the client's (`down`).
    """

    at: float
    client: str
    seen_by: Literal["both", "up", "down"] = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutAtPiece:
    """A client's connection breaks at a piece, the `after`-th from now that goes that way; half of it may pass."""

    at: float
    client: str
    way: Literal["up", "down"]
    after: int
    part: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StandStill:
    """Nothing passes on a client's connections for a while."""

    at: float
    client: str
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowReader:
    """A client reads nothing for a while."""

    at: float
    client: str
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanish:
    """A client crashes; its calls are nobody's. One of the same name comes back with its next call."""

    at: float
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """The daemon is told to end, or killed; it starts again when it has been down for a while."""

    at: float
    how: Literal["SIGTERM", "SIGKILL"]
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WallStep:
    """Somebody sets the wall clock."""

    at: float
    by_s: float


Step = Call | Attach | Cancel | Ask | Cut | CutAtPiece | StandStill | SlowReader | Vanish | Restart | WallStep


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a run.

    Attributes:
        seed: Draws the order of what has none, delays, ids and jitter.
        setup: The conditions.
        steps: The steps.
    """

    seed: int
    setup: Setup
    steps: tuple[Step, ...]
