"""The command `exai status`: what a running daemon has in flight, or what was heard of it last."""

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
    """Show what the daemon has in flight, and of how much.

    Exit status 3 if no daemon answers: then the health file in EXAI_LOG_DIR says what was heard last.
    """
    from reference_daemon.channel import DaemonUnreachableError, NoAnswerError
    from reference_daemon.settings import load_settings

    settings = load_settings()
    target = url if url is not None else settings.url
    try:
        health = asyncio.run(_health(settings, target))
    except (DaemonUnreachableError, NoAnswerError):
        _show_last_heard(settings, target, as_json=as_json)
        raise
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


def _show_last_heard(settings: Settings, url: str, *, as_json: bool) -> None:
    """Show what the daemon's health file says, if it is this daemon's."""
    import time

    from reference_daemon.observability.health_file import HEALTH_FILE, read_health

    path = settings.log_dir / HEALTH_FILE
    health = read_health(path)
    written_at = health.get("t") if health is not None else None
    if health is None or health.get("url") != url or not isinstance(written_at, int | float):
        return
    age_s = max(0.0, time.time() - written_at)
    if as_json:
        print(json.dumps({**health, "answers": False, "age": round(age_s, 3)}, indent=2))
        return
    print(f"{url} (pid {health.get('pid', '?')}) was last heard of {_ago(age_s)} ago, by {path}:")
    _print_table(health)


def _print(url: str, health: dict[str, Any]) -> None:
    """Print what a daemon that answers said."""
    state = "draining" if health.get("draining") else "up"
    since = f", started {_ago(health['uptime'])} ago" if "uptime" in health else ""
    sessions = health.get("sessions", 0)
    print(f"{url} is {state}{since}; {sessions} session{'' if sessions == 1 else 's'}, this one included")
    _print_table(health)


def _print_table(health: dict[str, Any]) -> None:
    """Print a table for a person. A daemon of another make may leave out everything that is looked up with `get`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

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
