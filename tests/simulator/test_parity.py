"""The model's daemon is the daemon: one sequence of events gives the same decisions in both, call by call."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_daemon.policy.events import Fence
from reference_daemon.settings import Settings
from simulator.model.daemon import DaemonModel
from simulator.model.heartbeats import heard
from tests.simulator.parity import SETTINGS, a_script, by_the_model, by_the_shell

ADVICE = ("appointment", "residual", "fixed:3")
SEEDS = range(24)


def the_settings(advice: str, **changes: object) -> Settings:
    """Return settings under which caps, TTLs and graces are met within minutes."""
    return Settings.model_validate({**SETTINGS, "EXAI_WS_RETRY_AFTER": advice, **changes})


@pytest.mark.parametrize("seed", SEEDS)
def test_both_bodies_decide_alike(seed: int) -> None:
    """Admitted or refused, code, scope, advice, replay, end, and the moment of each are the same to the last bit."""
    script, chosen = a_script(seed), the_settings(ADVICE[seed % len(ADVICE)])
    real, (model, _) = by_the_shell(script, chosen), by_the_model(script, chosen)
    assert {request: seen for request, seen in model.seen.items() if seen} == real.seen
    assert model.left == real.left == (0, {}, 0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 120), st.sampled_from(ADVICE), st.sampled_from([None, 5, 90]))
def test_both_bodies_decide_alike_whatever_happens(seed: int, length: int, advice: str, ttl: float | None) -> None:
    """The same with scripts of any length, and with keys that lapse soon, late, or as the durations say."""
    script, chosen = a_script(seed, length), the_settings(advice, EXAI_WS_INFLIGHT_TTL_SECS=ttl)
    real, (model, _) = by_the_shell(script, chosen), by_the_model(script, chosen)
    assert {request: seen for request, seen in model.seen.items() if seen} == real.seen


def test_the_scripts_meet_every_rule() -> None:
    """The comparison is not about nothing: each kind of decision comes in several scripts."""
    codes: Counter[object] = Counter()
    for seed in SEEDS:
        seen = by_the_model(a_script(seed), the_settings(ADVICE[seed % len(ADVICE)]))[0].seen
        lines = [line for lines in seen.values() for line in lines if len(line) > 2]
        codes.update(
            {line[1] for line in lines} | {line[4] for line in lines} | {"replayed" for line in lines if line[5]}
        )
    expected = {
        None, "replayed", "OVER_CAPACITY", "DUPLICATE", "KEY_REUSED", "SUPERSEDED", "CANCELLED", "DRAINING", "TIMEOUT",
        "INTERRUPTED", "PROVIDER_ERROR", "UNKNOWN_CALL", "EXPERT_TIMEOUT",
        "session", "global", "tool:analyze", "tool:chat", "provider:GLM", "provider:KIMI",
    }  # fmt: skip
    assert {code for code, scripts in codes.items() if scripts > 1} >= expected - {"EXPERT_TIMEOUT", "GONE"}


class _KeepsTheOwner(DaemonModel):
    """Does not fence the owner of a lapsed key."""

    def _fence(self, fence: Fence) -> None:
        """Do nothing."""


class _IsPatient(DaemonModel):
    """Lets calls be late by a second."""

    def late(self, live: Any) -> None:
        """Look again a second later."""
        if self._time.now < live.admit.deadline_at + 1.0:
            live.timer = self._time.call_at(live.admit.deadline_at + 1.0, live.late)
        else:
            super().late(live)


class _IsGenerous(DaemonModel):
    """Has one slot more than it was told."""

    def __init__(self, config: Any, *more: Any) -> None:
        """Take the settings, and add a slot."""
        super().__init__(config, *more)
        self._policy._pools.total.cap += 1


class _KeepsNothing(DaemonModel):
    """Never replays a result."""

    def call(self, arrived: Any, draw: float, waiter: Any) -> None:
        """Forget every result first."""
        self._policy._keys._done.clear()
        super().call(arrived, draw, waiter)


@pytest.mark.parametrize("mutant", [_KeepsTheOwner, _IsPatient, _IsGenerous, _KeepsNothing])
def test_a_model_of_its_own_mind_is_found_out(mutant: type[DaemonModel]) -> None:
    """The comparison can fail: a model that departs from the daemon in one thing differs in some script, or breaks."""

    def differs(seed: int) -> bool:
        script, chosen = a_script(seed), the_settings(ADVICE[0])
        real = by_the_shell(script, chosen)
        try:
            model, _ = by_the_model(script, chosen, mutant)
        except (KeyError, AssertionError):
            return True
        return {request: seen for request, seen in model.seen.items() if seen} != real.seen or model.left != real.left

    assert any(differs(seed) for seed in SEEDS)


def test_heartbeats_come_when_the_model_says() -> None:
    """First heartbeat and longest silence of each call that was admitted and answered are the shell's."""
    compared = 0
    for seed in range(6):
        real = by_the_shell(a_script(seed), the_settings(ADVICE[0]))
        for request, lines in real.seen.items():
            acks = [float(str(line[0])) for line in lines if line[1] == "ack"]
            if len(acks) != 1 or len(lines) != 2:
                continue
            finished_at = float(str(lines[1][0]))
            beats = real.beats.get(request, [])
            signs = [*acks, *beats, finished_at]
            first_s = beats[0] - acks[0] if beats else None
            assert heard(acks[0], finished_at, 5.0) == (first_s, max(b - a for a, b in pairwise(signs)))
            compared += 1
    assert compared > 50
