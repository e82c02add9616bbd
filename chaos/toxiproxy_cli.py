"""The commands `exai toxiproxy path` and `exai toxiproxy install`."""

from __future__ import annotations

import sys

import typer

app = typer.Typer(help="The server that puts faults on a drill's connections.", no_args_is_help=True)


def register(umbrella: typer.Typer) -> None:
    """Add these commands to the umbrella command, under the name `toxiproxy`."""
    umbrella.add_typer(app, name="toxiproxy")


@app.command()
def path() -> None:
    """Print the path of the server that is there."""
    from chaos.toxiproxy_server import find_server

    print(find_server().path)


@app.command()
def install() -> None:
    """Find the server, or build it."""
    from chaos.toxiproxy_server import ensure_server

    found = ensure_server(_say)
    _say(f"Toxiproxy server {found.version}, {found.source}")
    print(found.path)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
