"""Who may come in: the hello, and what may come before it."""

import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from reference_daemon import door
from tests.daemon.conftest import House
from tests.daemon.raw_client import open_raw

TOKEN = "correct horse battery staple"


class TestAccepted:
    async def test_ack_names_session_boot_and_protocol(self, house: House) -> None:
        """An accepted hello is answered with a session id, the daemon's boot id and the protocol's version."""
        daemon = await house.start()
        client = await house.enter(daemon)
        session_id = client.hello_ack.pop("session_id")
        assert session_id
        assert client.hello_ack == {"op": "hello_ack", "ok": True, "boot_id": daemon.boot_id, "protocol": 1}

    async def test_client_s_session_id_is_only_a_label(self, house: House) -> None:
        """Two clients with the same session_id get sessions of their own, with ids that the daemon chose."""
        daemon = await house.start()
        hello = {"session_id": "mine", "client": {"name": "shim", "version": "1"}, "unknown": [1]}
        ids = {(await house.enter(daemon, hello)).hello_ack["session_id"] for _ in range(2)}
        assert len(ids) == 2
        assert "mine" not in ids

    async def test_boot_id_is_new_at_every_start(self, house: House) -> None:
        """Two daemons never have the same boot id: a client can tell that its daemon was started anew."""
        assert (await house.start()).boot_id != (await house.start()).boot_id

    async def test_second_hello_is_a_bad_request(self, house: House) -> None:
        """A hello in a session is refused, and the session goes on."""
        client = await house.enter(await house.start())
        answer = await client.ask({"op": "hello"})
        assert (answer["op"], answer["code"], answer["status"], answer["field"]) == ("error", "BAD_REQUEST", 400, "op")
        assert (await client.health())["sessions"] == 1

    async def test_a_hello_that_comes_in_fragments_is_one(self, house: House) -> None:
        """A hello may come byte by byte, as long as it comes in time."""
        client = await house.dial(await house.start())
        await client.connection.send(iter('{"op":"hello"}'))
        assert (await client.receive())["ok"] is True


REFUSED: list[tuple[str, Any, str, int]] = [
    ("empty", "", "invalid_hello", 4000),
    ("not JSON", "hello", "invalid_hello", 4000),
    ("truncated", '{"op":"hello"', "invalid_hello", 4000),
    ("two documents", '{"op":"hello"}{"op":"hello"}', "invalid_hello", 4000),
    ("BOM", '\ufeff{"op":"hello"}', "invalid_hello", 4000),
    ("array", "[]", "invalid_hello", 4000),
    ("number", "5", "invalid_hello", 4000),
    ("null", "null", "invalid_hello", 4000),
    ("string", '"hello"', "invalid_hello", 4000),
    ("NaN", '{"op":"hello","token":NaN}', "invalid_hello", 4000),
    ("deep", '{"op":"hello","x":' + "[" * 30_000 + "]" * 30_000 + "}", "invalid_hello", 4000),
    ("binary", b'{"op":"hello"}', "invalid_hello", 4000),
    ("no op", "{}", "invalid_hello", 4000),
    ("op of a wrong type", '{"op":5}', "invalid_hello", 4000),
    ("token of a wrong type", '{"op":"hello","token":["x"]}', "invalid_hello", 4000),
    ("another op", '{"op":"health"}', "missing_hello", 4001),
    ("a call", '{"op":"call_tool","request_id":"r","name":"echo"}', "missing_hello", 4001),
    ("unknown op", '{"op":"xyzzy"}', "missing_hello", 4001),
    ("a broken call", '{"op":"call_tool"}', "missing_hello", 4001),
]


