"""Thousands of messages that nobody should send: each gets one answer, and nobody else is harmed.

`make fuzz MESSAGES=100000` sends more of them.
"""

import pytest

from reference_daemon import dispatch, intake
from tests.explore.frames import SECRET
from tests.explore.fuzz import MESSAGES, fuzz, messages_of, shortest

RUNS = 40
CHUNK = 4


@pytest.mark.parametrize("first", range(0, RUNS, CHUNK))
def test_each_message_gets_one_answer(first: int) -> None:
    """One coded error or answer, with the request_id if one can be read; neighbours are served, logs are clean."""
    for seed in range(first, first + CHUNK):
        assert fuzz(messages_of(seed), seed) == [], f"python tests/explore --fuzz {MESSAGES} --first {seed}"


def test_the_same_seed_sends_the_same_messages() -> None:
    """What a seed sends never changes, and no two seeds send the same."""
    assert messages_of(3) == messages_of(3)
    assert len({tuple(messages_of(seed)) for seed in range(RUNS)}) == RUNS


def test_an_answer_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that swallows a frame without an op is found, and one message is enough to show it."""
    handle = dispatch.Dispatcher.handle

    def swallowing(self: dispatch.Dispatcher, message: str) -> None:
        if message != "{}":
            handle(self, message)

    monkeypatch.setattr(dispatch.Dispatcher, "handle", swallowing)
    messages = ['{"op":"list_tools"}', "{}", "null", *messages_of(1, 10)]
    assert shortest(messages, 1) == ["{}"]
    assert "0 answers" in fuzz(["{}"])[0]


def test_a_foreign_request_id_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that answers an unreadable frame without the request_id that could be read is found."""
    monkeypatch.setattr(dispatch, "_request_id_of", lambda message: None)
    assert "answered None instead of 'r-1'" in fuzz(['{"op":"attach","request_id":"r-1"}'])[0]


def test_a_secret_that_is_quoted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that quotes an argument in its error is found."""
    monkeypatch.setattr(intake.Intake, "_unknown_tool", lambda self, name: intake.error("TOOL_NOT_FOUND", name))
    sent = f'{{"op":"call_tool","request_id":"r-1","name":"{SECRET}"}}'
    assert "an error tells a secret" in fuzz([sent])[0]
