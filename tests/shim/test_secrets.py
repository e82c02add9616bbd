"""What must stay inside, looked for in everything that shim and daemon write, with every secret planted."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.shim.conftest import Processes, a_call

TOKEN, ARGUMENT = "planted-token-4711-0815", "planted-argument-4711"
API_KEY, PROVIDER_TEXT = "planted-api-key-4711", "planted-provider-text-4711"
STEP = {"step": "look", "step_number": 1, "total_steps": 1, "next_step_required": False}


@asynccontextmanager
async def talkative_provider() -> AsyncIterator[str]:
    """Run a provider that fails, and says more than it should; yields its URL."""

    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"error": {"message": PROVIDER_TEXT, "code": PROVIDER_TEXT}}).encode()
        head = f"HTTP/1.1 500 {PROVIDER_TEXT}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(fail, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_planted_secrets_stay_inside(processes: Processes) -> None:
    """Token, API key, arguments and a provider's own words are in no log, metric, health file or error text."""
    async with talkative_provider() as url:
        daemon = await processes.daemon(0, EXAI_WS_TOKEN=TOKEN, GLM_API_URL=url, GLM_API_KEY=API_KEY)
        shim = await processes.shim(daemon.port, EXAI_WS_TOKEN=TOKEN)
        await shim.initialize()
        shim.send(
            a_call(1, "analyze", {**STEP, "findings": ARGUMENT}),
            a_call(2, "analyze", {**STEP, "findings": {"wrong": ARGUMENT}}),
            a_call(3, "chat", {"prompt": ARGUMENT, "model": "no-such-model"}),
            a_call(4, ARGUMENT, {}),
            a_call(5, "version", {}),
        )
        for number in range(1, 6):
            if not any(message.get("id") == number for message in shim.seen):
                await shim.until_answered(number)
        assert shim.process.stdin is not None
        shim.process.stdin.close()
        shim_log = await shim.log.rest()
        daemon.process.terminate()
        daemon_log = b"".join(daemon.log.lines) + await daemon.log.rest()
    outcomes = {message["id"]: message["result"]["isError"] for message in shim.seen if message.get("id")}
    assert outcomes == {1: True, 2: True, 3: True, 4: True, 5: False}
    written = {path.name: path.read_bytes() for path in processes.folder.rglob("*") if path.is_file()}
    assert "ws_daemon.metrics.jsonl" in written
    written |= {"shim log": shim_log, "daemon log": daemon_log, "answers": json.dumps(shim.seen).encode()}
    # A tool's name is what the person asked for: it may be named in the log and in the answer, nothing else may.
    secrets = {TOKEN, API_KEY, PROVIDER_TEXT}
    assert [(name, secret) for name, text in written.items() for secret in secrets if secret.encode() in text] == []
    assert b"findings" in written["answers"], "the wrong argument is named, without its value"
    for name, text in written.items():
        lines = [line for line in text.split(b"\n") if ARGUMENT.encode() in line]
        assert all(b'"tool":"' + ARGUMENT.encode() in line or name == "answers" for line in lines), (name, lines)
    told = [message["result"]["content"][0]["text"] for message in shim.seen if message.get("id") in (1, 2, 3)]
    assert not any(ARGUMENT in text for text in told)
