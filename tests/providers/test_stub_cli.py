import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import typer

from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers import stub_cli
from reference_daemon.providers.latency import Constant, Uniform
from reference_daemon.providers.stub_server import PortTakenError

# Runs the command as the umbrella does: the status is what the command returns.
PROGRAM = """
import sys, typer
from reference_daemon.providers import stub_cli
app = typer.Typer()
app.callback()(lambda: None)
stub_cli.register(app)
with typer.main.get_command(app).make_context("exai", sys.argv[1:]) as context:
    sys.exit(context.command.invoke(context))
"""


def run(*options: str) -> object:
    """Run the command in this process; for what it refuses before it serves."""
    app = typer.Typer()
    stub_cli.register(app)
    app.callback()(lambda: None)
    command = typer.main.get_command(app)
    with command.make_context("exai", ["provider", *options]) as context:
        return command.invoke(context)


@asynccontextmanager
async def a_process(*options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command in a process of its own, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        "provider",
        "--port=0",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@dataclass
class Ready:
    """What the ready file and the output say."""

    port: int
    pid: int
    base_urls: dict[str, str]
    lines: list[str]


async def until_ready(process: asyncio.subprocess.Process, ready: Path) -> Ready:
    """Wait until the process says that it serves, which it does after it wrote the ready file."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Change them"):
        lines.append((await process.stdout.readline()).decode().rstrip())
        assert lines[-1], "it ended before it was ready"
    return Ready(**json.loads(ready.read_text()), lines=lines)


class TestProcess:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    async def test_signal_ends_it_quietly(self, tmp_path: Path, number: signal.Signals, status: int) -> None:
        """Told to end with a request open, it cuts that off and ends without a traceback."""
        ready, log = tmp_path / "ready.json", tmp_path / "log.jsonl"
        async with a_process(f"--ready-file={ready}", f"--log={log}", "--mode=status:503") as process:
            facts = await until_ready(process, ready)
            async with httpx2.AsyncClient(base_url=facts.base_urls["KIMI"], trust_env=False) as http:
                question = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
                assert (await http.post("/chat/completions", json=question)).status_code == 503
                process.send_signal(number)
                _, complaints = await process.communicate()
        assert (process.returncode, complaints) == (status, b"")
        assert not ready.exists()
        assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["refused"]

    async def test_says_how_to_use_it(self, tmp_path: Path) -> None:
        """Its output can be pasted into a daemon's settings; the ready file names the process."""
        ready = tmp_path / "ready.json"
        async with a_process(f"--ready-file={ready}") as process:
            facts = await until_ready(process, ready)
            assert facts.pid == process.pid
            assert facts.base_urls == {name: f"http://127.0.0.1:{facts.port}/{name}/v1" for name in ("GLM", "KIMI")}
            process.terminate()
            assert f"KIMI_API_URL={facts.base_urls['KIMI']}" in "\n".join(facts.lines)


class TestOptions:
    def test_value_without_a_name_is_for_all(self) -> None:
        """Later options refine earlier ones."""
        config = stub_cli._config({"latency": ["constant:1", "KIMI=constant:2"], "concurrency": ["3"]}, 7, None)
        assert config.providers["GLM"].latency == Constant(1.0)
        assert config.providers["KIMI"].latency == Constant(2.0)
        assert {each.concurrency for each in config.providers.values()} == {3}
        assert config.seed == 7

    def test_defaults_are_those_of_the_drills(self) -> None:
        """Calls of 35 to 55 s, eight at once per provider."""
        for each in stub_cli._config({}, 0, None).providers.values():
            assert (each.latency, each.concurrency) == (Uniform(35.0, 55.0), 8)

    @pytest.mark.parametrize(
        ("option", "named"),
        [
            ("--latency=GML=constant:1", "GLM, KIMI"),
            ("--latency=GLM=soon", "NAME:NUMBERS"),
            ("--concurrency=0", "concurrency"),
            ("--concurrency=many", "concurrency"),
            ("--mode=KIMI=slow", "mode"),
            ("--time-scale=0", "EXAI_TIME_SCALE"),
            ("--host=0.0.0.0", "loopback"),
        ],
    )
    def test_mistake_is_wrong_usage(self, option: str, named: str) -> None:
        """It ends before it serves, with status 2, and names what was wrong."""
        with pytest.raises(ConfigError, match=named) as caught:
            run("--port=0", option)
        assert caught.value.exit_code == 2

    def test_log_that_cannot_be_opened_is_wrong_usage(self, tmp_path: Path) -> None:
        """A path into nowhere ends the command, which names it."""
        with pytest.raises(ConfigError, match="nowhere"):
            run("--port=0", f"--log={tmp_path / 'nowhere' / 'log'}")

    def test_taken_port_is_the_environments_failure(self) -> None:
        """Status 3, and one line that names the port."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(PortTakenError, match=f"port {port}") as caught:
                run(f"--port={port}")
        assert caught.value.exit_code == 3


def test_import_is_light() -> None:
    """The command's help shows without the server's libraries."""
    code = (
        "import sys; import reference_daemon.providers.stub_cli;"
        "print({'uvicorn', 'starlette', 'msgspec', 'asyncio'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
