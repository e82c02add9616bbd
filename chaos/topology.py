"""What a drill runs on: stub providers, daemon and Toxiproxy as processes on free loopback ports.

    clients ── proxy "client-daemon" ── daemon ── proxy "daemon-provider:NAME" ── stub provider
    witness ─────────────────────────── daemon

Or, with a target: the same proxy in front of a daemon that is there already, whose providers nobody controls.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from chaos.daemon_process import DaemonProcess
from chaos.defects import DEFECTS
from chaos.environment import clean_environment
from chaos.processes import Child, Children, Command
from chaos.provider_admin import configure
from chaos.toxiproxy import LOOPBACK, Proxy, ToxiproxyServer, start_server
from reference_daemon.policy.errors import HarnessError
from scenarios.events import AnyEvent
from scenarios.model import Provider, Scenario

CLIENT_LINK: Final = "client-daemon"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to bring up.

    Attributes:
        scenario: Whose providers and defect.
        settings: The daemon's settings that differ from the shipped ones.
        toxiproxy: The server's executable.
        seed: Seed of the stub provider's own draws.
        time_scale: Wall seconds per second of the drill.
        logs: Existing folder for the children's logs.
        target: Address of a daemon that runs already; None: one is started.
    """

    scenario: Scenario
    settings: Mapping[str, str]
    toxiproxy: Path
    seed: int
    time_scale: float
    logs: Path
    target: str | None = None


@dataclass(slots=True, kw_only=True)
class System:
    """A running system.

    Attributes:
        url: Address of the daemon through its proxy.
        direct_url: Its address without one, for the witness.
        proxies: The proxied links by name.
        daemon: The daemon's process; None for one that runs already.
        provider_admin: Origin of the stub's admin endpoint; None without a stub.
        provider_log: The stub's own log; None without a stub.
        helpers: The processes that the daemon's world is made of.
    """

    url: str
    direct_url: str
    proxies: dict[str, Proxy]
    daemon: DaemonProcess | None = None
    provider_admin: str | None = None
    provider_log: Path | None = None
    helpers: tuple[Child, ...] = field(default=())

    def check_running(self) -> None:
        """Do nothing while all processes run: without them no call says anything about the daemon.

        Raises:
            ChildFailedError: One of them has ended.
        """
        for helper in self.helpers:
            helper.check_running()
        if self.daemon is not None:
            self.daemon.check_running()


@contextlib.asynccontextmanager
async def running_system(
    plan: Plan, *, say: Callable[[str], None], note: Callable[[AnyEvent], None], since: Callable[[], float]
) -> AsyncIterator[System]:
    """Bring the system up, and stop all of it when the context is left, however that happens.

    Raises:
        ChildFailedError: A process ended or did not get ready; the error shows its last output.
        ToxiproxyFailedError: A proxy could not be made.
    """
    with tempfile.TemporaryDirectory(prefix="exai-drill-", ignore_cleanup_errors=True) as scratch:
        async with Children(say=say) as children:
            start = _Start(plan, children, Path(scratch), say)
            system = await (start.in_front_of(plan.target) if plan.target else start.all(note, since))
            try:
                yield system
            finally:
                say("stopping what was started")
                if system.daemon is not None:
                    await asyncio.shield(system.daemon.stop())


