"""The MCP server of the shim: tools/list and tools/call go to the daemon, over one connection."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
)

from reference_daemon.autostart import Autostart
from reference_daemon.channel import ConnectionLostError, DaemonUnreachableError, HelloRefusedError
from reference_daemon.client import DaemonClient, OnProgress
from reference_daemon.outcomes import CallResult
from reference_daemon.policy.errors import HarnessError
from reference_daemon.policy.keys import key_hash
from reference_daemon.providers.traceparent import parse_traceparent
from reference_daemon.settings import Settings
from reference_daemon.shim.explanations import Explanation, Ran
from reference_daemon.shim.progress import ProgressReporter, reporting
from reference_daemon.shim.tool_results import failure, tool_result
from reference_daemon.trace_id import trace_id_of

MAX_CALLS: Final = 1_000
"""Calls at once. The daemon admits a few dozen; far more than it ever could are a client gone wild."""

_MAX_LOGGED: Final = 100
"""Characters of a client's own words in a log line."""

_INSTRUCTIONS: Final = (
    "Tools for analysis, review and tests that ask slow models: calls take up to minutes. Send a progressToken to see "
    "them go on. A failed call says whether it ran; do not repeat one that may have."
)

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Call:
    """One tool call, before it is sent.

    Attributes:
        tool: Name of the tool.
        arguments: Its arguments.
        key: Fresh for each call: the daemon must never take two of them for one.
        trace_id: The caller's, or a fresh one.
        asked_at: When it was asked for.
    """

    tool: str
    arguments: dict[str, Any]
    key: str
    trace_id: str
    asked_at: float


