"""Defects of the shim: what an MCP client is shown, and what else comes over its pipe."""

from typing import Any, Final

from mcp_types import CallToolResult, JSONRPCMessage

from chaos.defects.defect import Change, Defect
from reference_daemon.shim import server, tool_results
from reference_daemon.shim.explanations import Explanation
from reference_daemon.shim.stdio import StdioTransport


def empty_success() -> tuple[Change, ...]:
    """A call that failed is shown as one that succeeded with nothing to say."""

    def failure(tool: str, trace_id: str, why: Explanation, facts: dict[str, Any]) -> CallToolResult:  # noqa: ARG001 - see above
        return CallToolResult.model_validate({"content": []})

    return Change(tool_results, "failure", failure), Change(server, "failure", failure)


def log_line() -> tuple[Change, ...]:
    """A line for people goes to stdout before each message."""
    write = StdioTransport._write

    async def chatting(self: StdioTransport, message: JSONRPCMessage) -> None:
        await self._writer.write(b"INFO answering\n")
        await write(self, message)

    return (Change(StdioTransport, "_write", chatting),)


DEFECTS: Final = (
    Defect(
        name="error-as-empty-success",
        title="the shim shows an error as a success without content",
        rule="INV-43",
        also=("INV-39",),
        stage="protocol",
        where="shim",
        changes=empty_success,
    ),
    Defect(
        name="log-line-on-stdout",
        title="the shim writes a log line to stdout",
        rule="INV-42",
        also=("INV-39", "INV-43"),
        stage="protocol",
        where="shim",
        changes=log_line,
    ),
)
