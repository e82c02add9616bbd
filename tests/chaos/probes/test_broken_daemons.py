"""Daemons that are broken on purpose: the questions about what is broken are answered wrong, and that is seen."""

import json
from typing import Any

import pytest

from chaos.probes import bad_input, crowd, handshake, keys, origin, planted, token
from chaos.probes.case import NotAskedError
from tests.chaos.probes.fakes import TOKEN, asked, fake_daemon, target_at


def held_by_name(probes: list[Any]) -> dict[str, bool]:
    """Return which questions were answered right."""
    return {probe.case: probe.held for probe in probes}


async def test_an_unchecked_origin_is_seen() -> None:
    """A daemon that lets every page in is caught by each foreign Origin and Host."""
    async with fake_daemon() as target:
        held = held_by_name(await asked(target, *origin.cases(target)))
    wrong = {name for name, right in held.items() if not right}
    assert {"Origin https://evil.example", "Origin null", "Host evil.example", "Origin http://localhost:1234"} <= wrong
    assert held["Host localhost, no Origin"]


async def test_a_prefix_as_token_is_seen() -> None:
    """A daemon that compares only the first characters is caught by the prefix."""
    async with fake_daemon(admits=lambda each: isinstance(each, str) and TOKEN.startswith(each)) as target:
        held = held_by_name(await asked(target, *token.cases(target)))
    assert not held["prefix of the token"]
    assert not held["empty token"]
    assert held["wrong token"]
    assert held["the very token"]


async def test_fast_guessing_is_seen() -> None:
    """A daemon that refuses at once is caught: whoever guesses there is not slowed."""
    async with fake_daemon() as target:
        [probe] = await asked(target, *token.guessing_cases(target))
    assert not probe.held


async def test_a_failed_rotation_that_sets_the_token_is_seen() -> None:
    """The new token counts though the rotation failed; afterwards the old one counts again."""
    tokens = [TOKEN]
    expected = {
        "rotation with a wrong old token": False,
        "rotation to an empty token": False,
        "rotation to a short token": False,
        "rotation": True,
    }

    def answers(frame: dict[str, Any]) -> list[dict[str, Any]]:
        if frame["op"] == "health":
            return [{"op": "health_res", "request_id": frame["request_id"]}]
        right = frame["old"] == tokens[0]
        tokens[0] = frame["new"]
        return [{"op": "rotate_token_res", "ok": right}]

    async with fake_daemon(admits=lambda each: each == tokens[0], answers=answers) as target:
        held = held_by_name(
            await asked(target, *(case for case in token.rotation_cases(target) if case.name in expected))
        )
    assert held == expected
    assert tokens == [TOKEN]


async def test_health_before_hello_is_seen() -> None:
    """A daemon that takes any first frame for a hello is caught."""
    async with fake_daemon(admits=lambda _: True, hasty=True) as target:
        held = held_by_name(await asked(target, *list(handshake.cases(target))[13:19]))
    assert held
    assert not any(held.values())


async def test_a_told_secret_is_seen() -> None:
    """A daemon that quotes what it was sent tells secrets."""

    def answers(frame: dict[str, Any]) -> list[dict[str, Any]]:
        answer = {"op": "health_res", "request_id": frame["request_id"], "message": json.dumps(frame)}
        ended = {"op": "call_tool_res", "request_id": frame["request_id"]}
        return [answer, ended] if frame["request_id"] == "first" else [answer]

    async with fake_daemon(answers=answers) as target:
        cases = [case for case in planted.cases(target) if "errors" in case.name]
        [probe] = await asked(target, *cases)
    assert not probe.held


async def test_silence_to_bad_frames_is_seen() -> None:
    """A daemon whose connection ends with a bad frame is caught, and the next question is put."""
    async with fake_daemon(answers=lambda _: [{"op": "health_res", "request_id": "neighbour"}]) as target:
        probes = await asked(target, *list(bad_input.cases(target))[:2])
    assert [probe.held for probe in probes] == [False, False]


async def test_a_foreign_daemon_whose_token_nobody_knows() -> None:
    """What needs a session cannot be asked there, and says so; nothing is taken for wrong."""
    async with fake_daemon() as known:
        target = target_at(known.port, token=None, embedded=False)
        probes = await asked(target, *keys.cases(target), *token.cases(target), *token.rotation_cases(target))
    assert {probe.seen for probe in probes} == {None}
    assert all(probe.why_not for probe in probes)


async def test_no_daemon_at_all() -> None:
    """Where nobody listens nothing can be asked."""
    async with fake_daemon() as gone:
        pass
    probes = await asked(gone, *list(bad_input.cases(gone))[:1], *list(origin.cases(gone))[:1])
    assert [probe.seen for probe in probes] == [None, None]


async def test_a_daemon_that_stands_every_crowd_is_seen() -> None:
    """Connections that say nothing must not be taken without an end."""
    async with fake_daemon() as target:
        seen = await crowd.crowded(target, within_s=60.0)
        assert not seen.held
        assert seen.text.startswith("none of 600 refused, then let in")


async def test_a_crowd_that_could_not_be_had_says_nothing() -> None:
    """Where the first are gone when the last come, nobody knows how many the daemon would stand."""
    async with fake_daemon() as target:
        with pytest.raises(NotAskedError, match="gone by then"):
            await crowd.crowded(target, within_s=0.0)


async def test_a_rotation_that_is_not_slowed_is_seen() -> None:
    """Whoever guesses the old token over one connection must be made to wait after a bad try."""

    def answers(frame: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"op": "rotate_token_res", "ok": frame["old"] == TOKEN}]

    async with fake_daemon(answers=answers) as target:
        cases = [case for case in token.rotation_cases(target) if "right after" in case.name]
        [probe] = await asked(target, *cases)
    assert not probe.held
