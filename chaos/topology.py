"""What a drill runs on: stub provider, daemon and Toxiproxy as processes on free loopback ports.

    client ── proxy "client-daemon" ── daemon ── stub provider

The children see nothing of the user's own settings: a drill that reads somebody's API key is no drill.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chaos.processes import Child, Children, Command
from chaos.run_directory import RunDirectory
from chaos.toxiproxy import LOOPBACK, Proxy, start_server
from reference_daemon.policy.errors import HarnessError

CLIENT_LINK: Final = "client-daemon"
DAEMON_LOG: Final = "daemon.log"
"""File under the run's logs with the daemon's own lines."""

_OWN_SETTINGS: Final = ("EXAI_", "GLM_", "KIMI_", "WORKFLOW_", "EXPERT_", "TOXIPROXY_")
_OWN_NAMES: Final = frozenset({"ENV_FILE", "LOG_FORMAT", "LOG_LEVEL"})
_API_KEY: Final = "drill"
"""The stub provider takes any key, but the daemon must have one to use a provider by its address."""


class SteadyStateError(HarnessError):
    """The system does not work even without a fault, so there is nothing to break.

    Attributes:
        reason: What does not work.
    """

    def __init__(self, reason: str) -> None:
        """Keep the reason; the text is made by `__str__`."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Say that there was no steady state, and why."""
        return f"no steady state before the faults: {self.reason}"


class ProviderReady(msgspec.Struct, frozen=True):
    """What the stub provider says once it serves."""

    port: int
    pid: int
    base_urls: dict[str, str]


class DaemonReady(msgspec.Struct, frozen=True):
    """What the daemon says once it serves."""

    host: str
    port: int
    pid: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to bring up.

    Attributes:
        toxiproxy: The server's executable.
        latency: The stub provider's latency distribution, as its command takes it.
        seed: Seed of the stub provider's draws.
        time_scale: Wall seconds per second of the drill.
    """

    toxiproxy: Path
    latency: str
    seed: int
    time_scale: float


@dataclass(frozen=True, slots=True)
class Topology:
    """A running system.

    Attributes:
        url: Address of the daemon through its proxy.
        client_link: The proxy between client and daemon.
        daemon: The daemon's process.
        helpers: The processes that the daemon's world is made of.
    """

    url: str
    client_link: Proxy
    daemon: Child
    helpers: tuple[Child, ...]

    def check_helpers(self) -> None:
        """Do nothing while all helpers run: without them no call says anything about the daemon.

        Raises:
            ChildFailedError: One of them has ended.
        """
        for helper in self.helpers:
            helper.check_running()


def clean_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without settings of the user's own daemon and without network proxies."""

    def foreign(name: str) -> bool:
        return name in _OWN_NAMES or name.startswith(_OWN_SETTINGS) or name.upper().endswith("_PROXY")

    return {name: value for name, value in own.items() if not foreign(name)}


@contextlib.asynccontextmanager
async def topology(plan: Plan, directory: RunDirectory, *, say: Callable[[str], None]) -> AsyncIterator[Topology]:
    """Bring the system up, and stop all of it when the context is left, however that happens.

    Raises:
        ChildFailedError: A process ended or did not get ready; the error shows its last output.
        ToxiproxyFailedError: The proxy could not be made.
    """
    with tempfile.TemporaryDirectory(prefix="exai-drill-", ignore_cleanup_errors=True) as scratch:
        async with Children(say=say) as children:
            start = _Start(plan, directory, children, Path(scratch))
            say("starting the Toxiproxy server")
            server = await start_server(
                plan.toxiproxy,
                children,
                environment=start.environment,
                folder=start.scratch,
                log=directory.logs / "toxiproxy.log",
            )
            say("starting the stub provider")
            provider, provider_ready = await start.provider()
            say("starting the daemon")
            daemon, daemon_ready = await start.daemon(provider_ready)
            proxy = await server.proxy(CLIENT_LINK, upstream_port=daemon_ready.port)
            try:
                yield Topology(f"ws://{LOOPBACK}:{proxy.port}", proxy, daemon, (server.child, provider))
            finally:
                say("stopping daemon, stub provider and Toxiproxy server")


class _Start:
    """Starts the project's own commands with what they must be told."""

    def __init__(self, plan: Plan, directory: RunDirectory, children: Children, scratch: Path) -> None:
        self._plan = plan
        self._logs = directory.logs.absolute()
        self._children = children
        self.scratch = scratch
        self.environment = clean_environment(os.environ)

    async def provider(self) -> tuple[Child, ProviderReady]:
        """Start the stub provider and wait until it serves."""
        ready_file = self.scratch / "provider.ready.json"
        options = {
            "--port": "0",
            "--latency": self._plan.latency,
            "--seed": str(self._plan.seed),
            "--time-scale": str(self._plan.time_scale),
            "--log": str(self._logs / "provider.jsonl"),
            "--ready-file": str(ready_file),
        }
        arguments = [word for option in options.items() for word in option]
        child = await self._exai("provider", arguments, {})
        return child, await child.ready(ready_file, ProviderReady)

    async def daemon(self, provider: ProviderReady) -> tuple[Child, DaemonReady]:
        """Start the daemon in front of the stub provider and wait until it serves."""
        ready_file, empty = self.scratch / "daemon.ready.json", self.scratch / "empty.env"
        empty.touch()
        settings = {
            "ENV_FILE": str(empty),
            "EXAI_WS_HOST": LOOPBACK,
            "EXAI_WS_PORT": "0",
            "EXAI_TIME_SCALE": str(self._plan.time_scale),
            "EXAI_LOG_DIR": str(self._logs / "daemon"),
            "LOG_FORMAT": "json",
        }
        for name, url in provider.base_urls.items():
            settings |= {f"{name}_API_URL": url, f"{name}_API_KEY": _API_KEY}
        child = await self._exai("daemon", ["--ready-file", str(ready_file)], settings)
        return child, await child.ready(ready_file, DaemonReady)

    async def _exai(self, command: str, arguments: list[str], settings: Mapping[str, str]) -> Child:
        return await self._children.start(
            Command(
                name=command,
                arguments=[sys.executable, "-m", "exai", command, *arguments],
                environment=self.environment | dict(settings),
                log=self._logs / f"{command}.log",
            )
        )
