"""The shim under what went wrong in the field: a link that breaks with calls in flight, and more calls than a cap."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chaos.processes import Children
from chaos.toxiproxy import start_server
from chaos.toxiproxy_server import find_server
from reference_daemon.clock import Clock
from tests.shim.conftest import BOUND_S, ROOT, SCALE, Processes, a_call, mcp_client

pytestmark = pytest.mark.drill

STEP = {"step": "look", "step_number": 1, "total_steps": 1, "next_step_required": False}
CUT_S = 3.0
"""Unscaled seconds without a link."""


async def start_provider(processes: Processes, latency: str) -> tuple[dict[str, str], Path]:
    """Start a stub provider; return the settings that lead a daemon to it, and its log."""
    log, ready = processes.folder / "provider.jsonl", processes.folder / "provider.json"
    options = ("--port=0", f"--log={log}", f"--ready-file={ready}", f"--time-scale={SCALE}", f"--latency={latency}")
    process = await processes.exai(
        "provider",
        *options,
        "--concurrency=16",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(BOUND_S):
        await process.stdout.readuntil(b"PUT ")  # the last line that it prints: it listens
    urls = json.loads(ready.read_text("utf-8"))["base_urls"]
    return {f"{name}_API_URL": url for name, url in urls.items()}, log


def events(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a provider's log."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


async def test_cut_link_loses_no_call_and_repeats_none(processes: Processes) -> None:
    """Six calls in flight, the link gone for 3 s: six results, and the provider worked six times."""
    urls, log = await start_provider(processes, "constant:20")
    daemon = await processes.daemon(0, **urls)
    async with Children(say=lambda _: None) as children:
        toxiproxy = await start_server(
            find_server().path, children, environment=os.environ, folder=processes.folder, log=processes.folder / "t"
        )
        link = await toxiproxy.proxy("shim-daemon", upstream_port=daemon.port)
        shim = await processes.shim(link.port)
        await shim.initialize()
        tools = ["analyze", "codereview", "testgen"] * 2
        for number, tool in enumerate(tools, start=1):
            shim.send(a_call(number, tool, {**STEP, "findings": f"nonce:{number}"}))
        for _ in tools:
            await daemon.log.until(event="call_start")
        await link.cut()
        await Clock(SCALE).sleep(CUT_S)
        await link.restore()
        answers = {}
        for number in range(1, 7):
            if not any(message.get("id") == number for message in shim.seen):
                await shim.until_answered(number)
            answers[number] = next(message for message in shim.seen if message.get("id") == number)
    assert [answers[number]["result"]["isError"] for number in answers] == [False] * 6
    for number, answer in answers.items():
        assert f"nonce:{number}" in answer["result"]["content"][0]["text"]
        facts = answer["result"]["_meta"]["exai/call"]
        assert (facts["attempts"], facts["reconnects"]) == (1, 1)
    assert Counter(event["event"] for event in events(log)) == {"start": 6, "end": 6}


async def test_nine_calls_on_a_cap_of_three(processes: Processes) -> None:
    """Nine `analyze` of 35 to 55 s at once: 429s, and at least eight of them get in within three attempts and 180 s."""
    urls, log = await start_provider(processes, "uniform:35,55")
    daemon = await processes.daemon(
        0, **urls, EXAI_WS_GLM_MAX_INFLIGHT="16", EXAI_WS_SESSION_MAX_INFLIGHT="16", EXAI_CLIENT_TIMEOUT="180"
    )
    async with mcp_client(daemon.port, processes.folder) as client:
        calls = [client.call_tool("analyze", {**STEP, "findings": str(number)}) for number in range(9)]
        results = await asyncio.gather(*calls)
    facts = [result.meta["exai/call"] for result in results if result.meta is not None]
    assert sum(not result.is_error for result in results) >= 8
    assert max(each["attempts"] for each in facts) in (2, 3)
    assert max(event["in_flight"] for event in events(log)) == 3
