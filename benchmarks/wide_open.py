"""The daemon as benchmarks run it: shipped settings but for the caps, a tool that takes no time, one that waits.

Logs go to stderr and metrics to a file, as shipped. Run as a program it serves until its stdin closes, and prints its
port first.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from reference_daemon.clock import Clock
from reference_daemon.daemon import Daemon
from reference_daemon.garbage import look_rarely
from reference_daemon.observability.lines import RotatingFile
from reference_daemon.observability.logs import configure_logging
from reference_daemon.observability.metrics import Metrics
from reference_daemon.policy.events import CallKind
from reference_daemon.server.context import CallContext, CallPlan
from reference_daemon.settings import load_settings


class Nothing:
    """A tool that answers at once."""

    name = "nothing"
    description = "Answers at once."
    input_schema: Mapping[str, Any] = {"type": "object"}
    _plan = CallPlan(CallKind.LOCAL)
    _outputs = ("x" * 64,)

    def parse(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments."""
        return arguments

    def plan(self, arguments: Mapping[str, Any]) -> CallPlan:
        """Say that nothing is needed."""
        return self._plan

    async def run(self, arguments: Mapping[str, Any], context: CallContext) -> Sequence[str]:
        """Answer."""
        return self._outputs


class Hold(Nothing):
    """A tool that waits until it is told to stop."""

    name = "hold"
    description = "Waits."

    async def run(self, arguments: Mapping[str, Any], context: CallContext) -> Sequence[str]:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()
        return self._outputs


async def _main() -> None:
    wide = {"global_max_inflight": 100_000, "session_max_inflight": 100_000, "port": 0}
    settings = load_settings().model_copy(update=wide)
    configure_logging(settings.log_format, settings.log_level)
    metrics = Metrics(RotatingFile(settings.log_dir / "ws_daemon.metrics.jsonl", max_bytes=1 << 30))
    async with Daemon(settings, {"nothing": Nothing(), "hold": Hold()}, Clock(), metrics) as daemon:
        look_rarely()
        print(daemon.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
