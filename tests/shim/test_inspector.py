"""The shim under the MCP project's own command-line client, which is written against the protocol, not against us."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.shim.conftest import BOUND_S, ROOT, Processes, environment

VERSION = "2.12.0"
PACKAGE = f"@modelcontextprotocol/inspector@{VERSION}"
INSTALL_WITHIN_S = 100.0
"""Wall seconds for about 120 packages."""


def cache() -> Path:
    """Return the user's folder for what can be fetched again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "exai-harness" / f"mcp-inspector-{VERSION}"


@pytest.fixture(scope="session")
def inspector() -> str:
    """The inspector's command, installed once per machine."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "node_modules" / ".bin" / "mcp-inspector"
    with FileLock(folder / "install.lock"):
        if not command.exists():
            install = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
            try:
                subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_WITHIN_S)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"npm cannot install {PACKAGE} ({type(error).__name__})")
    return str(command)


async def inspect(command: str, env: dict[str, str], folder: Path, *method: str) -> Any:
    """Run one method through a shim that the inspector starts, and return its result."""
    passed = [option for name, value in env.items() if name != "PATH" for option in ("-e", f"{name}={value}")]
    arguments = ["--cli", *passed, "--method", *method, "--", sys.executable, "-m", "exai", "shim"]
    process = await asyncio.create_subprocess_exec(
        command, *arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}
    )
    try:
        async with asyncio.timeout(BOUND_S):
            answer, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return json.loads(answer)


@pytest.mark.slow
async def test_inspector_lists_and_calls(inspector: str, processes: Processes) -> None:
    """It finds the tools with their schemas, and gets a text from a call. Each starts node and Python."""
    daemon = await processes.daemon()
    env = {**environment(daemon.port, processes.folder), "PYTHONPATH": str(ROOT)}
    tools = {tool["name"]: tool for tool in (await inspect(inspector, env, processes.folder, "tools/list"))["tools"]}
    assert "step" in tools["analyze"]["inputSchema"]["properties"]
    question = ("tools/call", "--tool-name", "chat", "--tool-arg", "prompt=hello")
    result = await inspect(inspector, env, processes.folder, *question)
    assert not result["isError"]
    assert result["content"][0]["text"]
