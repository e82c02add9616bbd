"""One connection of a client: how it begins, what has one answer, and what is left of it when it fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from reference_daemon import channel, wire
from reference_daemon.channel import (
    Channel,
    ConnectionLostError,
    DaemonUnreachableError,
    HelloRefusedError,
    NoAnswerError,
    open_channel,
)
from reference_daemon.client import DaemonClient
from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError
from tests.client.scripted import ScriptedDaemon

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def a_server(script: Script) -> AsyncIterator[str]:
    """Run a plain WebSocket server that does as `script` says; yield its URL."""
    async with serve(script, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def opened(url: str, clock: Clock | None = None) -> Channel:
    """Open a channel."""
    return await open_channel(url, clock if clock is not None else Clock(), token="t", label="test")


class TestHello:
    async def test_names_token_and_label(self) -> None:
        """The hello carries what the daemon needs; its answer names session and boot."""
        hellos: asyncio.Queue[object] = asyncio.Queue()

        async def script(connection: ServerConnection) -> None:
            hellos.put_nowait(await connection.recv())
            await connection.send('{"op":"hello_ack","ok":true,"session_id":"s1","boot_id":"b1","more":1}')
            await connection.wait_closed()

        async with a_server(script) as url:
            opened_channel = await opened(url)
            assert (opened_channel.session_id, opened_channel.boot_id) == ("s1", "b1")
            await opened_channel.close()
        assert await hellos.get() == '{"op":"hello","token":"t","session_id":"test","client":null}'

    async def test_refusal_names_its_code(self) -> None:
        """A daemon that does not let us in says why, and a person reads what to do."""

        async def script(connection: ServerConnection) -> None:
            await connection.recv()
            await connection.send('{"op":"hello_ack","ok":false,"error":"unauthorized"}')
            await connection.close(4003)

        async with a_server(script) as url:
            with pytest.raises(HelloRefusedError) as refused:
                await opened(url)
        assert refused.value.code == "unauthorized"
        assert "EXAI_WS_TOKEN" in str(refused.value)

    @pytest.mark.parametrize(
        "answer", ["{", "[]", '{"op":"hello_ack"}', '{"op":"error","code":"x","status":1,"message":""}']
    )
    async def test_nonsense_is_no_daemon(self, answer: str) -> None:
        """What answers a hello with something else is no daemon, and its connection is closed."""
        closed = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            await connection.recv()
            await connection.send(answer)
            await connection.wait_closed()
            closed.set()

        async with a_server(script) as url:
            with pytest.raises(DaemonUnreachableError, match="answers no hello"):
                await opened(url)
            await closed.wait()

    async def test_silence_ends_in_time_and_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that never answers the hello is given up, and the connection to it is closed."""
        monkeypatch.setattr(channel, "LEAST_OPEN_TIMEOUT_WALL_S", 0.3)
        closed = asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            await connection.wait_closed()
            closed.set()

        async with a_server(script) as url:
            with pytest.raises(DaemonUnreachableError, match=r"no answer within 0\.3 s"):
                await opened(url, Clock(0.001))
            await closed.wait()

    async def test_cancelled_hello_leaves_nothing(self) -> None:
        """A client that is cancelled while it waits for the hello's answer closes the connection."""
        said, closed = asyncio.Event(), asyncio.Event()

        async def script(connection: ServerConnection) -> None:
            await connection.recv()
            said.set()
            await connection.wait_closed()
            closed.set()

        async with a_server(script) as url:
            opening = asyncio.create_task(opened(url))
            await said.wait()
            opening.cancel()
            await asyncio.wait([opening])
            assert opening.cancelled()
            await closed.wait()

    async def test_server_that_hangs_up_is_no_daemon(self) -> None:
        """A connection that ends before the hello's answer is told as unreachable."""

        async def script(connection: ServerConnection) -> None:
            await connection.close(1013)

        async with a_server(script) as url:
            with pytest.raises(DaemonUnreachableError):
                await opened(url)

    async def test_other_protocols_are_no_daemon(self) -> None:
        """A server that speaks no WebSocket is told in one line."""

        async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP\r\n")
            writer.close()

        async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
            with pytest.raises(DaemonUnreachableError) as failed:
                await opened(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "\n" not in str(failed.value)

    async def test_nobody_there_is_said_plainly(self) -> None:
        """A port where nothing listens is told without the words of the operating system."""
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
        with pytest.raises(DaemonUnreachableError) as failed:
            await opened(f"ws://127.0.0.1:{port}")
        reason = "nothing listens there; `exai daemon` starts one"
        assert str(failed.value) == f"no daemon at ws://127.0.0.1:{port}: {reason}"

    @pytest.mark.parametrize("url", ["foo", "ws://", "http://h:1", "ws://h:99999", "ws://[::1", "ws://h:x"])
    async def test_what_is_no_address_is_wrong_usage(self, url: str) -> None:
        """A URL that cannot be a daemon's is refused before anything is tried, with status 2."""
        with pytest.raises(ConfigError, match="ws://HOST:PORT") as refused:
            DaemonClient(url, clock=Clock())
        assert refused.value.exit_code == 2


@pytest.mark.looptime
class TestQuestions:
    async def test_answers_come_in_the_order_of_questions(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """Two `health` at once each get their own answer."""
        questions = [asyncio.create_task(client.health()) for _ in range(2)]
        await daemon.until(wire.Health, 2)
        daemon.links[0].answer(wire.HealthResult(ok=True, health={"n": 1}), wire.HealthResult(ok=True, health={"n": 2}))
        assert [await question for question in questions] == [{"n": 1}, {"n": 2}]

    async def test_silent_daemon_is_told(self, client: DaemonClient, daemon: ScriptedDaemon, clock: Clock) -> None:
        """What is answered at once by a healthy daemon is not waited for longer than 10 s."""
        with pytest.raises(NoAnswerError, match="10 s"):
            await client.health()
        assert clock.now() == 10.0

    async def test_late_answer_goes_to_its_own_question(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """The answer to a question that was given up is not taken for the answer to the next."""
        with pytest.raises(NoAnswerError):
            await client.health()
        second = asyncio.create_task(client.health())
        await daemon.until(wire.Health, 2)
        daemon.links[0].answer(wire.HealthResult(ok=True, health={"n": 1}), wire.HealthResult(ok=True, health={"n": 2}))
        assert await second == {"n": 2}

    async def test_lost_connection_is_told(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A question whose connection ends is not asked again."""
        question = asyncio.create_task(client.list_tools())
        await daemon.until(wire.ListTools)
        daemon.links[0].abort()
        with pytest.raises(ConnectionLostError):
            await question

    async def test_next_question_makes_a_new_connection(self, client: DaemonClient, daemon: ScriptedDaemon) -> None:
        """A client whose connection was lost connects anew when it is asked for something."""
        daemon.links[0].abort()
        await asyncio.sleep(0.0)
        question = asyncio.create_task(client.health())
        await daemon.until(wire.Health)
        daemon.links[1].answer(wire.HealthResult(ok=True, health={}))
        assert await question == {}

    @pytest.mark.parametrize("error", [None, "unauthorized"])
    async def test_rotation_is_known_to_the_client(
        self, client: DaemonClient, daemon: ScriptedDaemon, error: str | None
    ) -> None:
        """A token that was replaced is the one of the next hello; a failed rotation changes nothing."""
        rotation = asyncio.create_task(client.rotate_token("old", "new"))
        await daemon.until(wire.RotateToken)
        daemon.links[0].answer(wire.RotateTokenResult(ok=error is None, error=error))
        assert await rotation == error
        assert client._connector.token == (None if error else "new")
