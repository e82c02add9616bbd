"""What the policy's errors say, and whose fault they are."""

import pytest

from reference_daemon.policy.errors import (
    ClockWentBackError,
    ConfigError,
    HarnessError,
    IllegalMoveError,
    PolicyError,
)


@pytest.mark.parametrize(
    ("error", "text", "exit_code"),
    [
        (ConfigError("EXAI_X", -1, "must be above 0"), "EXAI_X = -1: must be above 0", 2),
        (IllegalMoveError(7, "ended", "end"), "call 7 is ended: end is not allowed", 70),
        (ClockWentBackError(1.0, 2.0), "the clock went back from 2.0 to 1.0", 70),
        (HarnessError("no port"), "no port", 3),
    ],
)
def test_errors_name_their_facts(error: HarnessError, text: str, exit_code: int) -> None:
    """An error's text names the facts, and its class the exit status of the command that it ends."""
    assert str(error) == text
    assert error.exit_code == exit_code


def test_misuse_is_told_from_settings() -> None:
    """A broken contract is our fault, a setting the user's; both are errors of this project."""
    assert issubclass(IllegalMoveError, PolicyError)
    assert issubclass(ClockWentBackError, PolicyError)
    assert not issubclass(ConfigError, PolicyError)
