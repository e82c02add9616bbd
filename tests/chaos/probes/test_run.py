"""What is noted of a question, whatever becomes of it."""

import dataclasses

import pytest
from websockets.exceptions import ConnectionClosedError

from chaos.probes import run
from chaos.probes.case import NotAskedError, Seen
from chaos.probes.target import Target
from scenarios.events import AnyEvent, Lag, Probe
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


async def test_silence_is_asked_about_once_more() -> None:
    """A question without an answer gets another chance, and no third one: a hang must not take the whole stage."""
    left = [TimeoutError(), TimeoutError(), TimeoutError()]

    async def silent(_target: Target) -> Seen:
        raise left.pop()

    [probe] = await asked(NOWHERE, a_case(silent))
    assert (probe.seen, probe.held) == ("no answer", False)
    assert len(left) == 3 - run.UNANSWERED_TRIES


async def test_what_is_late_while_the_machine_stood_still_says_nothing() -> None:
    """The question counts as not put; a wrong answer that came in time is wrong, whatever the machine did."""
    noted: list[AnyEvent] = []
    asker = run.Asker(NOWHERE, noted.append, lambda: 0.0)

    async def late(_target: Target) -> Seen:
        asker.note_stall(Lag(at=0.0, wall_s=1.0))
        return Seen("late", held=False, late=True)

    async def wrong(_target: Target) -> Seen:
        asker.note_stall(Lag(at=0.0, wall_s=1.0))
        return Seen("wrong", held=False)

    await asker.ask_all([a_case(late), a_case(wrong)], at_once=1)
    first, second = (event for event in noted if isinstance(event, Probe))
    assert (first.seen, first.held) == (None, False)
    assert "stood still" in (first.why_not or "")
    assert (second.seen, second.held) == ("wrong", False)


async def test_only_what_is_wanted_is_asked() -> None:
    """A question about another rule is neither put nor noted."""
    noted: list[AnyEvent] = []
    ask, _ = answering(Seen("this", held=True))
    asker = run.Asker(dataclasses.replace(NOWHERE, rules=frozenset({"INV-07"})), noted.append, lambda: 0.0)
    other = dataclasses.replace(a_case(ask), rule="INV-07")
    await asker.ask_all([a_case(ask), other], at_once=1)
    assert [event.rule for event in noted if isinstance(event, Probe)] == ["INV-07"]
