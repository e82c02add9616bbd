"""Daemons that are broken on purpose, as small as they can be."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from chaos.probes.case import Case, Seen
from chaos.probes.run import Asker
from chaos.probes.target import Target
from reference_daemon.clock import Clock
from scenarios.events import AnyEvent, Probe

TOKEN = "the-token-of-the-fake-daemon"
Admits = Callable[[Any], bool]
Answers = Callable[[dict[str, Any]], list[dict[str, Any]]]


def target_at(port: int, *, token: str | None = TOKEN, embedded: bool = True) -> Target:
    """Return a target on loopback."""
    return Target(
        host="127.0.0.1",
        port=port,
        token=token,
        embedded=embedded,
        hello_timeout_s=0.05,
        max_message_bytes=2**16,
        clock=Clock(0.05),
    )


@contextlib.asynccontextmanager
async def fake_daemon(
    *, admits: Admits = lambda token: token == TOKEN, answers: Answers = lambda _: [], hasty: bool = False
) -> AsyncIterator[Target]:
    """Run a daemon that checks neither Origin nor Host, and answers as it is told to; a hasty one closes at once."""

    async def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            hello = json.loads(await connection.recv())
            if not admits(hello.get("token")):
                await connection.send(json.dumps({"op": "hello_ack", "ok": False, "error": "unauthorized"}))
                await connection.close(4003)
                return
            await connection.send(json.dumps({"op": "hello_ack", "ok": True, "session_id": "s"}))
            if hasty:
                return
            async for message in connection:
                for answer in answers(json.loads(message)):
                    await connection.send(json.dumps(answer))

    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        yield target_at(server.sockets[0].getsockname()[1])


async def asked(target: Target, *cases: Case) -> list[Probe]:
    """Put questions one after another; return what was noted."""
    noted: list[AnyEvent] = []
    await Asker(target, noted.append, lambda: 0.0).ask_all(cases, at_once=1)
    probes = [event for event in noted if isinstance(event, Probe)]
    assert len(probes) == len(cases)
    return probes


def a_case(ask: Callable[[Target], Any], *, why_not: str | None = None) -> Case:
    """Return a question."""
    return Case("INV-30", "a question", "an answer", ask, why_not)


def answering(*seen: Seen) -> tuple[Callable[[Target], Any], list[Seen]]:
    """Return a question that is answered with these in turn, and what is left of them."""
    left = list(seen)

    async def ask(_target: Target) -> Seen:
        return left.pop(0)

    return ask, left