class _Start:
    """Starts the project's own commands with what they must be told."""

    def __init__(self, plan: Plan, children: Children, scratch: Path, say: Callable[[str], None]) -> None:
        self._plan, self._children, self._scratch, self._say = plan, children, scratch, say
        self._environment = clean_environment(os.environ)

    async def in_front_of(self, target: str) -> System:
        """Put the proxy in front of a daemon that runs already."""
        server = await self._toxiproxy()
        address = urlsplit(target)
        proxy = await server.proxy(CLIENT_LINK, upstream_port=address.port or 8765)
        return System(
            url=f"ws://{LOOPBACK}:{proxy.port}",
            direct_url=target,
            proxies={CLIENT_LINK: proxy},
            helpers=(server.child,),
        )

    async def all(self, note: Callable[[AnyEvent], None], since: Callable[[], float]) -> System:
        """Start provider, proxies and daemon, in this order."""
        server = await self._toxiproxy()
        self._say("starting the stub providers")
        provider, ready = await self._provider()
        admin = f"http://{LOOPBACK}:{ready.port}"
        for name, settings in self._plan.scenario.providers.items():
            await configure(admin, name, _stub_settings(settings))
        proxies = {
            f"daemon-provider:{name}": await server.proxy(f"daemon-provider:{name}", upstream_port=ready.port)
            for name in ready.base_urls
        }
        self._say("starting the daemon")
        daemon = DaemonProcess(
            self._children,
            settings=self._daemon_settings(ready, proxies),
            defect=_daemon_defect(self._plan.scenario),
            logs=self._plan.logs.absolute(),
            scratch=self._scratch,
            note=note,
            since=since,
        )
        await daemon.start_again()
        proxies[CLIENT_LINK] = proxy = await server.proxy(CLIENT_LINK, upstream_port=daemon.port)
        return System(
            url=f"ws://{LOOPBACK}:{proxy.port}",
            direct_url=f"ws://{LOOPBACK}:{daemon.port}",
            proxies=proxies,
            daemon=daemon,
            provider_admin=admin,
            provider_log=self._plan.logs / "provider.jsonl",
            helpers=(server.child, provider),
        )

    async def _toxiproxy(self) -> ToxiproxyServer:
        self._say("starting the Toxiproxy server")
        return await start_server(
            self._plan.toxiproxy,
            self._children,
            environment=self._environment,
            folder=self._scratch,
            log=self._plan.logs / "toxiproxy.log",
        )

    async def _provider(self) -> tuple[Child, ProviderReady]:
        ready_file = self._scratch / "provider.ready.json"
        options = {
            "--port": "0",
            "--seed": str(self._plan.seed),
            "--time-scale": str(self._plan.time_scale),
            "--log": str((self._plan.logs / "provider.jsonl").absolute()),
            "--ready-file": str(ready_file),
        }
        arguments = [word for option in options.items() for word in option]
        child = await self._children.start(
            Command(
                name="provider",
                arguments=[sys.executable, "-m", "exai", "provider", *arguments],
                environment=self._environment,
                log=self._plan.logs / "provider.log",
            )
        )
        return child, await child.ready(ready_file, ProviderReady)

    def _daemon_settings(self, ready: ProviderReady, proxies: Mapping[str, Proxy]) -> dict[str, str]:
        """Return the daemon's whole environment, but its port and its log folder."""
        empty = self._scratch / "empty.env"
        empty.touch()
        settings = self._environment | dict(self._plan.settings)
        settings |= {
            "ENV_FILE": str(empty),
            "EXAI_WS_HOST": LOOPBACK,
            "EXAI_TIME_SCALE": str(self._plan.time_scale),
            "LOG_FORMAT": "json",
        }
        for name, url in ready.base_urls.items():
            port = proxies[f"daemon-provider:{name}"].port
            path = urlsplit(url).path
            settings |= {f"{name}_API_URL": f"http://{LOOPBACK}:{port}{path}", f"{name}_API_KEY": _API_KEY}
        return settings


def _daemon_defect(scenario: Scenario) -> str | None:
    """Return the scenario's defect, if it is one of the daemon's process; the drill applies the others itself."""
    name = scenario.daemon.defect
    return name if name is not None and DEFECTS[name].where == "daemon" else None


def _stub_settings(provider: Provider) -> dict[str, object]:
    """Return what the scenario says of a provider, as the stub takes it."""
    return {
        "latency": provider.latency,
        "tool_latency": provider.tool_latency,
        "concurrency": provider.concurrency,
        "error_rate": provider.errors.rate if provider.errors else 0.0,
        "error_status": provider.errors.status if provider.errors else 500,
        "retry_after_s": provider.retry_after,
    }
