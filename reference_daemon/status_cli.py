"""The command `exai status`: what a running daemon has in flight."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reference_daemon.settings import Settings

MINUTE_S, HOUR_S = 60, 3600


def status(
    url: Annotated[str | None, typer.Option(help="The daemon.  [default: from EXAI_WS_HOST and EXAI_WS_PORT]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> int:
    """Show what the daemon has in flight, and of how much. Exit status 3 if no daemon answers."""
    from reference_daemon.settings import load_settings

    settings = load_settings()
    target = url if url is not None else settings.url
    health = asyncio.run(_health(settings, target))
    if as_json:
        print(json.dumps(health, indent=2))
    else:
        _print(target, health)
    return 0


async def _health(settings: Settings, url: str) -> dict[str, Any]:
    """Ask the daemon."""
    from reference_daemon.client import DaemonClient
    from reference_daemon.clock import Clock

    token = settings.token.get_secret_value() if settings.token is not None else None
    async with DaemonClient(url, clock=Clock(settings.time_scale), token=token, label="exai status") as client:
        return await client.health()


def _print(url: str, health: dict[str, Any]) -> None:
    """Print a table for a person. A daemon of another make may leave out everything that is looked up with `get`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    state = "draining" if health.get("draining") else "up"
    since = f", started {_ago(health['uptime'])} ago" if "uptime" in health else ""
    sessions = health.get("sessions", 0)
    print(f"{url} is {state}{since}; {sessions} session{'' if sessions == 1 else 's'}, this one included")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("scope")
    table.add_column("in flight", justify="right")
    table.add_column("cap", justify="right")
    table.add_row("all calls", str(health.get("global_inflight", "?")), str(health.get("global_capacity", "?")))
    for kind in ("tools", "providers"):
        for name, pool in health.get(kind, {}).items():
            table.add_row(f"{kind[:-1]} {name}", str(pool.get("inflight", "?")), str(pool.get("capacity", "?")))
    Console().print(table)


def _ago(uptime_s: float) -> str:
    """Return a duration as a person says it."""
    if uptime_s < MINUTE_S:
        return f"{uptime_s:.0f} s"
    if uptime_s < HOUR_S:
        return f"{uptime_s // MINUTE_S:.0f} min {uptime_s % MINUTE_S:.0f} s"
    return f"{uptime_s // HOUR_S:.0f} h {uptime_s % HOUR_S // MINUTE_S:.0f} min"
