import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.latency import Constant, Uniform
from reference_daemon.providers.stub_model import StubConfig, StubProvider
from reference_daemon.providers.stub_server import PortTakenError, StubServer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHAT = "/GLM/v1/chat/completions"
ADMIN = "/admin/providers/GLM"


def a_question(text: str = "hello", model: str = "glm-4.6") -> dict[str, object]:
    """Return the body of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@asynccontextmanager
async def an_open_request(
    http: httpx2.AsyncClient, stub: StubServer, headers: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Keep a request open that the stub has begun; its client goes away at the end."""
    number = 1 + max((event.execution or 0 for event in stub.events), default=0)
    asking = asyncio.create_task(http.post(CHAT, json=a_question(), headers=headers))
    await stub.wait_for(lambda event: event.execution == number)
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait({asking})


class TestChat:
    async def test_answer_says_that_it_comes_from_a_stub(self, http: httpx2.AsyncClient) -> None:
        """Nobody can take a stub's answer for a model's; it names the model asked for, and counts tokens."""
        answer = (await http.post(CHAT, json=a_question(model="glm-any"))).json()
        assert answer["choices"][0]["message"]["content"].startswith("[stub GLM glm-any]")
        assert answer["model"] == "glm-any"
        assert answer["usage"]["total_tokens"] > 0

    async def test_nonce_of_the_last_user_message_is_repeated(self, http: httpx2.AsyncClient) -> None:
        """A client can tell that an answer belongs to its own question."""
        messages = [
            {"role": "user", "content": "nonce:old"},
            {"role": "user", "content": [{"type": "text", "text": "please nonce:abc-1 now"}]},
            {"role": "assistant", "content": None},
        ]
        answer = (await http.post(CHAT, json={"model": "m", "messages": messages})).json()
        assert answer["choices"][0]["message"]["content"].endswith(" nonce:abc-1")

    async def test_models_come_with_the_default_first(self, http: httpx2.AsyncClient) -> None:
        """/models lists what the provider is set to offer, in its order."""
        listed = (await http.get("/KIMI/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["model-1", "model-2"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not json",
            b"[]",
            b'{"model": "m"}',
            b'{"model": "m", "messages": []}',
            b'{"model": "m", "messages": [], "stream": true}',
        ],
    )
    async def test_bad_request_is_refused_and_runs_nothing(
        self, stub: StubServer, http: httpx2.AsyncClient, body: bytes
    ) -> None:
        """What breaks the API gets 400 and leaves no trace in the log."""
        response = await http.post(CHAT, content=body)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert stub.events == []

    @pytest.mark.parametrize("draw", ["1", "-0.1", "nan", "x"])
    async def test_bad_draw_is_refused(self, http: httpx2.AsyncClient, draw: str) -> None:
        """A draw outside [0, 1) is a mistake of the sender's, not a latency."""
        response = await http.post(CHAT, json=a_question(), headers={"x-exai-draw": draw})
        assert response.status_code == 400

    async def test_unknown_provider_is_not_found(self, http: httpx2.AsyncClient) -> None:
        """Only the configured providers have paths."""
        assert (await http.post("/NONE/v1/chat/completions", json=a_question())).status_code == 404
        assert (await http.get("/NONE/v1/models")).status_code == 404
        assert (await http.get("/admin/providers/NONE")).status_code == 404


