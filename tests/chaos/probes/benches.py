"""The workbench with its daemon in this process: a seeded defect can be put into it for one question."""

import os
from pathlib import Path

from chaos.probes.target import Target
from chaos.probes.workbench import SETTINGS, Workbench, _Ready
from chaos.probes.workbench_daemon import NAME, Misbehaving
from reference_daemon import assembly
from reference_daemon.clock import Clock
from reference_daemon.server.registry import build_tools
from reference_daemon.settings import read_settings

SCALE = 0.05
TOKEN = "a-token-of-the-workbench"


def a_target(folder: Path) -> Target:
    """Return what a workbench is made for; nothing listens there."""
    return Target(
        host="127.0.0.1",
        port=9,
        token=TOKEN,
        embedded=True,
        hello_timeout_s=10.0,
        max_message_bytes=2**20,
        clock=Clock(SCALE),
        own_logs=folder,
    )


class LocalBench(Workbench):
    """A workbench whose daemon runs in this process; one that is stuck stays until the end, beside its successor."""

    async def start(self) -> None:
        """Run the daemon, with the tool that misbehaves, until the workbench is left."""
        assert self.base.own_logs is not None
        own = {"EXAI_WS_PORT": 0, "EXAI_WS_TOKEN": TOKEN, "EXAI_TIME_SCALE": SCALE}
        own |= {f"{name}_API_URL": self.provider.url(name) for name in ("GLM", "KIMI")}
        own |= {f"{name}_API_KEY": "held" for name in ("GLM", "KIMI")}
        fixed = {**SETTINGS, **own, "EXAI_LOG_DIR": self.base.own_logs, "LOG_FORMAT": "console"}
        caps = {
            "EXAI_WS_<PROVIDER>_MAX_INFLIGHT": {
                name: fixed.pop(f"EXAI_WS_{name}_MAX_INFLIGHT") for name in ("GLM", "KIMI")
            }
        }
        settings = read_settings(self.base.own_logs / "none.env", **fixed, **caps)
        before = vars(assembly)["build_tools"]
        vars(assembly)["build_tools"] = lambda **parts: {**build_tools(**parts), NAME: Misbehaving()}
        try:
            running = await self._stack.enter_async_context(assembly.running_daemon(settings, self.base.clock))
        finally:
            vars(assembly)["build_tools"] = before
        self._ready = _Ready(port=running.daemon.port, pid=os.getpid(), boot_id=running.daemon.boot_id)
        self.why_not = None

    async def end(self) -> None:
        """Leave it alone."""
