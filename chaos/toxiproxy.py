"""A Toxiproxy server of one's own, its proxies and toxics, for use from an event loop.

Wraps toxiproxy-python, which is synchronous, keeps the server's address in global state and cannot change a
toxic: so a process drives one server at a time, every call runs in a thread under one lock, and a changed
toxic is a new one.
"""

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import requests
import toxiproxy
import toxiproxy.api
import toxiproxy.exceptions

from chaos.processes import Child, Children, Command
from chaos.toxics import WireToxic
from reference_daemon.policy.errors import HarnessError

LOOPBACK: Final = "127.0.0.1"

_ANSWER_WITHIN_S: Final = 5.0
"""Wall seconds that the server may take for an answer; it answers in milliseconds."""

_START_WITHIN_S: Final = 10.0
"""Wall seconds until something must answer on the server's port."""

_START_ATTEMPTS: Final = 3
"""A port that was free can be taken by the time the server wants it; three times in a row is no accident."""

_LOOK_EVERY_S: Final = 0.02

_T = TypeVar("_T")

_LIBRARY_ERRORS: Final = (
    OSError,  # requests' own errors are OSErrors
    KeyError,  # an answer without the expected fields
    ValueError,  # an answer that is no JSON
    toxiproxy.exceptions.InvalidToxic,
    toxiproxy.exceptions.NotFound,
    toxiproxy.exceptions.ProxyExists,
)


class ToxiproxyFailedError(HarnessError):
    """The Toxiproxy server did not do what it was asked.

    Attributes:
        action: What it was asked.
        reason: What went wrong.
    """

    def __init__(self, action: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(action, reason)
        self.action, self.reason = action, reason

    def __str__(self) -> str:
        """Name what was asked and what went wrong."""
        return f"Toxiproxy: {self.action}: {self.reason}"


class _Loopback:
    """What toxiproxy-python gets in the place of `requests`.

    The library sets no timeout, so a stuck server would hang the drill, and lets `requests` read proxies from
    the environment, so the way to a loopback address could lead over another machine.
    """

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, **options: Any) -> requests.Response:
        return self._session.get(timeout=_ANSWER_WITHIN_S, **options)

    def post(self, **options: Any) -> requests.Response:
        return self._session.post(timeout=_ANSWER_WITHIN_S, **options)

    def delete(self, **options: Any) -> requests.Response:
        return self._session.delete(timeout=_ANSWER_WITHIN_S, **options)


class Proxy:
    """One proxied link; made by `ToxiproxyServer.proxy`.

    Attributes:
        port: Loopback port on which it listens.
    """

    def __init__(self, server: "ToxiproxyServer", proxy: Any, port: int) -> None:
        self._server = server
        self._proxy = proxy
        self.port = port

    async def add(self, toxic: WireToxic) -> str:
        """Put a toxic on; return the name under which it is removed.

        Raises:
            ToxiproxyFailedError: The server does not list the toxic afterwards.
        """
        name = f"{toxic.kind}-{toxic.stream}-{secrets.token_hex(3)}"

        def add() -> bool:
            self._proxy.add_toxic(
                name=name,
                type=toxic.kind,
                stream=toxic.stream,
                toxicity=toxic.toxicity,
                attributes=dict(toxic.attributes),
            )
            return name in self._proxy.toxics()

        # The library does not look at every refusal, so ask what is there now.
        if not await self._server.ask(f"add {name}", add):
            raise ToxiproxyFailedError(f"add {name}", "the server does not list it")
        return name

    async def cut(self) -> None:
        """Drop every connection and listen no more, until `restore`: a link that is down.

        Raises:
            ToxiproxyFailedError: The server does not answer, or the proxy still listens.
        """
        await self._switch("cut", enabled=False)

    async def restore(self) -> None:
        """Listen again, on the same port.

        Raises:
            ToxiproxyFailedError: The server does not answer, or the proxy does not listen.
        """
        await self._switch("restore", enabled=True)

    async def _switch(self, action: str, *, enabled: bool) -> None:
        switch = self._proxy.enable if enabled else self._proxy.disable
        await self._server.ask(f"{action} the link", switch)
        # The library believes itself, so ask what is there now.
        if await self._server.listens(self._proxy.name) is not enabled:
            raise ToxiproxyFailedError(f"{action} the link", "the server lists it as before")

    async def remove(self, toxic: str) -> None:
        """Remove a toxic; connections stay open.

        Raises:
            ToxiproxyFailedError: There is none of that name, or the server does not answer.
        """
        await self._server.ask(f"remove {toxic}", lambda: self._proxy.destroy_toxic(toxic))


