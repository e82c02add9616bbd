"""The command `exai call TOOL`: runs one tool on a running daemon and shows its heartbeats while it waits."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reference_daemon import wire
    from reference_daemon.client import CallResult, DaemonClient
    from reference_daemon.settings import Settings

HELD, FAILED, UNDECIDED = 0, 1, 3

TO_TRY: dict[str, dict[str, Any]] = {
    "step": {
        "step": "Look at the project as a whole.",
        "step_number": 1,
        "total_steps": 1,
        "next_step_required": False,
        "findings": "None so far.",
    },
    "prompt": {"prompt": "Say hello."},
}
"""Arguments with which a tool can be tried, by an argument that only its schema has."""


def call(
    tool: Annotated[
        str, typer.Argument(help="Name of the tool, `version` for example; `exai call --list` shows all.")
    ] = "",
    arguments: Annotated[
        str, typer.Option("--arguments", "-a", help="Arguments as a JSON object; - reads them from stdin.")
    ] = "",
    url: Annotated[str | None, typer.Option(help="The daemon.  [default: from EXAI_WS_HOST and EXAI_WS_PORT]")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait.  [default: EXAI_CLIENT_TIMEOUT, 180]")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the daemon's tools.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> int:
    """Run one tool, or list all. A tool that needs arguments and is given none is sent some to try it with.

    Exit status 1: the call failed. 3: no daemon answers, or the connection was lost and the call may have run.
    """
    from reference_daemon.client import DaemonClient
    from reference_daemon.clock import Clock
    from reference_daemon.settings import load_settings

    settings = load_settings()
    if not (tool or list_them):
        raise typer.BadParameter("name a tool, or --list", param_hint="TOOL")
    given = _parse(arguments)
    wait_s = timeout if timeout is not None else settings.client_timeout_s
    if not 0.0 < wait_s < math.inf:
        raise typer.BadParameter("must be a number of seconds above 0", param_hint="--timeout")

    async def connected() -> int:
        clock, token = Clock(settings.time_scale), _token(settings)
        async with DaemonClient(url or settings.url, clock=clock, token=token, label="exai call") as client:
            tools = {info.name: info for info in await client.list_tools()}
            if list_them:
                _print_tools(tools, as_json=as_json)
                return HELD
            sent = given if given is not None else _to_try(tools.get(tool))
            result = await _call(client, tool, sent, wait_s)
        _print(result, as_json=as_json)
        return _status(result)

    return asyncio.run(connected())


def _token(settings: Settings) -> str | None:
    return settings.token.get_secret_value() if settings.token is not None else None


def _parse(text: str) -> dict[str, Any] | None:
    """Return the arguments, None if there are none, or refuse what is no JSON object."""
    if not text:
        return None
    try:
        parsed = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--arguments") from None
    if not isinstance(parsed, dict):
        raise typer.BadParameter("must be a JSON object", param_hint="--arguments")
    return parsed


def _to_try(info: wire.ToolInfo | None) -> dict[str, Any]:
    """Return arguments that satisfy a schema we know, and say that they were made up."""
    properties = info.input_schema.get("properties", {}) if info is not None else {}
    for name, arguments in TO_TRY.items():
        if name in properties:
            print(f"no --arguments, so these to try it: {json.dumps(arguments)}", file=sys.stderr)
            return arguments
    return {}


async def _call(client: DaemonClient, tool: str, arguments: dict[str, Any], timeout_s: float) -> CallResult:
    """Run the tool and show its heartbeats."""
    from reference_daemon.call_screen import Heartbeats

    with Heartbeats(tool) as heartbeats:
        return await client.call(
            tool, arguments, timeout_s=timeout_s, on_progress=heartbeats.show, on_wait=heartbeats.show_wait
        )


def _status(result: CallResult) -> int:
    """Return the exit status: a call of which nobody knows whether it ran says nothing."""
    if result.ok:
        return HELD
    return UNDECIDED if result.outcome in ("unknown", "connection_lost") else FAILED


def _print_tools(tools: dict[str, wire.ToolInfo], *, as_json: bool) -> None:
    """Print the tools: as JSON, or a line each, or in two columns on a terminal."""
    import msgspec
    from rich.console import Console
    from rich.table import Table

    if as_json:
        print(json.dumps(msgspec.to_builtins(list(tools.values())), indent=2))
    elif not sys.stdout.isatty():
        for info in tools.values():
            print(f"{info.name:22} {info.description}")
    else:
        grid = Table.grid(padding=(0, 2))
        for info in tools.values():
            grid.add_row(info.name, info.description)
        Console(highlight=False).print(grid)


def _print(result: CallResult, *, as_json: bool) -> None:
    """Print the result on stdout; why there is none on stderr."""
    if as_json:
        print(json.dumps(_facts(result), indent=2))
        return
    for output in result.outputs:
        print(output)
    if not result.ok:
        why = f"{result.error.code}: {result.error.message}" if result.error is not None else _WORDS[result.outcome]
        attempts = f"{result.attempts} attempt{'' if result.attempts == 1 else 's'}"
        waited_s = result.finished_at - result.intended_at
        print(
            f"exai: {result.tool} failed: {why} ({result.outcome} after {waited_s:.1f} s and {attempts}; "
            f"trace_id {result.trace_id})",
            file=sys.stderr,
        )


def _facts(result: CallResult) -> dict[str, Any]:
    """Return what a program may want to know of a call."""
    import msgspec

    return {
        "tool": result.tool,
        "outcome": result.outcome,
        "outputs": result.outputs,
        "error": None if result.error is None else msgspec.to_builtins(result.error),
        "timeout_layer": result.timeout_layer,
        "trace_id": result.trace_id,
        "call_key_hash": result.call_key_hash,
        "request_id": result.request_id,
        "attempts": result.attempts,
        "heartbeats": len(result.heartbeats),
        "latency_s": round(result.finished_at - result.intended_at, 3),
    }


_WORDS = {
    "timeout": "no answer in time",
    "unknown": "the connection was lost, and the call may have run",
    "connection_lost": "the daemon could not be reached",
}