class Shim:
    """Answers an MCP client with what the daemon says."""

    def __init__(self, settings: Settings, client: DaemonClient, autostart: Autostart | None, log: Any) -> None:
        """Serve through `client`; `autostart` is for when no daemon answers."""
        self._settings, self._client, self._autostart, self._log = settings, client, autostart, log
        self._clock = client.clock
        self._calls = 0
        self._leaving = False

    async def leave(self) -> None:
        """Close the connection and start no daemon any more. Calls in flight go on in the daemon."""
        self._leaving = True
        await self._client.close()

    def mcp_server(self) -> Server[Any]:
        """Return the server that the SDK runs."""
        return Server(
            "exai",
            version=_version(),
            instructions=_INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
        )

    # --- tools/list --------------------------------------------------------------------------------------------------

    async def list_tools(self, _context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        """Return the daemon's tools, their schemas as they are.

        Raises:
            MCPError: There is no daemon, or it does not answer.
        """
        try:
            await self._reach()
            try:
                tools = await self._client.list_tools()
            except ConnectionLostError:  # asking again does no harm
                tools = await self._client.list_tools()
        except HarnessError as error:
            self._log.warning("list_tools_failed", reason=str(error))
            raise MCPError(INTERNAL_ERROR, f"The tools cannot be listed: {error}") from error
        return ListToolsResult(
            tools=[Tool(name=each.name, description=each.description, input_schema=each.input_schema) for each in tools]
        )

    # --- tools/call --------------------------------------------------------------------------------------------------

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Run a tool. Whatever becomes of the call is a result; nothing is raised but its own cancellation."""
        if self._calls >= MAX_CALLS:
            self._log.warning("too_many_calls", tool=params.name[:_MAX_LOGGED], calls=self._calls)
            why = Explanation(f"{MAX_CALLS} calls are waiting already.", Ran.NO, "Wait until some of them have ended.")
            return failure(params.name, trace_id_of(None), why, {"outcome": "too_many_calls"})
        parent = parse_traceparent(_text((context.meta or {}).get("traceparent")))
        call = _Call(
            tool=params.name,
            arguments=params.arguments or {},
            key=str(uuid.uuid4()),
            trace_id=trace_id_of(parent.trace_id if parent is not None else None),
            asked_at=self._clock.now(),
        )
        self._calls += 1
        try:
            return await self._contained(context, call)
        finally:
            self._calls -= 1

    async def _contained(self, context: Context, call: _Call) -> CallToolResult:
        """Run a call, log its start and its end, and let nothing that goes wrong in it reach another."""
        self._log_start(call)
        outcome, facts = "cancelled", dict[str, Any]()
        try:
            async with self._progress(context) as on_progress:
                result = await self._run(call, on_progress)
            outcome, facts = str(result.outcome), _facts(result)
            self._warn_of_duplicate(result)
            return tool_result(result)
        except HarnessError as error:
            outcome, facts = "no_daemon", {"reason": str(error)}
            advice = "Start it with `exai daemon`, then call again."
            why = Explanation(f"{error}.", Ran.NO, advice)
            return failure(call.tool, call.trace_id, why, {"outcome": outcome, "trace_id": call.trace_id})
        except Exception as error:  # noqa: BLE001 - the outermost frame of this call
            outcome, facts = "bug", {"exc_info": error}
            why = Explanation(f"The shim failed ({type(error).__name__}).", Ran.MAYBE, "Look into the shim's log.")
            return failure(call.tool, call.trace_id, why, {"outcome": outcome, "trace_id": call.trace_id})
        finally:
            self._log_end(call, outcome, facts)

    async def _run(self, call: _Call, on_progress: OnProgress | None) -> CallResult:
        """Have a daemon, and hand the call to it with what is left of its time."""
        await self._reach()
        return await self._client.call(
            call.tool,
            call.arguments,
            timeout_s=max(call.asked_at + self._settings.client_timeout_s - self._clock.now(), 0.0),
            call_key=call.key,
            trace_id=call.trace_id,
            attempt_timeout_s=self._settings.shim_rpc_timeout_s,
            on_progress=on_progress,
        )

    @contextlib.asynccontextmanager
    async def _progress(self, context: Context) -> AsyncIterator[OnProgress | None]:
        """Report progress while the body runs, to a caller that asked for it."""
        if (context.meta or {}).get("progress_token") is None:
            yield None
            return
        reporter = ProgressReporter(
            context.session.report_progress,
            self._clock,
            timeout_s=self._settings.client_timeout_s,
            interval_s=self._settings.progress_interval_s,
        )
        async with reporting(reporter) as note:
            yield note

    # --- the daemon --------------------------------------------------------------------------------------------------

    async def _reach(self) -> None:
        """Start a daemon if none answers and that is allowed. Only new work comes here, never a call that was lost.

        Raises:
            AutostartError: It does not come up.
        """
        if self._autostart is not None and not await self._answers():
            await self._autostart.ensure(self._answers)

    async def _answers(self) -> bool:
        """Return whether a daemon answers. One that does not let us in is there, too: the call itself is told why.

        Raises:
            DaemonUnreachableError: This shim is about to end.
        """
        try:
            await self._client.connect()
        except DaemonUnreachableError:
            if self._leaving:
                raise
            return False
        except HelloRefusedError:
            return True
        return True

    # --- the log -----------------------------------------------------------------------------------------------------

    def _log_start(self, call: _Call) -> None:
        model = _text(call.arguments.get("model"))
        self._log.info(
            "call_start",
            tool=call.tool[:_MAX_LOGGED],
            trace_id=call.trace_id,
            call_key=key_hash(call.key),
            model=model[:_MAX_LOGGED] if model is not None else None,
            timeout_s=self._settings.client_timeout_s,
            rpc_timeout_s=self._settings.shim_rpc_timeout_s,
        )

    def _log_end(self, call: _Call, outcome: str, facts: dict[str, Any]) -> None:
        write = self._log.error if outcome == "bug" else self._log.info
        latency_s = round(self._clock.now() - call.asked_at, 3)
        write(
            "call_end",
            tool=call.tool[:_MAX_LOGGED],
            trace_id=call.trace_id,
            call_key=key_hash(call.key),
            outcome=outcome,
            latency_s=latency_s,
            **facts,
        )

    def _warn_of_duplicate(self, result: CallResult) -> None:
        why = result.error
        if why is not None and why.code == "DUPLICATE":
            self._log.warning(
                "duplicate",
                tool=result.tool[:_MAX_LOGGED],
                trace_id=result.trace_id,
                call_key=result.call_key_hash,
                request_id=result.request_id,
                original_request_id=why.original_request_id,
                original_trace_id=why.original_trace_id,
            )


def _facts(result: CallResult) -> dict[str, Any]:
    """Return what the log says about the end of a call."""
    return {
        "code": result.error.code if result.error is not None else None,
        "attempts": result.attempts,
        "reconnects": result.reconnects,
        "heartbeats": len(result.heartbeats),
        "request_id": result.request_id or None,
    }


def _text(value: object) -> str | None:
    """Return a value of a client's if it is a text."""
    return value if isinstance(value, str) else None


def _version() -> str:
    try:
        return version("exai-harness")
    except PackageNotFoundError:  # run from a folder, without being installed
        return ""
