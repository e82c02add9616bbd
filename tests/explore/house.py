"""The daemon of a run: the real one, started, told to end, killed, started again."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final, cast

from reference_daemon.clock import Clock
from reference_daemon.daemon import Daemon
from reference_daemon.observability.metrics import Metrics
from reference_daemon.providers.gateway import Gateway
from reference_daemon.providers.routing import MODELS, Router
from reference_daemon.server.assistant import Reader
from reference_daemon.server.context import Tool
from reference_daemon.server.info_tools import ProviderInfo
from reference_daemon.server.registry import build_tools
from reference_daemon.settings import Settings
from scenarios.events import AnyEvent, FaultMove, ProcessMove
from tests.explore.log import KeptLines
from tests.explore.plan import Setup
from tests.explore.provider import NoWeb, ProviderClient, Providers
from tests.explore.virtual_loop import VirtualLoop, context_of

PORT: Final = 8765
URL: Final = f"ws://127.0.0.1:{PORT}"
TOKEN: Final = "the-token-of-this-run"
UNCOALESCED: Final = "kimi_chat_with_tools,analyze,codereview,testgen"


def settings_of(setup: Setup) -> Settings:
    """Return the daemon's settings, as its own reader takes them."""
    return Settings.model_validate(
        {
            "EXAI_WS_HOST": "127.0.0.1",
            "EXAI_WS_PORT": PORT,
            "EXAI_WS_TOKEN": TOKEN,
            "EXAI_WS_AUTOSTART": False,
            "EXAI_WS_GLOBAL_MAX_INFLIGHT": setup.total,
            "EXAI_WS_SESSION_MAX_INFLIGHT": setup.session,
            "EXAI_WS_TOOL_MAX_INFLIGHT": f"analyze={setup.analyze},testgen={setup.testgen}",
            "EXAI_WS_<PROVIDER>_MAX_INFLIGHT": {"GLM": setup.glm, "KIMI": setup.kimi},
            "EXAI_WS_DISABLE_COALESCE_FOR_TOOLS": UNCOALESCED,
            "EXAI_WS_CALL_TIMEOUT": setup.call_s,
            "WORKFLOW_STEP_TIMEOUT_SECS": setup.call_s,
            "EXPERT_ANALYSIS_TIMEOUT_SECS": setup.expert_s,
            "EXPERT_HEARTBEAT_INTERVAL_SECS": setup.beat_s,
            "EXAI_WS_PROGRESS_INTERVAL_SECS": setup.beat_s,
            "EXAI_WS_INFLIGHT_TTL_SECS": setup.inflight_ttl_s,
            "EXAI_WS_RESULT_TTL": setup.result_ttl_s,
            "EXAI_WS_RESULT_MAX_ENTRIES": setup.results,
            "EXAI_WS_DRAIN_GRACE_SECS": setup.grace_s,
            "EXAI_WS_RETRY_AFTER": setup.advice,
            "EXAI_WS_EXPECTED_CALL_SECS": 5.0,
            "EXAI_SHIM_RPC_TIMEOUT": setup.client_s,
            "EXAI_CLIENT_TIMEOUT": setup.client_s,
        }
    )


class House:
    """Starts and ends the daemon.

    Attributes:
        boot: Number of its start.
        daemon: It; None while it is down.
        logs: The event log of each start.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        settings: Settings,
        clock: Clock,
        providers: Providers,
        note: Callable[[AnyEvent], None],
        chance: Random,
    ) -> None:
        """Start nothing yet; `clock` is the daemon's own."""
        self._loop, self._settings, self._clock, self._providers, self._note = loop, settings, clock, providers, note
        self._chance = chance
        self.boot = 0
        self.daemon: Daemon | None = None
        self.logs: list[KeptLines] = []
        self._life: asyncio.Task[None] | None = None
        self._told = asyncio.Event()
        self._killed: asyncio.Future[None] | None = None
        self._moving = asyncio.Lock()

    @property
    def body(self) -> str:
        """Whose code the present start runs as."""
        return f"daemon {self.boot}"

    async def start(self) -> None:
        """Start the daemon, and wait until it listens."""
        self.boot += 1
        self.logs.append(KeptLines())
        self._told = asyncio.Event()
        up: asyncio.Future[Daemon] = self._loop.create_future()
        context = context_of(self.body)
        self._life = self._loop.create_task(self._live(up, self.logs[-1], self._told), context=context)
        either: list[asyncio.Future[Any]] = [up, self._life]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()
        self.daemon = up.result()
        self._note(ProcessMove(at=self._loop.time(), what="started", boot=self.boot, boot_id=self.daemon.boot_id))

    async def _live(self, up: "asyncio.Future[Daemon]", log: KeptLines, told: asyncio.Event) -> None:
        """Be a daemon's process."""
        tools = self._tools()
        async with Daemon(self._settings, tools, self._clock, Metrics(log)) as daemon:
            up.set_result(daemon)
            await told.wait()
            await daemon.drain()

    def _tools(self) -> Mapping[str, Tool]:
        """Return the real tools, in front of providers in memory."""
        gateway = Gateway((), self._clock)
        gateway._clients = {name: cast("Any", ProviderClient(self._providers, self.body)) for name in MODELS}
        chance = self._chance
        return build_tools(
            router=Router(),
            gateway=gateway,
            web=cast("Reader", NoWeb()),
            provider_infos=[ProviderInfo(name, models, models[0], stub=True) for name, models in MODELS.items()],
            clock=self._clock,
            token_hex=lambda size: chance.randbytes(size).hex(),
        )

    def is_up(self) -> bool:
        """Whether the daemon is there."""
        return self.daemon is not None

    async def terminate(self) -> None:
        """Tell the daemon to end, and wait until it has, or is killed meanwhile."""
        async with self._moving:
            if not self.is_up() or self._life is None:
                return
            now = self._loop.time()
            self._note(FaultMove(at=now, name="sigterm", on=True, link="daemon"))
            self._note(FaultMove(at=now, name="sigterm", on=False, link="daemon"))
            self._note(ProcessMove(at=now, what="signalled", boot=self.boot, signal="SIGTERM"))
            self._told.set()
            self._killed = self._loop.create_future()
            ends: list[asyncio.Future[Any]] = [self._life, self._killed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._killed.done():
                return
            self._providers.daemon_died(self.body)
            failed = self._life.exception() is not None
            self._note(ProcessMove(at=self._loop.time(), what="ended", boot=self.boot, exit_code=70 if failed else 0))
            self._life.result()
            self.daemon = None

    def kill(self) -> None:
        """Kill the daemon, also while it is about to end."""
        now = self._loop.time()
        self._note(ProcessMove(at=now, what="signalled", boot=self.boot, signal="SIGKILL"))
        self.logs[-1].closed = True
        self._loop.kill(self.body)
        self._providers.daemon_died(self.body)
        self._note(ProcessMove(at=now, what="ended", boot=self.boot, exit_code=-9))
        self.daemon = None
        if self._killed is not None and not self._killed.done():
            self._killed.set_result(None)

    async def restart(self, how: str, down_s: float) -> None:
        """End the daemon one way or the other, and start it again after a while."""
        if not self.is_up():
            return
        if how == "SIGTERM":
            await self.terminate()
        else:
            self.kill()
        await asyncio.sleep(down_s)
        async with self._moving:
            if not self.is_up():
                await self.start()
