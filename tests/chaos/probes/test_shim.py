"""What is judged of a shim's story."""

from typing import Any

import pytest

from chaos.probes import shim
from chaos.probes.shim import Story
from chaos.probes.target import Target
from tests.chaos.probes.fakes import target_at


def an_answer(request_id: object, text: str = "fine", **result: Any) -> dict[str, Any]:
    """Return a tool's result."""
    return {"jsonrpc": "2.0", "id": request_id, "result": {"content": [{"type": "text", "text": text}], **result}}


def progress(value: float, token: str = shim._PROGRESS_TOKEN) -> dict[str, Any]:
    """Return a notification of progress."""
    params = {"progressToken": token, "progress": value}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def a_good_story() -> Story:
    """Return one in which everything is right."""
    calls = [an_answer(number, f"nonce:own{number}" if number % 2 else "0.1") for number in range(6, 0, -1)]
    return Story([*calls, progress(1), progress(2.5), an_answer("loud")], exit_s=0.2, exit_code=0)


def test_a_good_story() -> None:
    """Each judgement holds."""
    story = a_good_story()
    assert all(judge(story).held for judge in (shim.parallel, shim.clean, shim.ended, shim.quiet, shim.loud))


def test_another_s_answer() -> None:
    """A call that got the answer of another one is seen, and so is one that got none, two, or an error."""
    for place, wrong in (
        (5, an_answer(1, "nonce:own3")),
        (5, an_answer(2)),
        (5, an_answer(1, "")),
        (5, an_answer(1, isError=True)),
    ):
        story = a_good_story()
        story.messages[place] = wrong
        assert not shim.parallel(story).held


def test_dirt_on_stdout() -> None:
    """A log line on stdout is seen, and so is JSON that is no JSON-RPC; so is silence."""
    for line in (b"starting\n", b'{"level":"info"}\n', b"[]\n"):
        story = a_good_story()
        story.take(line)
        assert not shim.clean(story).held
    assert not shim.clean(Story()).held


def test_progress_that_is_wrong() -> None:
    """Progress that stands still, comes after the response, never comes, or was not asked for is seen."""
    still, after, unasked = a_good_story(), a_good_story(), a_good_story()
    still.messages.insert(7, progress(1))
    after.messages.append(progress(3))
    unasked.messages.insert(0, progress(1, "another"))
    never = Story([said for said in a_good_story().messages if "method" not in said])
    assert not any(shim.loud(story).held for story in (still, after, never))
    assert not shim.quiet(unasked).held


def test_an_error_that_looks_like_success() -> None:
    """An error is flagged and says something; an empty success is neither."""
    for said, held in (
        (an_answer("wrong", "step: missing", isError=True), True),
        (an_answer("wrong", "", isError=True), False),
        (an_answer("wrong"), False),
        (an_answer("wrong", ""), False),
        ({"jsonrpc": "2.0", "id": "wrong", "error": {"code": -32602, "message": "no"}}, True),
    ):
        assert shim.is_error(Story([said]), request_id="wrong").held is held
    assert not shim.is_error(Story(), request_id="wrong").held


def test_one_that_does_not_end() -> None:
    """A shim that stays is seen; one that takes its time is asked once more before that counts."""
    assert shim.ended(Story(exit_s=None))[1:] == (False, False)
    assert shim.ended(Story(exit_s=2.5, exit_code=0))[1:] == (False, True)
    assert shim.ended(Story(exit_s=2.0, exit_code=0))[1:] == (True, False)


async def test_a_story_that_was_late_happens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saw the shim end late starts another one; whoever saw nothing late shares the one that there was."""
    stories = [Story(exit_s=2.5, exit_code=0), Story(exit_s=0.1, exit_code=0)]

    async def live(_target: Target) -> Story:
        return stories.pop(0)

    monkeypatch.setattr(shim, "live_through", live)
    teller = shim.Teller()
    seen = [await shim._ask(target_at(9), teller=teller, judge=shim.ended) for _ in range(3)]
    assert [each.held for each in seen] == [False, True, True]
