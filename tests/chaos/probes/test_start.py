"""What is judged of a start with wrong settings, and of what a shim's daemon inherits."""

import pytest

from chaos.probes.shim_child import EXIT_S, Held, judged
from chaos.probes.start import Start, _is_refused, cases
from tests.chaos.probes.fakes import asked, target_at

NOWHERE = target_at(9)


@pytest.mark.parametrize(
    ("status", "told", "held"),
    [
        (2, "exai: EXAI_WS_GLOBAL_MAX_INFLIGHT=0: must be at least 1", True),
        (2, "exai: EXAI_WS_SESSION_MAX_INFLIGHT=0: must be at least 1", False),
        (1, "exai: EXAI_WS_GLOBAL_MAX_INFLIGHT=0: must be at least 1", False),
        (-9, "", False),
        (2, "Traceback (most recent call last)\nEXAI_WS_GLOBAL_MAX_INFLIGHT", False),
        (2, "EXAI_WS_GLOBAL_MAX_INFLIGHT=0 GLM_API_KEY=pl4nted-key", False),
    ],
    ids=["refused", "another named", "another status", "it started", "traceback", "a secret told"],
)
async def test_a_start_that_is_refused(status: int, told: str, held: bool) -> None:
    """Only exit status 2 with the setting's name is right, and nothing else may be told."""
    start = Start({})
    start._ended = (status, told)
    assert (await _is_refused(NOWHERE, start=start, name="EXAI_WS_GLOBAL_MAX_INFLIGHT")).held is held


async def test_a_foreign_daemon_is_not_started() -> None:
    """Where nothing may be started the questions say so."""
    probes = await asked(NOWHERE, *cases(NOWHERE))
    assert {(probe.seen, probe.held) for probe in probes} == {(None, False)}


@pytest.mark.parametrize(
    ("seen", "held"),
    [
        (Held((), 0.1), True),
        (Held((), EXIT_S), True),
        (Held((), EXIT_S + 0.1), False),
        (Held((), None), False),
        (Held((5,), 0.1), False),
    ],
    ids=["nothing", "just in time", "late", "stdout stays open", "a pipe of the shim's"],
)
def test_what_the_child_inherits(seen: Held, held: bool) -> None:
    """It may hold none of the shim's pipes, and the shim's stdout must end with the shim."""
    assert judged(seen).held is held
