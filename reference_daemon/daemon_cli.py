"""The command `exai daemon`: runs the daemon until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reference_daemon.assembly import Running
    from reference_daemon.settings import Settings


def daemon(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port; 0 for any free one.  [default: EXAI_WS_PORT, 8765]"),
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(help="Settings to read after the environment.  [default: ENV_FILE, .env]")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write host, port, pid and boot_id to, once it listens.")
    ] = None,
) -> int:
    """Run the daemon. Ctrl-C or SIGTERM lets the calls in flight end first; a second one ends it at once."""
    from reference_daemon.observability.logs import configure_logging
    from reference_daemon.settings import load_settings

    settings = load_settings(env_file)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    sink = configure_logging(settings.log_format, settings.log_level)
    try:
        return asyncio.run(_run(settings, ready_file, env_file))
    finally:
        sink.flush()  # the last lines were written after the last turn of the loop


async def _run(settings: Settings, ready_file: Path | None, env_file: Path | None) -> int:
    """Run until a signal comes, drain, and return the exit status."""
    import structlog

    from reference_daemon.assembly import running_daemon
    from reference_daemon.clock import Clock
    from reference_daemon.garbage import look_rarely
    from reference_daemon.signals import on_signals

    signals: asyncio.Queue[int] = asyncio.Queue(maxsize=8)
    # Before anything listens, so that whoever sees it ready can end it properly.
    on_signals(partial(_note_signal, signals))
    async with running_daemon(settings, Clock(settings.time_scale)) as running:
        look_rarely()
        _announce(settings, running, ready_file, env_file)
        try:
            status = await signals.get()
            if sys.stderr.isatty() and running.daemon.calls.in_flight():
                print("\nwaiting for the calls in flight; Ctrl-C again ends them at once", file=sys.stderr)
            await _drain_or_second_signal(running, signals)
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)
    structlog.get_logger().info("daemon_stopped")
    return status


def _note_signal(signals: asyncio.Queue[int], status: int) -> None:
    """Remember a signal; more than a few say nothing new."""
    if not signals.full():
        signals.put_nowait(status)


async def _drain_or_second_signal(running: Running, signals: asyncio.Queue[int]) -> None:
    """Let calls end, unless a second signal says that there is no time for that."""
    drained = asyncio.ensure_future(running.daemon.drain())
    hurried = asyncio.ensure_future(signals.get())
    try:
        await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (drained, hurried):
            task.cancel()
        await asyncio.wait([drained, hurried])


def _announce(settings: Settings, running: Running, ready_file: Path | None, env_file: Path | None) -> None:
    """Say where the daemon listens, and who answers: to programs, to the log, and to a person who watches."""
    import structlog

    from reference_daemon.daemon_screen import welcome
    from reference_daemon.misspelt import misspelt
    from reference_daemon.ready_file import write_ready_file
    from reference_daemon.settings import settings_file, url_of

    daemon = running.daemon
    _say_broken_rules(settings)
    for problem in misspelt(
        settings_file(env_file), settings, tools=daemon.tool_names, providers=[each.name for each in running.providers]
    ):
        structlog.get_logger().warning("setting_unknown", problem=problem)
    if ready_file is not None:
        write_ready_file(ready_file, {"host": settings.host, "port": daemon.port, "boot_id": daemon.boot_id})
    if sys.stderr.isatty():
        print(welcome(settings, daemon.port, running.providers), file=sys.stderr)
    structlog.get_logger().info(
        "daemon_started",
        url=url_of(settings.host, daemon.port),
        boot_id=daemon.boot_id,
        token="set" if settings.token is not None else "none",
        time_scale=settings.time_scale,
        **{each.name: "stub" if each.stub else each.base_url for each in running.providers},
    )


def _say_broken_rules(settings: Settings) -> None:
    """Warn of settings that break the timeout ladder: the daemon runs, and `exai checklist` says what to write."""
    import structlog

    from reference_daemon.checklist import profile_of
    from reference_daemon.policy.ladder import judge

    log = structlog.get_logger()
    for finding in judge(profile_of(settings)):
        if not finding.passed:
            rule = finding.rule
            log.warning("rule_broken", setting=rule.settings[0], value=finding.value, rule=rule.says)
