"""What is noted of a question, whatever becomes of it."""

import pytest
from websockets.exceptions import ConnectionClosedError

from chaos.probes import run
from chaos.probes.case import NotAskedError, Seen
from chaos.probes.target import Target
from tests.chaos.probes.fakes import a_case, answering, asked, target_at

NOWHERE = target_at(9)


async def test_an_answer_is_noted() -> None:
    """The rule, what was asked, what was expected, what was seen and how long it took."""
    ask, _ = answering(Seen("this", held=True))
    [probe] = await asked(NOWHERE, a_case(ask))
    assert (probe.rule, probe.case, probe.expected, probe.seen, probe.held) == (
        "INV-30",
        "a question",
        "an answer",
        "this",
        True,
    )
    assert probe.took_s is not None
    assert probe.why_not is None


async def test_what_cannot_be_asked_says_why() -> None:
    """A question that does not fit the target, and one whose surroundings failed, are noted without an answer."""
    ask, left = answering(Seen("this", held=True))

    async def fails(_target: Target) -> Seen:
        raise NotAskedError("no connection")

    probes = await asked(NOWHERE, a_case(ask, why_not="no shim"), a_case(fails))
    assert [(probe.seen, probe.held, probe.why_not) for probe in probes] == [
        (None, False, "no shim"),
        (None, False, "no connection"),
    ]
    assert len(left) == 1


@pytest.mark.parametrize("error", [KeyError("x"), TimeoutError(), ConnectionClosedError(None, None)])
async def test_one_that_fails_stops_no_other(error: Exception) -> None:
    """An exception is an answer, and not the right one; the next question is put."""
    ask, _ = answering(Seen("this", held=True))

    async def fails(_target: Target) -> Seen:
        raise error

    first, second = await asked(NOWHERE, a_case(fails), a_case(ask))
    assert first.seen
    assert not first.held
    assert second.held


async def test_a_late_answer_is_asked_for_again() -> None:
    """An answer that is wrong only by being late gets another chance; one that is late each time is wrong."""
    late, right = Seen("late", held=False, late=True), Seen("this", held=True)
    once, _ = answering(late, right)
    always, left = answering(*[late] * (run.TRIES + 1))
    first, second = await asked(NOWHERE, a_case(once), a_case(always))
    assert first.held
    assert not second.held
    assert len(left) == 1
