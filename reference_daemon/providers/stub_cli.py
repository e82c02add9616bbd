"""The command `exai provider`: a stub provider in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reference_daemon.clock import Clock
    from reference_daemon.providers.stub_model import StubConfig
    from reference_daemon.providers.stub_server import StubServer


def register(umbrella: typer.Typer) -> None:
    """Add this command to the umbrella command, under the name `provider`."""
    umbrella.command()(provider)


def provider(
    *,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = 8770,
    latency: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]DISTRIBUTION, for example GLM=uniform:35,55 (default, for all). Repeatable."),
    ] = None,
    concurrency: Annotated[
        list[str] | None, typer.Option(help="[NAME=]N executions at once; above it 429. Repeatable.")
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]MODE: ok, status:NNN, hang, drip or malformed. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws for calls that bring none.")] = 0,
    time_scale: Annotated[float, typer.Option(help="Wall seconds per second of latency.")] = 1.0,
    log: Annotated[Path | None, typer.Option(help="File to append a JSON line per event to.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write port, pid and base URLs to, while it listens.")
    ] = None,
) -> int:
    """Serve stub providers over the OpenAI-compatible API: made-up answers after a set latency.

    Settings can be changed while it runs: GET and PUT /admin/providers/NAME, JSON.
    """
    import asyncio

    from reference_daemon.clock import Clock
    from reference_daemon.providers.stub_server import StubServer

    config = _config({"latency": latency or [], "concurrency": concurrency or [], "mode": mode or []}, seed, log)
    clock = Clock(time_scale)
    return asyncio.run(_serve(StubServer(config, clock, host, port), config, clock, ready_file))


def _config(options: Mapping[str, Sequence[str]], seed: int, log: Path | None) -> StubConfig:
    """Apply options of the form [NAME=]VALUE to the default providers.

    Raises:
        ConfigError: A name is unknown or a value is wrong.
    """
    from reference_daemon.policy.errors import ConfigError
    from reference_daemon.providers.stub_model import StubConfig, default_providers

    providers = default_providers()
    for key, texts in options.items():
        for text in texts:
            name, separator, value = text.rpartition("=")
            if separator and name not in providers:
                raise ConfigError(f"--{key}", text, f"name must be one of {', '.join(providers)}")
            change = {key: _whole_number(value) if key == "concurrency" else value}
            for each in [name] if separator else list(providers):
                providers[each] = providers[each].changed(change)
    return StubConfig(providers=providers, seed=seed, log_path=log)


def _whole_number(text: str) -> int | str:
    """Return the number; or the text, for the check that refuses it by name."""
    return int(text) if text.isascii() and text.isdigit() else text


async def _serve(server: StubServer, config: StubConfig, clock: Clock, ready_file: Path | None) -> int:
    """Serve until a signal comes; return the exit status that it means."""
    import asyncio

    from reference_daemon.ready_file import write_ready_file
    from reference_daemon.signals import on_signals

    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(status: int) -> None:
        if not stopped.done():
            stopped.set_result(status)

    # Before it listens, so that whoever sees it ready can end it properly.
    on_signals(stop)
    async with server:
        urls = {name: server.base_url(name) for name in config.providers}
        try:
            if ready_file is not None:
                write_ready_file(ready_file, {"port": server.port, "base_urls": urls})
            _describe(server, urls, clock)
            return await stopped
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


def _describe(server: StubServer, urls: Mapping[str, str], clock: Clock) -> None:
    print(f"stub providers {', '.join(urls)} on {server.origin}, time scale {clock.scale:g}")
    print("Point a daemon at them:")
    for name, url in urls.items():
        print(f"  {name}_API_URL={url}")
    print(f"Change them: PUT {server.origin}/admin/providers/NAME", flush=True)
