"""What the questions are put to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reference_daemon.clock import Clock


@dataclass(frozen=True)
class Target:
    """A daemon that listens, and what is known of it.

    Attributes:
        host: Address that it listens on.
        port: Its port.
        token: The token that lets clients in; None: it has none, or nobody told us.
        embedded: Whether it was started for these questions, with settings that are known.
        hello_timeout_s: Seconds, unscaled, that it waits for a hello.
        max_message_bytes: Its limit of a frame after the hello.
        clock: Time of the drill.
        shim_command: How to start a shim for it; None: there is none to be had.
        shim_environment: The whole environment of that shim.
        rotate: Whether its token may be replaced; it is put back afterwards.
        own_logs: Existing folder for the logs of daemons that the probes start themselves; None: they start none.
        defect: Seeded defect of the daemon, which those are started with, too.
        rules: Rules that are to be asked about; None: all.
    """

    host: str
    port: int
    token: str | None
    embedded: bool
    hello_timeout_s: float
    max_message_bytes: int
    clock: Clock
    shim_command: Sequence[str] | None = None
    shim_environment: Mapping[str, str] = field(default_factory=dict)
    rotate: bool = True
    own_logs: Path | None = None
    defect: str | None = None
    rules: frozenset[str] | None = None
