"""The shim as MCP clients see it: real processes from the client's pipes to the stub provider."""

import asyncio
import itertools
import os
import signal
import time
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from tests.shim.conftest import BOUND_S, ROOT, SCALE, Processes, a_call, free_port, mcp_client, reading, request

ENDS_WITHIN_S = 2.0
"""The promise to clients: they wait this long after they closed stdin, then they kill."""


def text_of(result: CallToolResult) -> str:
    """Return all texts of a result."""
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


class TestClients:
    @pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
    async def test_every_era_is_served(self, processes: Processes, mode: str) -> None:
        """Clients with and without a handshake list the tools and call them."""
        daemon = await processes.daemon()
        async with mcp_client(daemon.port, processes.folder, mode=mode) as client:
            expected = HANDSHAKE_PROTOCOL_VERSIONS[-1] if mode == "legacy" else "2026-07-28"
            assert client.protocol_version == expected
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["analyze"].input_schema["properties"]["step_number"]["type"] == "integer"
            result = await client.call_tool("version", {})
            assert not result.is_error
            assert result.meta is not None
            assert result.meta["exai/call"]["outcome"] == "ok"

    async def test_parallel_calls_share_one_connection(self, processes: Processes) -> None:
        """Six calls at once through one shim all end right, each with its own progress, over one session."""
        daemon = await processes.daemon()
        async with mcp_client(daemon.port, processes.folder) as client:
            reports: dict[int, list[tuple[float, float | None, str | None]]] = {number: [] for number in range(6)}

            async def one(number: int) -> CallToolResult:
                async def note(progress: float, total: float | None, message: str | None) -> None:
                    reports[number].append((progress, total, message))

                question = {"prompt": f"question {number}", "model": "kimi-k2"}
                return await client.call_tool("chat", question, progress_callback=note)

            results = await asyncio.gather(*map(one, range(6)))
            assert [result.is_error for result in results] == [False] * 6
            facts = [result.meta["exai/call"] for result in results if result.meta is not None]
            assert len({each["trace_id"] for each in facts}) == len({each["call_key_hash"] for each in facts}) == 6
            for said in reports.values():
                assert said, "a call of 12 s has heartbeats after 5 and 10 s"
                assert all(earlier[0] < later[0] for earlier, later in itertools.pairwise(said))
                assert {total for _, total, _ in said} == {180.0}
                assert all(message is not None and "s left" in message for *_, message in said)
            daemon.process.terminate()
            log = (await daemon.log.rest()).decode()
            assert log.count('"session_opened"') == 1

    async def test_full_daemon_is_explained(self, processes: Processes) -> None:
        """A call that stays refused says that it did not run, how often it was tried, and when to come back."""
        daemon = await processes.daemon(EXAI_WS_KIMI_MAX_INFLIGHT="1", EXAI_WS_RETRY_AFTER="fixed:1")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "first", "model": "kimi-k2"}))
        await daemon.log.until(event="call_start")
        shim.send(a_call(2, "chat", {"prompt": "second", "model": "kimi-k2"}))
        result = (await shim.until_answered(2))["result"]
        assert result["isError"]
        text = result["content"][0]["text"]
        assert "1 of 1 in use (provider:KIMI)" in text
        assert "Attempts made: 3" in text
        assert "Did it run? No." in text
        assert result["_meta"]["exai/call"]["error"]["retry_after"] >= 1.0
        assert not (await shim.until_answered(1))["result"]["isError"]

    async def test_wrong_arguments_are_named(self, processes: Processes) -> None:
        """A daemon's refusal is a tool error with its field; an unknown tool comes with its neighbours."""
        daemon = await processes.daemon()
        async with mcp_client(daemon.port, processes.folder) as client:
            wrong = await client.call_tool("analyze", {"step": "x"})
            assert wrong.is_error
            assert wrong.meta is not None
            assert wrong.meta["exai/call"]["error"]["field"]
            unknown = await client.call_tool("analyse", {})
            assert unknown.is_error
            assert "analyze" in text_of(unknown)

    async def test_no_daemon_is_said(self, processes: Processes) -> None:
        """Where no daemon answers and none may be started, lists and calls fail with a reason, and do not hang."""
        async with mcp_client(free_port(), processes.folder) as client:
            with pytest.raises(MCPError, match=r"no daemon at ws://127\.0\.0\.1"):
                await client.list_tools()
            result = await client.call_tool("version", {})
            assert result.is_error
            assert "Did it run? No." in text_of(result)

    async def test_wrong_token_is_said(self, processes: Processes) -> None:
        """A shim that the daemon does not let in says which setting is wrong; the token is nowhere in the answer."""
        daemon = await processes.daemon(EXAI_WS_TOKEN="right-token")
        async with mcp_client(daemon.port, processes.folder, EXAI_WS_TOKEN="wrong-token") as client:
            result = await client.call_tool("version", {})
            assert result.is_error
            assert "EXAI_WS_TOKEN" in text_of(result)
            assert "-token" not in result.model_dump_json()


