"""The commands of the reference system: `exai daemon`, `exai call`, `exai shim`, `exai status`, `exai checklist`."""

from __future__ import annotations

import typer

from reference_daemon import call_cli, checklist_cli, daemon_cli, shim_cli, status_cli
from reference_daemon.providers import stub_cli


def register(umbrella: typer.Typer) -> None:
    """Add the commands to the umbrella command."""
    umbrella.command("daemon")(daemon_cli.daemon)
    stub_cli.register(umbrella)
    umbrella.command("call")(call_cli.call)
    umbrella.command("shim")(shim_cli.shim)
    umbrella.command("status")(status_cli.status)
    umbrella.command("checklist")(checklist_cli.checklist)
