"""The questions to the reference client: the client as it is answers right, a broken one is caught by its rule."""

import pytest

from chaos.defects import DEFECTS, applied
from chaos.probes import callers
from tests.chaos.probes.fakes import asked, target_at

NOWHERE = target_at(9)

BROKEN = [
    "four-attempts",
    "retries-422",
    "retries-a-timeout",
    "retries-without-time",
    "retries-below-retry-after",
    "takes-nonsense",
    "new-key-on-reconnect",
    "boot-ignored",
]


async def test_the_client_as_it_is_answers_right() -> None:
    """No answer makes it do what it must not."""
    probes = await asked(NOWHERE, *callers.cases(NOWHERE))
    assert [f"{probe.rule} {probe.case}: {probe.seen}" for probe in probes if not probe.held] == []


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_client_is_caught(name: str) -> None:
    """A seeded defect of the client is seen by a question about the very rule that it breaks."""
    rule = DEFECTS[name].rule
    with applied(name):
        probes = await asked(NOWHERE, *(case for case in callers.cases(NOWHERE) if case.rule == rule))
    assert any(probe.seen is not None and not probe.held for probe in probes)


async def test_clients_without_jitter_are_caught() -> None:
    """Those who come back at the same moment did not draw; those who drew are spread."""
    [drawn] = await asked(NOWHERE, *callers.jitter_cases(NOWHERE))
    with applied("retries-without-jitter"):
        [same] = await asked(NOWHERE, *callers.jitter_cases(NOWHERE))
    assert (drawn.held, same.held) == (True, False)
