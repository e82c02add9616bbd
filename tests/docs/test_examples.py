"""The example configurations of MCP clients, started for real."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from reference_daemon.checklist import profile_of
from reference_daemon.policy.ladder import judge
from reference_daemon.settings import Settings
from tests.processes import ROOT, RunningDaemon, a_daemon

FOLDER = ROOT / "docs" / "architecture" / "ws_daemon" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.json"))
KEPT = ("PATH", "HOME", "SYSTEMROOT", "TMPDIR")


class Server(msgspec.Struct):
    """What a client is told of one server. `timeout` is Claude Code's own, in milliseconds."""

    command: str
    args: list[str]
    env: dict[str, str]
    name: str = ""
    type: str = "stdio"
    timeout: int | None = None


def servers(path: Path) -> list[Server]:
    """Return the servers of an example, whatever its client calls the place where they stand."""
    document: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    found = document.get("augment.advanced", document)["mcpServers"]
    return msgspec.convert(list(found.values()) if isinstance(found, dict) else found, list[Server], strict=True)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon at a free port."""
    with a_daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


def test_each_client_has_its_example() -> None:
    """Claude, its desktop and its command line, Augment in VS Code, and Auggie."""
    assert [path.name.partition(".")[0] for path in EXAMPLES] == [
        "auggie",
        "claude_code",
        "claude_desktop_config",
        "vscode_augment",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
class TestExample:
    def test_its_values_keep_the_ladder(self, path: Path) -> None:
        """What an example sets are settings that exist, with values that keep every rule."""
        (server,) = servers(path)
        known = {str(field.validation_alias) for field in Settings.model_fields.values()}
        assert server.env.keys() <= known
        settings = Settings.model_validate_strings(server.env)
        assert [found.rule.name for found in judge(profile_of(settings)) if not found.passed] == []
        assert (settings.client_timeout_s, server.timeout) in {(180.0, None), (180.0, 180_000)}

    def test_readme_names_it(self, path: Path) -> None:
        """Each file is explained beside it."""
        assert f"[{path.name}]({path.name})" in (FOLDER / "README.md").read_text("utf-8")

    @pytest.mark.slow
    async def test_it_starts_a_shim_that_lists_the_tools(
        self, path: Path, daemon: RunningDaemon, tmp_path: Path
    ) -> None:
        """With its command, arguments and environment a client shakes hands and gets the daemon's tools."""
        (server,) = servers(path)
        assert (server.command, server.type) == ("exai", "stdio")
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        port = str(daemon.ready["port"])
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "exai", *server.args],
            env={**kept, "PYTHONPATH": str(ROOT), **server.env, "EXAI_WS_PORT": port},
            cwd=tmp_path,
        )
        with (tmp_path / "shim.log").open("w") as log:
            async with Client(stdio_client(parameters, errlog=log), mode="legacy") as client:
                tools = (await client.list_tools()).tools
        assert {"analyze", "codereview", "testgen", "kimi_chat_with_tools"} <= {tool.name for tool in tools}
