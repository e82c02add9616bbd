"""The command `exai shim`: an MCP server over stdin and stdout, for the configuration of an MCP client."""

from __future__ import annotations

import asyncio

_LOG_WITHIN_WALL_S = 0.2


def shim() -> int:
    """Serve MCP over stdin and stdout, and hand tool calls to the daemon, which is started if none answers.

    For MCP clients, which start it by themselves. Settings come from the environment; logs go to stderr.
    """
    from reference_daemon.shim.pipes import PipeSink, claim_pipes

    pipes = claim_pipes()  # before anything is imported that might print
    from reference_daemon.observability.logs import configure_logging
    from reference_daemon.policy.errors import ConfigError
    from reference_daemon.settings import load_settings

    settings = load_settings()
    if settings.port == 0:
        raise ConfigError("EXAI_WS_PORT", 0, "the shim must be told the daemon's port")
    sink = PipeSink(2)
    configure_logging(settings.log_format, settings.log_level, sink=sink)
    from reference_daemon.shim.run import run_shim

    try:
        return asyncio.run(run_shim(settings, pipes))
    finally:
        sink.drain(_LOG_WITHIN_WALL_S)