class ToxiproxyServer:
    """A running Toxiproxy server; made by `start_server`.

    Attributes:
        child: Its process.
        port: Loopback port of its API.
    """

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port
        self._lock = threading.Lock()
        self._library = toxiproxy.Toxiproxy()
        self._library.update_api_consumer(LOOPBACK, port)

    async def ask(self, action: str, call: Callable[[], _T]) -> _T:
        """Run one call of the library in a thread, alone.

        Raises:
            ToxiproxyFailedError: The server refused, or did not answer; `action` says what it was asked.
            ChildFailedError: The server has ended.
        """
        try:
            return await asyncio.to_thread(self._alone, call)
        except _LIBRARY_ERRORS as error:
            self.child.check_running()
            raise ToxiproxyFailedError(action, type(error).__name__) from error

    def _alone(self, call: Callable[[], _T]) -> _T:
        # Held by the thread, not by the task: a cancelled task leaves its thread at work.
        with self._lock:
            return call()

    async def knows(self, name: str) -> bool:
        """Return whether the server has a proxy of that name.

        Raises:
            ToxiproxyFailedError: It does not answer.
            ChildFailedError: It has ended.
        """
        return await self.ask("list proxies", lambda: self._library.get_proxy(name) is not None)

    async def listens(self, name: str) -> bool:
        """Return whether the proxy of that name takes connections.

        Raises:
            ToxiproxyFailedError: There is none, or the server does not answer.
            ChildFailedError: It has ended.
        """
        return await self.ask("look at a proxy", lambda: bool(self._library.get_proxy(name).enabled))

    async def proxy(self, link: str, *, upstream_port: int) -> Proxy:
        """Put a proxy in front of a loopback port; the kernel picks the port that it listens on.

        Raises:
            ToxiproxyFailedError: The server refused, or did not answer.
            ChildFailedError: It has ended.
        """
        name = f"{link}-{secrets.token_hex(4)}"
        made = await self.ask(
            f"create proxy {link}",
            lambda: self._library.create(f"{LOOPBACK}:{upstream_port}", name, f"{LOOPBACK}:0", enabled=True),
        )
        return Proxy(self, made, int(made.listen.rpartition(":")[2]))


async def start_server(
    program: Path, children: Children, *, environment: Mapping[str, str], folder: Path, log: Path
) -> ToxiproxyServer:
    """Start a server on a free loopback port; `children` own its process.

    Args:
        program: The server's executable.
        children: Owner of the process.
        environment: The server's whole environment.
        folder: Existing folder for the server's start file.
        log: File that receives its output.

    Raises:
        ChildFailedError: It ended, or did not get ready on any of a few ports.
    """
    toxiproxy.api.requests = _Loopback()
    for _ in range(_START_ATTEMPTS):
        port, mark = _free_port(), f"mark-{secrets.token_hex(8)}"
        config = folder / f"toxiproxy-{port}.json"
        config.write_bytes(_start_file(mark))
        arguments = [str(program), "-host", LOOPBACK, "-port", str(port), "-config", str(config)]
        child = await children.start(
            Command(name="toxiproxy-server", arguments=arguments, environment=environment, log=log)
        )
        server = ToxiproxyServer(child, port)
        if await _is_ours(server, mark):
            return server
        await children.stop(child)
    raise child.failed(f"was not ready on any of {_START_ATTEMPTS} ports")


async def _is_ours(server: ToxiproxyServer, mark: str) -> bool:
    """Wait until something answers on the port, and return whether it is the server that was started."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_WITHIN_S):
            while True:
                with contextlib.suppress(ToxiproxyFailedError):
                    return await server.knows(mark)
                await asyncio.sleep(_LOOK_EVERY_S)
    return False


def _start_file(mark: str) -> bytes:
    """Return a start file with one disabled proxy, whose name tells a server from a stranger on its port.

    A server whose port is taken does not end, and another drill's server would answer there just as well.
    """
    proxy = {"name": mark, "listen": f"{LOOPBACK}:0", "upstream": f"{LOOPBACK}:9", "enabled": False}
    return msgspec.json.encode([proxy])


def _free_port() -> int:
    """Return a loopback port that was free a moment ago: the server does not say which one port 0 became."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
