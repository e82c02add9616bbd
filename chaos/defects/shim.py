"""Defects of the shim: what an MCP client is shown, and what else comes over its pipe."""

import asyncio
import contextlib
import os
import subprocess
from typing import IO, Any, Final

from mcp_types import CallToolResult, JSONRPCMessage, JSONRPCNotification, JSONRPCResponse

from chaos.defects.defect import Change, Defect
from reference_daemon.autostart import Autostart
from reference_daemon.shim import server, tool_results
from reference_daemon.shim.explanations import Explanation
from reference_daemon.shim.stdio import Incoming, StdioTransport

MOST_OPEN: Final = 64
"""Descriptors of a shim: it has a dozen."""


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


def ignores_end() -> tuple[Change, ...]:
    """The shim goes on when its stdin has ended."""
    read = StdioTransport.read

    async def staying(self: StdioTransport, to_server: Incoming) -> None:
        await read(self, to_server)
        await asyncio.Event().wait()

    return (Change(StdioTransport, "read", staying),)


def progress_after_response() -> tuple[Change, ...]:
    """The last progress of a call is told once more after its response."""
    write = StdioTransport._write

    async def repeating(self: StdioTransport, message: JSONRPCMessage) -> None:
        await write(self, message)
        told: list[JSONRPCMessage] = vars(self).setdefault("told", [])
        if isinstance(message, JSONRPCNotification):
            told.append(message)
        elif isinstance(message, JSONRPCResponse) and told:
            await write(self, told[-1])

    return (Change(StdioTransport, "_write", repeating),)


def child_inherits() -> tuple[Change, ...]:
    """The daemon that the shim starts has the shim's stdin and stdout."""

    def spawn(self: Autostart, output: IO[bytes]) -> subprocess.Popen[bytes]:
        for number in range(3, MOST_OPEN):
            with contextlib.suppress(OSError):
                os.set_inheritable(number, True)  # noqa: FBT003 - the standard library's own signature
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=False,
        )

    return (Change(Autostart, "_spawn", spawn),)


def answers_swapped() -> tuple[Change, ...]:
    """A call is shown the result of the call that ended before it."""
    shown: list[CallToolResult] = []
    made = tool_results.tool_result

    def former(*facts: Any, **more: Any) -> CallToolResult:
        shown.append(made(*facts, **more))
        return shown[max(len(shown) - 2, 0)]

    return (Change(server, "tool_result", former),)


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
    Defect(
        name="shim-ignores-end",
        title="the shim goes on when its stdin has ended",
        rule="INV-42",
        stage="protocol",
        where="shim",
        changes=ignores_end,
    ),
    Defect(
        name="progress-after-response",
        title="progress is told after the response",
        rule="INV-43",
        stage="protocol",
        where="shim",
        changes=progress_after_response,
    ),
    Defect(
        name="child-inherits-streams",
        title="the daemon that the shim starts holds the shim's streams",
        rule="INV-42",
        stage="protocol",
        where="shim",
        changes=child_inherits,
    ),
    Defect(
        name="shim-swaps-answers",
        title="the shim shows a call the result of another one",
        rule="INV-39",
        also=("INV-43",),
        stage="protocol",
        where="shim",
        changes=answers_swapped,
    ),
)
