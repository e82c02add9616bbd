"""Five hundred seeds: no rule is broken, nothing complains. `make explore SEEDS=10000` explores more of them."""

import pytest

from tests.explore.run import described, explore_chunk, main
from tests.explore.seeds import plan_of

SEEDS = 500
CHUNK = 25


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_seed_breaks_a_rule(first: int) -> None:
    """Whatever order, fault and delay a seed draws, every rule that a history can judge holds."""
    found = explore_chunk(first, CHUNK)
    assert found == [], "\n".join(f"python tests/explore --replay {each.seed}" for each in found)


def test_a_seed_is_a_plan() -> None:
    """A seed always means the same plan, and two seeds two plans."""
    assert plan_of(7) == plan_of(7)
    assert len({described(plan_of(seed)) for seed in range(50)}) == 50


def test_the_command_says_that_nothing_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Exploring without a finding ends with 0 and says how much was explored."""
    assert main(["--seeds", "2", "--workers", "1"]) == 0
    assert "2 seeds from 0: no finding" in capsys.readouterr().out
