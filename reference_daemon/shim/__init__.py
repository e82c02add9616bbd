"""The shim: an MCP server over stdin and stdout that hands tool calls to the daemon."""