class TestWire:
    async def test_progress_only_for_a_token(self, processes: Processes) -> None:
        """Without a progressToken there is no progress; with one it increases, and ends before the answer."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "quiet"}))
        await shim.until_answered(1)
        assert [message for message in shim.seen if "method" in message] == []
        shim.send(a_call("two", "chat", {"prompt": "loud"}, progressToken="t-2"))
        await shim.until_answered("two")
        shim.send(request(3, "ping"))
        await shim.until_answered(3)
        kinds = [message.get("method", message.get("id")) for message in shim.seen[2:]]
        assert kinds[-2:] == ["two", 3]
        assert set(kinds[:-2]) == {"notifications/progress"}
        told = [message["params"] for message in shim.seen[2:-2]]
        assert {each["progressToken"] for each in told} == {"t-2"}
        progress = [each["progress"] for each in told]
        assert progress == sorted(set(progress))

    async def test_retry_wait_is_not_silent(self, processes: Processes) -> None:
        """A caller hears of its call also while it waits for its next attempt."""
        daemon = await processes.daemon(EXAI_WS_KIMI_MAX_INFLIGHT="1", EXAI_WS_RETRY_AFTER="fixed:20")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "first", "model": "kimi-k2"}))
        await daemon.log.until(event="call_start")
        shim.send(a_call(2, "chat", {"prompt": "second", "model": "kimi-k2"}, progressToken=2))
        answer = await shim.until_answered(2)
        assert answer["result"]["_meta"]["exai/call"]["attempts"] == 2
        told = [message["params"]["message"] for message in shim.seen if "method" in message]
        assert told[0].startswith("waiting for the daemon")
        assert not told[-1].startswith("waiting for the daemon")

    async def test_malformed_lines_harm_nobody(self, processes: Processes) -> None:
        """What is no message is logged; if it has an id and a method it is answered; the rest goes on."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        lines = [
            b"",
            b"nonsense",
            b"\xff\xfe",
            b"[]",
            b"{}",
            b"[" * 5000,
            b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
        ]
        shim.send(*lines, b'{"jsonrpc":"1.0","id":5,"method":"ping"}')
        assert (await shim.until_answered(5))["error"]["code"] == -32600
        shim.send({"jsonrpc": "2.0", "method": "notifications/unheard_of"}, request(6, "no/such/method"))
        assert (await shim.until_answered(6))["error"]["code"] == -32601
        shim.send(a_call(7, "version"))
        assert not (await shim.until_answered(7))["result"]["isError"]

    async def test_trace_of_the_caller_is_kept(self, processes: Processes) -> None:
        """A traceparent in `_meta` gives the trace_id, from the shim's log to the daemon's; a bad one is replaced."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        shim.send(
            a_call(1, "chat", {"prompt": "hi", "model": "glm-4.6"}, traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
        )
        shim.send(a_call(2, "version", traceparent="nonsense"))
        first, second = await shim.until_answered(2), await shim.until_answered(1)
        assert second["result"]["_meta"]["exai/call"]["trace_id"] == trace_id
        assert len(first["result"]["_meta"]["exai/call"]["trace_id"]) == 32
        start = await shim.log.until(event="call_start", trace_id=trace_id)
        there = await daemon.log.until(event="call_start", trace_id=trace_id)
        assert start["call_key"] == there["call_key"]
        assert (start["tool"], start["model"], start["timeout_s"], start["rpc_timeout_s"]) == (
            "chat",
            "glm-4.6",
            180,
            150,
        )

    async def test_unread_log_stops_nothing(self, processes: Processes) -> None:
        """A client that never reads stderr still gets its answers, however much is logged."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        filler = "x" * 100  # each call logs some 700 bytes; a pipe holds 64 KiB, the test's own buffer 2 MiB at most
        reading(shim.process, 2).pause_reading()
        for number in range(1, 301):
            shim.send(a_call(number, f"{filler}-{number}"))
            await shim.until_answered(number)


class TestCancellation:
    async def test_it_reaches_the_provider(self, processes: Processes) -> None:
        """An MCP cancellation ends the provider's work; the request is not answered, and the next one is."""
        log = processes.folder / "provider.jsonl"
        provider = await processes.exai(
            "provider",
            "--port=0",
            f"--log={log}",
            f"--time-scale={SCALE}",
            "--latency=constant:600",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        url = await _kimi_url(provider)
        daemon = await processes.daemon(KIMI_API_URL=url, KIMI_API_KEY="any")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call("slow", "chat", {"prompt": "hi", "model": "kimi-k2"}, progressToken="p"))
        start = await daemon.log.until(event="call_start")
        await _until_logged(log, "start")
        cancelled = {"requestId": "slow", "reason": "enough"}
        shim.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        await daemon.log.until(event="call_end", outcome="cancelled", trace_id=start["trace_id"])
        await _until_logged(log, "cancelled")
        await shim.log.until(event="call_end", outcome="cancelled")
        shim.seen.clear()
        shim.send(a_call(2, "version"))
        await shim.until_answered(2)
        assert [message.get("id") for message in shim.seen] == [2]


