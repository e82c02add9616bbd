"""A run besides its calls and events: its conditions, which faults were active, and whether they bit.

Together with the history of calls this is all that a report needs, whichever body made the run.
"""

from dataclasses import dataclass, field

from scenarios.history import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProof:
    """What was seen of a fault, on the load's own connections or on the link that it names.

    Attributes:
        bit: Whether it did what it is for; None if nobody could see.
        healed: Whether it was gone after its removal; None if it is none that heals, or nobody could see.
        evidence: What was measured before, during and after it, for a person.
    """

    bit: bool | None
    healed: bool | None
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultWindow:
    """One fault of a run.

    Attributes:
        name: What the `faults` column of the calls calls it.
        title: The same for people, with its numbers.
        link: The link that it was put on; "daemon" for a signal, "provider:NAME" for a provider's mode.
        started_at: Moment from which it was active, in unscaled seconds since the start of the load.
        ended_at: Moment of its removal; None if the run ended before.
        proof: That it bit and healed; None in a simulation, where nothing can miss.
    """

    name: str
    title: str
    link: str
    started_at: float
    ended_at: float | None = None
    proof: FaultProof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is known of a run besides its calls.

    Attributes:
        scenario: Name of the scenario.
        title: What it shows, in words.
        body: What ran it.
        started_at: Start of the run by the wall clock, ISO 8601 in UTC.
        wall_s: How long it took on the wall, in seconds.
        time_scale: Wall seconds per second of the run.
        seed: Start of every source of chance.
        timeouts_s: The timeouts that were in force, in unscaled seconds, by what they limit.
        caps: The caps that were in force, by scope: "global", "session", "tool:analyze", "provider:GLM".
        settings: Settings that differ from the shipped ones.
        versions: Version of everything that took part, by name.
        faults: The faults, in the order of their start.
        schedule_lag_p99_s: How late the load driver was at the 99th percentile of its calls, in unscaled seconds; None
            if there was no schedule.
        not_carried: Parts of the scenario that this body does not carry, in words.
        target: The daemon that was judged: "embedded", or its address.
        defect: Name of the seeded defect in the daemon; None: none.
        stopped_by: Why the run ended before its end; None if it did not.
        doubts: The parts of `not_carried` that may change any result: with one, expectations are undecided.
    """

    scenario: str
    title: str
    body: Body
    started_at: str
    wall_s: float
    time_scale: float
    seed: int
    timeouts_s: dict[str, float]
    caps: dict[str, int] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    faults: tuple[FaultWindow, ...] = ()
    schedule_lag_p99_s: float | None = None
    not_carried: tuple[str, ...] = ()
    target: str = "embedded"
    defect: str | None = None
    stopped_by: str | None = None
    doubts: tuple[str, ...] = ()