class TestLatency:
    async def test_draw_of_the_call_fixes_the_latency(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """The middle of the draws is the middle of a uniform distribution."""
        await http.put(ADMIN, json={"latency": "uniform:1000,2000"})
        async with an_open_request(http, stub, {"x-exai-draw": "0.5"}):
            assert stub.events[-1].latency_s == 1500.0

    async def test_a_tool_may_have_its_own_latency(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """The tool's distribution goes before the provider's."""
        await http.put(ADMIN, json={"tool_latency": {"testgen": {"constant": {"value": 1000.0}}}})
        async with an_open_request(http, stub, {"x-exai-tool": "testgen"}):
            assert (stub.events[-1].tool, stub.events[-1].latency_s) == ("testgen", 1000.0)

    async def test_equal_seeds_draw_equal_latencies(self, clock: Clock) -> None:
        """Without a draw of the call's, the stub's own generator decides, and its seed fixes the sequence."""
        sequences = []
        for _ in range(2):
            provider = StubProvider(latency=Uniform(0.0, 0.1))
            async with (
                StubServer(StubConfig(providers={"GLM": provider}, seed=7), clock) as server,
                httpx2.AsyncClient(base_url=server.origin, trust_env=False) as http,
            ):
                for _ in range(3):
                    await http.post(CHAT, json=a_question())
                sequences.append([event.latency_s for event in server.events if event.event == "start"])
        assert sequences[0] == sequences[1]
        assert len(set(sequences[0])) == 3

    async def test_execution_takes_its_latency(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """The answer comes not before the latency has passed on the stub's clock."""
        await http.put(ADMIN, json={"latency": "constant:1"})
        await http.post(CHAT, json=a_question())
        started, ended = stub.events
        assert ended.at - started.at >= 1.0


class TestConcurrency:
    async def test_one_more_than_the_limit_is_refused_at_once(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """Two run, the third gets 429 with a wait in wall seconds; a place that falls free is free."""
        await http.put(ADMIN, json={"mode": "hang"})
        async with an_open_request(http, stub), an_open_request(http, stub):
            assert stub.in_flight("GLM") == 2
            refused = await http.post(CHAT, json=a_question())
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert (stub.events[-1].event, stub.events[-1].in_flight) == ("refused", 2)
        await http.put(ADMIN, json={"mode": "ok"})
        await stub.wait_for(lambda event: (event.event, event.in_flight) == ("cancelled", 0))
        assert (await http.post(CHAT, json=a_question())).status_code == 200

    async def test_providers_do_not_share_their_limit(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """A full GLM leaves KIMI free."""
        await http.put(ADMIN, json={"mode": "hang", "concurrency": 1})
        async with an_open_request(http, stub):
            assert (await http.post("/KIMI/v1/chat/completions", json=a_question())).status_code == 200

    async def test_a_hundred_calls_in_sequence_never_meet_their_own_slot(
        self, stub: StubServer, http: httpx2.AsyncClient
    ) -> None:
        """A place is free before its answer is out, so a caller that returns at once finds it."""
        await http.put(ADMIN, json={"concurrency": 1})
        statuses = {(await http.post(CHAT, json=a_question())).status_code for _ in range(100)}
        assert statuses == {200}


class TestModes:
    @pytest.mark.parametrize(("status", "waits"), [(429, "1"), (500, None), (503, None)])
    async def test_status_refuses_at_once(
        self, stub: StubServer, http: httpx2.AsyncClient, status: int, waits: str | None
    ) -> None:
        """A provider in trouble runs nothing, and only 429 says when to come back."""
        await http.put(ADMIN, json={"mode": f"status:{status}"})
        response = await http.post(CHAT, json=a_question())
        assert (response.status_code, response.headers.get("retry-after")) == (status, waits)
        assert [(event.event, event.status, event.execution) for event in stub.events] == [("refused", status, None)]

    async def test_drip_sends_the_whole_answer_in_pieces(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """Byte by byte, the body is the same as at once."""
        await http.put(ADMIN, json={"mode": "drip", "latency": "constant:2"})
        async with http.stream("POST", CHAT, json=a_question("nonce:drip")) as response:
            pieces = [piece async for piece in response.aiter_raw()]
        assert len(pieces) > 1
        assert "nonce:drip" in json.loads(b"".join(pieces))["choices"][0]["message"]["content"]
        started, ended = stub.events
        assert (ended.event, ended.status) == ("end", 200)
        assert ended.at - started.at >= 2.0

    async def test_malformed_answers_200_with_bodies_that_break_the_api(self, http: httpx2.AsyncClient) -> None:
        """In five calls, five different ways."""
        await http.put(ADMIN, json={"mode": "malformed"})
        responses = [await http.post(CHAT, json=a_question()) for _ in range(5)]
        assert {response.status_code for response in responses} == {200}
        assert len({response.content for response in responses}) == 5

    async def test_error_rate_one_fails_every_execution(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """Failing executions run and end, with the status that is set."""
        await http.put(ADMIN, json={"error_rate": 1.0, "error_status": 502})
        assert (await http.post(CHAT, json=a_question())).status_code == 502
        assert [event.event for event in stub.events] == ["start", "end"]


class TestAdmin:
    async def test_what_is_set_is_what_is_read(self, http: httpx2.AsyncClient) -> None:
        """Given keys change, the others stay."""
        before = (await http.get(ADMIN)).json()
        changes = {"mode": "status:503", "latency": {"uniform": {"low": 1.0, "high": 2.0}}}
        assert (await http.put(ADMIN, json=changes)).status_code == 200
        assert (await http.get(ADMIN)).json() == before | changes

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"mode": "hang", "latancy": "constant:1"}, "latancy"),
            ({"mode": "hang", "latency": "constant:-1"}, "constant.value"),
            ({"mode": "hang", "latency": 5}, "latency"),
            ({"mode": "hang", "tool_latency": []}, "tool_latency"),
            ({"mode": "hang", "concurrency": 0}, "concurrency"),
            ({"mode": "hang", "concurrency": True}, "concurrency"),
            ({"mode": "hang", "error_rate": 1.1}, "error_rate"),
            ({"mode": "hang", "error_status": 200}, "error_status"),
            ({"mode": "hang", "retry_after_s": "1"}, "retry_after_s"),
            ({"mode": "status"}, "mode"),
            ({"mode": "status:200"}, "mode"),
            ({"mode": "hang:500"}, "mode"),
            ({"mode": 500}, "mode"),
            ([], "object"),
        ],
    )
    async def test_one_mistake_changes_nothing(self, http: httpx2.AsyncClient, changes: object, named: str) -> None:
        """A change is taken as a whole or not at all, and the mistake is named."""
        before = (await http.get(ADMIN)).json()
        response = await http.put(ADMIN, json=changes)
        assert response.status_code == 400
        assert named in response.json()["error"]["message"]
        assert (await http.get(ADMIN)).json() == before

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8770", ""])
    async def test_other_host_names_are_refused(self, http: httpx2.AsyncClient, host: str) -> None:
        """A web page whose name was pointed at this machine cannot change the stub."""
        response = await http.put(ADMIN, json={"mode": "hang"}, headers={"host": host})
        assert response.status_code == 403


class TestLog:
    async def test_events_carry_who_asked(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """Start and end name provider, model, tool, trace, span and execution."""
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-exai-tool": "analyze"}
        await http.post(CHAT, json=a_question(), headers=headers)
        started, ended = stub.events
        for event in (started, ended):
            assert (event.provider, event.model, event.tool) == ("GLM", "glm-4.6", "analyze")
            assert (event.trace_id, event.span_id, event.execution) == (TRACE, SPAN, 1)
        assert (started.in_flight, ended.in_flight) == (1, 0)
        assert (started.status, ended.status) == (None, 200)

    async def test_missing_or_malformed_trace_is_null(self, stub: StubServer, http: httpx2.AsyncClient) -> None:
        """A trace that cannot be read is no trace; the call runs all the same."""
        await http.post(CHAT, json=a_question(), headers={"traceparent": "nonsense"})
        assert {(event.trace_id, event.span_id) for event in stub.events} == {(None, None)}

    async def test_file_has_a_json_line_per_event_and_is_appended_to(self, clock: Clock, tmp_path: Path) -> None:
        """The file is complete while the server still runs, and a second server goes on in it."""
        path = tmp_path / "provider.jsonl"
        provider = StubProvider(latency=Constant(0.0))
        for runs in (1, 2):
            config = StubConfig(providers={"GLM": provider}, log_path=path)
            async with (
                StubServer(config, clock) as server,
                httpx2.AsyncClient(base_url=server.origin, trust_env=False) as http,
            ):
                await http.post(CHAT, json=a_question())
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                assert [line["event"] for line in lines] == ["start", "end"] * runs


class TestClientGoesAway:
    @pytest.mark.parametrize("mode", ["ok", "hang", "drip"])
    async def test_waiting_execution_is_cancelled(self, stub: StubServer, http: httpx2.AsyncClient, mode: str) -> None:
        """Whatever it waits for, an execution whose client has gone ends, is logged, and frees its place."""
        await http.put(ADMIN, json={"mode": mode, "latency": "constant:100000"})
        async with an_open_request(http, stub, {"traceparent": f"00-{TRACE}-{SPAN}-01"}):
            assert stub.in_flight("GLM") == 1
        cancelled = await stub.wait_for(lambda event: event.event == "cancelled")
        assert (cancelled.in_flight, cancelled.status, cancelled.execution) == (0, None, 1)


class TestServer:
    async def test_stopping_cuts_open_requests(self, clock: Clock) -> None:
        """The stub ends at once whatever is open; what was cut off is logged as cancelled."""
        provider = StubProvider(latency=Constant(100_000.0))
        server = StubServer(StubConfig(providers={"GLM": provider}), clock)
        async with httpx2.AsyncClient(trust_env=False, timeout=60.0) as http:
            async with server:
                asking = asyncio.create_task(http.post(server.origin + CHAT, json=a_question()))
                await server.wait_for(lambda event: event.event == "start")
            with pytest.raises(httpx2.TransportError):
                await asking
        assert [event.event for event in server.events] == ["start", "cancelled"]

    async def test_leaves_signals_and_output_alone(self, clock: Clock, capfd: pytest.CaptureFixture[str]) -> None:
        """A program that embeds the stub keeps its signal handlers, and its terminal."""
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        async with StubServer(StubConfig(), clock):
            during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        assert during == before
        assert capfd.readouterr() == ("", "")

    async def test_taken_port_is_named(self, stub: StubServer, clock: Clock) -> None:
        """Two servers cannot share a port; the error is the environment's and names it."""
        with pytest.raises(PortTakenError, match=str(stub.port)):
            async with StubServer(StubConfig(), clock, port=stub.port):
                pass

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
    def test_only_loopback_is_served(self, clock: Clock, host: str) -> None:
        """A stub has no access control, so it never listens where others can reach it."""
        with pytest.raises(ConfigError):
            StubServer(StubConfig(), clock, host)

    async def test_base_url_is_what_a_client_needs(self, stub: StubServer) -> None:
        """Each provider has its own base URL on the one port."""
        assert stub.base_url("KIMI") == f"http://127.0.0.1:{stub.port}/KIMI/v1"

    @pytest.mark.parametrize("name", ["", "glm", "a/b"])
    def test_names_are_path_segments(self, name: str) -> None:
        """A provider's name is checked, since it becomes part of a path."""
        with pytest.raises(ConfigError):
            StubConfig(providers={name: StubProvider()})
