"""What became of a call, as MCP says it. An error is never an empty success: it has a text, and `isError`."""

from typing import Any, Final

import msgspec
from mcp_types import CallToolResult, TextContent

from reference_daemon.outcomes import CallResult
from reference_daemon.shim.explanations import Explanation, Ran, explain

FACTS: Final = "exai/call"
"""Key in `_meta` of the facts that programs read."""


def tool_result(result: CallResult) -> CallToolResult:
    """Return the answer to a call that the daemon was asked for."""
    facts: dict[str, Any] = {
        "tool": result.tool,
        "outcome": str(result.outcome),
        "trace_id": result.trace_id,
        "call_key_hash": result.call_key_hash,
        "request_id": result.request_id,
        "attempts": result.attempts,
        "reconnects": result.reconnects,
        "latency_s": round(result.finished_at - result.intended_at, 3),
    }
    if result.ok:
        texts = result.outputs or ["(the tool answered without a text)"]
        content = [TextContent(text=text) for text in texts]
        return CallToolResult.model_validate({"content": content, "_meta": {FACTS: facts}})
    if result.error is not None:
        facts["error"] = msgspec.to_builtins(result.error)
    return failure(result.tool, result.trace_id, explain(result), facts)


def failure(tool: str, trace_id: str, why: Explanation, facts: dict[str, Any]) -> CallToolResult:
    """Return an answer that says why there is no result."""
    error = facts.get("error", {})
    code = f"{error['code']}, {error['status']}" if error else facts["outcome"]
    text = "\n".join(
        (
            f"{tool} has no result ({code}).",
            f"What happened: {why.what}",
            f"Did it run? {why.ran}",
            f"What to do: {why.advice}",
            f"trace_id: {trace_id}",
        )
    )
    known = {**facts, "may_have_run": why.ran is not Ran.NO}
    return CallToolResult.model_validate(
        {"content": [TextContent(text=text)], "isError": True, "_meta": {FACTS: known}}
    )
