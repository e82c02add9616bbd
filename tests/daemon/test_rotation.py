"""The token is replaced as a whole or not at all, and open sessions stay."""

import json
from typing import Any

import pytest

from tests.daemon.conftest import House

OLD = "correct horse battery staple"
NEW = "a new token that nobody knows"
UNFIT = ["", "short", "x" * 1025, "line\nbreak that is long enough", "\x00" * 20]


def rotate(old: Any, new: Any, **more: Any) -> dict[str, Any]:
    """Return a `rotate_token`."""
    return {"op": "rotate_token", "old": old, "new": new, **more}


async def is_let_in(house: House, daemon: Any, token: str) -> bool:
    """Return whether a hello with `token` is accepted."""
    client = await house.dial(daemon)
    return bool((await client.ask({"op": "hello", "token": token}))["ok"])


async def test_the_old_token_is_refused_from_the_answer_on(house: House) -> None:
    """Once the rotation is answered, the new token lets in and the old one does not; open sessions stay."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    client, other = await house.enter(daemon, {"token": OLD}), await house.enter(daemon, {"token": OLD})
    answer = await client.ask(rotate(OLD, NEW, request_id="r"))
    assert answer == {"op": "rotate_token_res", "ok": True, "request_id": "r"}
    assert await is_let_in(house, daemon, NEW)
    assert not await is_let_in(house, daemon, OLD)
    assert (await client.health())["sessions"] == 3
    assert await other.health()


@pytest.mark.parametrize("old", ["wrong", "", OLD[:-1], OLD.upper()])
async def test_wrong_old_token_changes_nothing(house: House, old: str) -> None:
    """Who does not know the token cannot replace it, not even from within a session."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    client = await house.enter(daemon, {"token": OLD})
    assert await client.ask(rotate(old, NEW)) == {"op": "rotate_token_res", "ok": False, "error": "unauthorized"}
    assert not await is_let_in(house, daemon, NEW)
    assert await is_let_in(house, daemon, OLD)


@pytest.mark.parametrize("new", UNFIT)
async def test_unfit_new_token_changes_nothing(house: House, new: str) -> None:
    """A new token that is empty, short, huge or not printable is refused."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    client = await house.enter(daemon, {"token": OLD})
    assert await client.ask(rotate(OLD, new)) == {"op": "rotate_token_res", "ok": False, "error": "bad_new_token"}
    assert await is_let_in(house, daemon, OLD)


async def test_nothing_to_rotate_where_no_token_is_set(house: House) -> None:
    """A daemon without a token does not get one from whoever comes first."""
    client = await house.enter(await house.start())
    assert await client.ask(rotate("", NEW)) == {"op": "rotate_token_res", "ok": False, "error": "no_token_set"}


@pytest.mark.parametrize(
    ("frame", "field"), [(rotate(None, NEW), "old"), (rotate(OLD, 5), "new"), ({"op": "rotate_token"}, "old")]
)
async def test_fields_of_a_wrong_type(house: House, frame: dict[str, Any], field: str) -> None:
    """A rotation without its two texts is a bad request; the answer names the field and quotes no token."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    client = await house.enter(daemon, {"token": OLD})
    answer = await client.ask({**frame, "request_id": "r"})
    assert (answer["code"], answer["field"], answer["request_id"]) == ("BAD_REQUEST", field, "r")
    assert OLD not in json.dumps(answer)
    assert NEW not in json.dumps(answer)


async def test_of_a_hundred_at_once_one_wins(house: House) -> None:
    """Of many rotations with the same old token exactly one succeeds, and its token is the one that counts."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    clients = [await house.enter(daemon, {"token": OLD}) for _ in range(10)]
    for number in range(100):
        await clients[number % 10].send(rotate(OLD, f"{NEW} {number}", request_id=str(number)))
    answers = [await client.receive() for client in clients for _ in range(10)]
    won = [answer["request_id"] for answer in answers if answer["ok"]]
    assert len(won) == 1
    assert {answer["error"] for answer in answers if not answer["ok"]} == {"unauthorized", "too_many_tries"}
    assert await is_let_in(house, daemon, f"{NEW} {won[0]}")


async def test_bad_tries_are_slowed(house: House) -> None:
    """After a bad try the next ones in that session are refused unread, also a right one; another session's is not."""
    daemon = await house.start(EXAI_WS_TOKEN=OLD)
    guesser, owner = await house.enter(daemon, {"token": OLD}), await house.enter(daemon, {"token": OLD})
    await guesser.send(rotate("wrong", NEW))
    await guesser.send(rotate(OLD, NEW))
    assert [(await guesser.receive())["error"] for _ in range(2)] == ["unauthorized", "too_many_tries"]
    assert (await owner.ask(rotate(OLD, NEW)))["ok"] is True
