"""A run can be made again: in this process and in another one, whatever is hashed how."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.defects import applied
from tests.explore.plan import Call, Cut, Plan, Setup, WallStep
from tests.explore.run import broken_rule, described, replay
from tests.explore.seeds import plan_of
from tests.explore.shrink import shrink
from tests.explore.verdict import examine
from tests.explore.world import World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 48)


def digest_of(seed: int) -> str:
    """Return the digest of a seed's history."""
    return World(plan_of(seed)).happen().digest


def test_a_seed_goes_the_same_way_each_time() -> None:
    """Two runs of a seed have the same history, event by event; two seeds have two."""
    first = [digest_of(seed) for seed in SEEDS]
    assert [digest_of(seed) for seed in SEEDS] == first
    assert len(set(first)) == len(SEEDS)


@pytest.mark.slow  # a process starts and imports everything
def test_a_seed_goes_the_same_way_in_another_process() -> None:
    """Where objects lie in memory and how strings are hashed changes nothing: a finding of CI is found here, too."""
    code = (
        "import runpy, sys; runpy.run_path('tests/explore/__main__.py', run_name='there')\n"
        f"from tests.explore.test_replay import digest_of\nprint([digest_of(seed) for seed in {SEEDS}])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == str([digest_of(seed) for seed in SEEDS])


def test_a_finding_is_shrunk_to_the_steps_that_matter() -> None:
    """Of twelve steps the one that breaks the rule is left, its fields at their defaults where they do not matter."""
    with applied("heartbeats-stop"):
        calls = [Call(at=float(n), n=n, client="ben", tool="version", work=n) for n in range(10)]
        guilty = Call(at=3.0, n=11, client="anna", takes_s=20.0, timeout_s=90.0, key=1)
        plan = Plan(1, Setup(wild=True, slices=True), (*calls[:5], guilty, *calls[5:], Cut(at=9.0, client="ben")))
        shortest = shrink(plan, lambda each: broken_rule(each, "INV-19"))
    assert shortest == Plan(1, Setup(), (Call(at=3.0, n=11, client="anna", takes_s=20.0),))


def test_a_replay_prints_the_shortest_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """What a replay prints is Python that makes the plan, the rule, and the command to see it again."""
    with applied("heartbeats-stop"):
        seed = next(seed for seed in range(40) if broken_rule(plan_of(seed), "INV-19"))
    assert replay(seed, "heartbeats-stop")
    said = capsys.readouterr().out
    assert f"seed {seed} breaks INV-19" in said
    assert f"again: python tests/explore --replay {seed} --defect heartbeats-stop" in said
    shown = said[said.index("Plan(") : said.index("again:")]
    names = {"Plan": Plan, "Setup": Setup, "Call": Call}
    assert described(eval(shown, names)) == shown.strip()  # noqa: S307 - it is our own output


def test_setting_the_wall_clock_changes_nothing() -> None:
    """An hour forward or back, in the middle of calls: the history is the same event by event."""
    calls = tuple(Call(at=float(n), n=n, client="anna", work=n, takes_s=12.0) for n in range(3))
    for by_s in (3600.0, -3600.0):
        plan = Plan(5, Setup(), (*calls[:2], WallStep(at=1.5, by_s=by_s), *calls[2:]))
        assert examine(plan) == []
