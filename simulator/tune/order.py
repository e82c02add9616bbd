"""What is to be tuned, and how hard."""

from dataclasses import dataclass

from scenarios.model import Scenario
from simulator.model.settings import ModelSettings
from simulator.tune.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be tuned, and how hard.

    Attributes:
        scenario: The load.
        start: The settings that changes come from: the scenario's own, and those of --env-file.
        trials: Points that are tried.
        replications: Of each trial; the choice takes twice, the proof four times as many.
        seed: Start of all chance.
        limits: What must be kept.
        patience: Whether the clients' timeout may change.
        warm_up_s: Calls that were meant to start before this moment are left out.
        command: With which it can be ordered again.
    """

    scenario: Scenario
    start: ModelSettings
    trials: int
    replications: int
    seed: int
    limits: Limits
    patience: bool = False
    warm_up_s: float = 0.0
    command: str = "exai tune"