class TestLostDaemon:
    async def test_lost_call_is_unknown_and_the_next_works(self, processes: Processes) -> None:
        """When the daemon dies, its call may have run and is not sent again; with a new daemon all goes on."""
        daemon = await processes.daemon(EXAI_STUB_LATENCY="constant:600")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "hi"}))
        start = await daemon.log.until(event="call_start")
        await daemon.kill()
        second = await processes.daemon(daemon.port)
        result = (await shim.until_answered(1))["result"]
        assert result["isError"]
        facts = result["_meta"]["exai/call"]
        assert (facts["outcome"], facts["attempts"], facts["may_have_run"]) == ("unknown", 1, True)
        assert "was not sent again" in result["content"][0]["text"]
        shim.send(a_call(2, "version"))
        assert not (await shim.until_answered(2))["result"]["isError"]
        second.process.terminate()
        log = (await second.log.rest()).decode()
        assert start["trace_id"] not in log


class TestTheEnd:
    async def test_stdin_ends(self, processes: Processes) -> None:
        """With a call in flight it ends in time, with status 0; the daemon goes on with the call."""
        daemon = await processes.daemon(EXAI_STUB_LATENCY="constant:600")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "hi"}, progressToken=1))
        start = await daemon.log.until(event="call_start")
        assert shim.process.stdin is not None
        closed_at = time.monotonic()
        shim.process.stdin.close()
        async with asyncio.timeout(BOUND_S):
            assert await shim.process.wait() == 0
        assert time.monotonic() - closed_at <= ENDS_WITHIN_S
        end = await daemon.log.until(event="session_closed")
        assert end["code"] == 1000
        daemon.process.send_signal(signal.SIGTERM)  # it waits for its calls now, so the call is still there
        drain = await daemon.log.until(event="drain_started")
        assert (drain["calls"], start["tool"]) == (1, "chat")

    async def test_last_answers_are_written(self, processes: Processes) -> None:
        """Requests from a file are answered, though the file ends at once."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "version"))
        assert shim.process.stdin is not None
        shim.process.stdin.close()
        assert not (await shim.until_answered(1))["result"]["isError"]

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    async def test_signal_ends_it(self, processes: Processes, number: signal.Signals, status: int) -> None:
        """Told to end while its stdin is open and a call in flight, it does, and shows no traceback."""
        daemon = await processes.daemon(EXAI_STUB_LATENCY="constant:600")
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        shim.send(a_call(1, "chat", {"prompt": "hi"}))
        await daemon.log.until(event="call_start")
        asked_at = time.monotonic()
        shim.process.send_signal(number)
        async with asyncio.timeout(BOUND_S):
            assert await shim.process.wait() == status
        assert time.monotonic() - asked_at <= ENDS_WITHIN_S
        assert b"Traceback" not in await shim.log.rest()

    async def test_client_that_reads_no_more(self, processes: Processes) -> None:
        """A client whose end of stdout is full and unread cannot keep the shim from ending when stdin does."""
        daemon = await processes.daemon()
        shim = await processes.shim(daemon.port)
        await shim.initialize()
        reading(shim.process, 1).pause_reading()
        shim.send(*(request(number, "tools/list") for number in range(1, 101)))  # some 15 KB each
        await shim.log.until(event="shim_started")
        assert shim.process.stdin is not None
        shim.process.stdin.close()
        closed_at = time.monotonic()
        async with asyncio.timeout(BOUND_S):
            while shim.process.returncode is None:  # noqa: ASYNC110 - `wait()` would also wait for the full pipe
                await asyncio.sleep(0.02)
        assert time.monotonic() - closed_at <= ENDS_WITHIN_S

    async def test_bad_settings_are_named(self, processes: Processes) -> None:
        """A setting that breaks a rule ends it with status 2, on stderr; stdout stays empty."""
        shim = await processes.shim(0)
        assert await shim.process.wait() == 2
        assert b"EXAI_WS_PORT" in await shim.log.rest()
        assert shim.process.stdout is not None
        assert await shim.process.stdout.read() == b""


async def _kimi_url(provider: asyncio.subprocess.Process) -> str:
    """Return the address that a stub provider prints."""
    assert provider.stdout is not None
    async with asyncio.timeout(BOUND_S):
        async for line in provider.stdout:
            name, _, url = line.decode().strip().partition("=")
            if name == "KIMI_API_URL":
                return url
    raise AssertionError("the provider did not start")


async def _until_logged(path: Any, event: str) -> None:
    """Wait until the provider has logged an event; a file can only be looked at again and again."""
    async with asyncio.timeout(BOUND_S):
        while f'"event":"{event}"' not in path.read_text("utf-8"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