class TestRefused:
    @pytest.mark.parametrize(
        ("message", "error", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
    )
    async def test_first_frame_that_is_no_hello(self, house: House, message: Any, error: str, code: int) -> None:
        """What is no hello gets one answer that says so and nothing else, and the connection closes."""
        daemon = await house.start()
        client = await house.dial(daemon)
        assert await client.ask(message) == {"op": "hello_ack", "ok": False, "error": error}
        assert await client.close_code() == code
        assert (await (await house.enter(daemon)).health())["sessions"] == 1

    async def test_silence(self, house: House) -> None:
        """Who says nothing within EXAI_WS_HELLO_TIMEOUT is sent away."""
        client = await house.dial(await house.start(EXAI_WS_HELLO_TIMEOUT=0.05))
        assert await client.receive() == {"op": "hello_ack", "ok": False, "error": "hello_timeout"}
        assert await client.close_code() == 4002

    async def test_hello_that_is_never_finished(self, house: House) -> None:
        """A hello whose fragments go on for ever ends with the hello timeout."""
        client = await house.dial(await house.start(EXAI_WS_HELLO_TIMEOUT=0.05))

        async def for_ever() -> Any:
            yield "{"
            while True:
                await asyncio.sleep(0.01)  # the pace of a slow client, no synchronisation
                yield " "

        sending = asyncio.create_task(client.connection.send(for_ever()))
        assert await client.close_code() == 4002
        with pytest.raises(Exception, match="4002"):
            await sending

    async def test_too_many_sessions(self, house: House) -> None:
        """One session more than EXAI_WS_MAX_SESSIONS is refused; when one has ended there is room again."""
        daemon = await house.start(EXAI_WS_MAX_SESSIONS=2)
        first, _ = await house.enter(daemon), await house.enter(daemon)
        third = await house.dial(daemon)
        assert await third.ask({"op": "hello"}) == {"op": "hello_ack", "ok": False, "error": "too_many_sessions"}
        assert await third.close_code() == 4029
        await first.connection.close()
        await house.enter(daemon)

    @pytest.mark.parametrize("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1])
    async def test_first_frame_has_64_kib_at_most(self, house: House, size: int) -> None:
        """A hello of 64 KiB is read; of one byte more the connection closes with 1009, and nothing is said."""
        client = await house.dial(await house.start())
        hello = '{"op":"hello"}'.ljust(size)
        if size <= 64 * 1024:
            assert (await client.ask(hello))["ok"] is True
        else:
            await client.send(hello)
            assert await client.close_code() == 1009

    async def test_strangers_are_few(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """Connections that have not said hello are bounded; one that says it makes room."""
        monkeypatch.setattr(door, "MAX_STRANGERS", 2)
        daemon = await house.start()
        strangers = [await house.dial(daemon) for _ in range(2)]
        with pytest.raises(InvalidStatus) as refused:
            await open_raw(daemon.port)
        assert refused.value.response.status_code == 503
        await strangers[0].ask({"op": "hello"})
        await house.dial(daemon)


WRONG_TOKENS: list[tuple[str, Any]] = [
    ("wrong", "wrong"),
    ("prefix", TOKEN[:-1]),
    ("longer", TOKEN + "x"),
    ("other case", TOKEN.upper()),
    ("null", None),
    ("empty", ""),
    ("non-ASCII", "corréct hörse battery stäple"),
    ("60 KB", "x" * 60_000),
]


class TestToken:
    async def test_the_token_lets_in(self, house: House) -> None:
        """Who has the token comes in."""
        await house.enter(await house.start(EXAI_WS_TOKEN=TOKEN), {"token": TOKEN})

    @pytest.mark.parametrize("token", [row[1] for row in WRONG_TOKENS], ids=[row[0] for row in WRONG_TOKENS])
    async def test_any_other_does_not(self, house: House, token: Any) -> None:
        """Only the very token lets in, and a refusal tells nothing about it."""
        client = await house.dial(await house.start(EXAI_WS_TOKEN=TOKEN))
        assert await client.ask({"op": "hello", "token": token}) == {
            "op": "hello_ack",
            "ok": False,
            "error": "unauthorized",
        }
        assert await client.close_code() == 4003

    async def test_hello_without_a_token(self, house: House) -> None:
        """Where a token is set, a hello without one is refused."""
        client = await house.dial(await house.start(EXAI_WS_TOKEN=TOKEN))
        assert (await client.ask({"op": "hello"}))["error"] == "unauthorized"
        assert await client.close_code() == 4003

    @pytest.mark.parametrize("token", [5, ["x"], {}], ids=["number", "list", "object"])
    async def test_token_of_a_wrong_type(self, house: House, token: Any) -> None:
        """A token that is no string makes the hello invalid."""
        client = await house.dial(await house.start(EXAI_WS_TOKEN=TOKEN))
        assert (await client.ask({"op": "hello", "token": token}))["error"] == "invalid_hello"
        assert await client.close_code() == 4000

    async def test_token_of_a_megabyte(self, house: House) -> None:
        """A token of 1 MB is not even read."""
        client = await house.dial(await house.start(EXAI_WS_TOKEN=TOKEN))
        await client.send(json.dumps({"op": "hello", "token": "x" * 1_000_000}))
        assert await client.close_code() == 1009

    async def test_guessing_is_slow_for_the_guesser_alone(self, house: House) -> None:
        """Bad tries are answered after 200 ms each; those who know the token come in meanwhile."""
        daemon = await house.start(EXAI_WS_TOKEN=TOKEN)
        guessers = [await house.dial(daemon) for _ in range(20)]
        for guesser in guessers:
            await guesser.send({"op": "hello", "token": "guess"})
        began_at = asyncio.get_running_loop().time()
        answers = [asyncio.create_task(guesser.receive()) for guesser in guessers]
        client = await house.enter(daemon, {"token": TOKEN})
        assert await client.health()
        assert not any(answer.done() for answer in answers)
        for answer in answers:
            assert (await answer)["error"] == "unauthorized"
        assert asyncio.get_running_loop().time() - began_at >= 0.19  # the loop's timers may be a tick early
