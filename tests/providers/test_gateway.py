import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.completion import CompletionRequest, ProviderSettings
from reference_daemon.providers.errors import Failure, ProviderFailedError, ProviderLateError
from reference_daemon.providers.gateway import Gateway
from reference_daemon.providers.stub_server import StubServer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ADMIN = "/admin/providers/GLM"

# Long enough that no test ends by it, at the scale of the tests: a minute on the wall.
AMPLE_S = 1200.0

A_REQUEST = CompletionRequest(
    provider="GLM",
    model="glm-4.6",
    system="You review code.",
    prompt="Is this right? nonce:42",
    tool="analyze",
    trace_id=TRACE,
    budget_s=AMPLE_S,
)


def settings_for(base_url: str, *, stub: bool = True) -> ProviderSettings:
    """Return settings of GLM."""
    return ProviderSettings(name="GLM", base_url=base_url, api_key="key", default_model="glm-4.6", stub=stub)


@contextlib.asynccontextmanager
async def a_gateway(base_url: str, clock: Clock, *, stub: bool = True) -> AsyncIterator[Gateway]:
    """Give a gateway to one provider, and close it."""
    gateway = Gateway([settings_for(base_url, stub=stub)], clock, span_id=lambda: SPAN)
    try:
        yield gateway
    finally:
        await gateway.aclose()


@pytest.fixture
async def gateway(stub: StubServer, clock: Clock) -> AsyncIterator[Gateway]:
    """A gateway to the stub's GLM."""
    async with a_gateway(stub.base_url("GLM"), clock) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def a_provider_that_sends(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve fixed bytes, one answer per connection; give the base URL and the requests."""
    requests: list[bytes] = []
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        requests.append(head + await reader.readexactly(int(length.partition(b":")[2])))
        writer.write(left.pop(0))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", requests


def an_answer(status: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of an HTTP answer that closes its connection."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode() + body


async def failure_of(gateway: Gateway, request: CompletionRequest = A_REQUEST) -> ProviderFailedError:
    """Return the failure in which a request ends."""
    with pytest.raises(ProviderFailedError) as caught:
        await gateway.complete(request)
    return caught.value


class TestAnswer:
    async def test_answer_has_text_tokens_and_source(self, gateway: Gateway) -> None:
        """The completion is the provider's first choice, and says whether a stub made it."""
        completion = await gateway.complete(A_REQUEST)
        assert completion.text.startswith("[stub GLM glm-4.6]")
        assert completion.text.endswith("nonce:42")
        assert (completion.model, completion.provider, completion.stub) == ("glm-4.6", "GLM", True)
        assert completion.tokens_in is not None
        assert completion.tokens_out is not None

    async def test_trace_tool_and_span_reach_the_provider(self, gateway: Gateway, stub: StubServer) -> None:
        """The provider can tell which call asks, and which of its requests this is."""
        await gateway.complete(A_REQUEST)
        started = stub.events[0]
        assert (started.trace_id, started.span_id, started.tool) == (TRACE, SPAN, "analyze")

    async def test_draw_reaches_the_stub_exactly(
        self, gateway: Gateway, stub: StubServer, http: httpx2.AsyncClient
    ) -> None:
        """The stub computes the latency from the very number that the workload drew."""
        await http.put(ADMIN, json={"latency": "uniform:0,1"})
        await gateway.complete(replace(A_REQUEST, draw=0.1))
        assert stub.events[0].latency_s == 0.1

    async def test_hundreds_of_requests_run_at_once(
        self, gateway: Gateway, stub: StubServer, http: httpx2.AsyncClient
    ) -> None:
        """The connection pool is never what makes a request wait."""
        await http.put(ADMIN, json={"mode": "hang", "concurrency": 300})
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gateway.complete(A_REQUEST)) for _ in range(300)]
            await stub.wait_for(lambda event: event.in_flight == 300)
            for task in tasks:
                task.cancel()

    async def test_unknown_usage_is_none(self, clock: Clock) -> None:
        """A provider that counts no tokens still answers."""
        body = b'{"choices": [{"message": {"content": "yes"}}]}'
        async with (
            a_provider_that_sends(an_answer("200 OK", body)) as (url, _),
            a_gateway(url, clock) as gateway,
        ):
            completion = await gateway.complete(A_REQUEST)
        assert (completion.text, completion.tokens_in, completion.tokens_out) == ("yes", None, None)

    @pytest.mark.parametrize(
        ("provider", "mode", "sent"),
        [("GLM", "minimal", b'{"type":"disabled"}'), ("GLM", "low", b'{"type":"enabled"}'), ("KIMI", "low", None)],
    )
    async def test_thinking_is_switched_where_there_is_a_switch(
        self, clock: Clock, provider: str, mode: str, sent: bytes | None
    ) -> None:
        """GLM is told whether to think; a provider that knows no such field is not sent it."""
        body = b'{"choices": [{"message": {"content": "yes"}}]}'
        async with a_provider_that_sends(an_answer("200 OK", body)) as (url, requests):
            gateway = Gateway([replace(settings_for(url), name=provider)], clock)
            await gateway.complete(replace(A_REQUEST, provider=provider, thinking_mode=mode))
            await gateway.aclose()
        assert (b'"thinking":' in requests[0]) == (sent is not None)
        assert sent is None or b'"thinking":' + sent in requests[0]


class TestHeaders:
    async def test_nothing_of_the_environment_is_sent(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither an OpenAI account nor a proxy of the environment touches a provider on this machine."""
        monkeypatch.setenv("OPENAI_ORG_ID", "an-organisation")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "a-project")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        body = b'{"choices": [{"message": {"content": "yes"}}]}'
        async with (
            a_provider_that_sends(an_answer("200 OK", body)) as (url, requests),
            a_gateway(url, clock, stub=False) as gateway,
        ):
            await gateway.complete(A_REQUEST)
        assert b"authorization: bearer key" in requests[0].lower()
        assert b"other" not in requests[0]
        assert b"an-organisation" not in requests[0]
        assert b"a-project" not in requests[0]

    def test_only_a_provider_on_this_machine_is_local(self) -> None:
        """Draw and tool are told to stubs and loopback addresses, never to a real provider."""
        assert settings_for("http://127.0.0.1:1/v1", stub=False).local
        assert settings_for("http://[::1]:1/v1", stub=False).local
        assert settings_for("http://localhost/v1", stub=False).local
        assert not settings_for("https://api.example.org/v1", stub=False).local


class TestRefusals:
    @pytest.mark.parametrize(
        ("mode", "status", "retry_after_s", "reason"),
        [
            # The stub asks for 20 s, which travel as one wall second.
            ("status:429", 429, 20.0, Failure.RATE_LIMITED),
            ("status:401", 401, None, Failure.REFUSED),
            ("status:404", 404, None, Failure.REFUSED),
            ("status:500", 500, None, Failure.BROKEN),
            ("status:503", 503, None, Failure.BROKEN),
        ],
    )
    async def test_status_becomes_a_failure_without_a_second_try(
        self,
        gateway: Gateway,
        stub: StubServer,
        http: httpx2.AsyncClient,
        mode: str,
        status: int,
        retry_after_s: float | None,
        reason: Failure,
    ) -> None:
        """The provider is asked once; its status and its advice come back, in the clock's seconds."""
        await http.put(ADMIN, json={"mode": mode})
        failure = await failure_of(gateway)
        assert (failure.provider, failure.provider_status) == ("GLM", status)
        assert (failure.retry_after_s, failure.reason) == (retry_after_s, reason)
        assert [event.event for event in stub.events] == ["refused"]

    async def test_advice_beyond_an_hour_is_an_hour(self) -> None:
        """A provider cannot make anyone wait for days: what it asks is clamped."""
        slow = an_answer("429 Slow", b"{}", {"retry-after": "86400"})
        async with a_provider_that_sends(slow) as (url, _), a_gateway(url, Clock()) as gateway:
            assert (await failure_of(gateway)).retry_after_s == 3600.0

    async def test_advice_may_be_a_date(self) -> None:
        """An HTTP date in the past means: at once."""
        past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        async with (
            a_provider_that_sends(an_answer("503 Busy", b"{}", {"retry-after": past})) as (url, _),
            a_gateway(url, Clock()) as gateway,
        ):
            assert (await failure_of(gateway)).retry_after_s == 0.0

    async def test_redirects_are_not_followed(self, clock: Clock) -> None:
        """Our key goes to the address that it was given for, and nowhere else."""
        async with a_provider_that_sends() as (elsewhere, requests):
            moved = an_answer("307 Moved", b"", {"location": elsewhere})
            async with a_provider_that_sends(moved) as (url, _), a_gateway(url, clock) as gateway:
                failure = await failure_of(gateway)
        assert (failure.provider_status, failure.reason) == (307, Failure.REDIRECTED)
        assert requests == []

    async def test_the_providers_words_are_not_repeated(self, clock: Clock) -> None:
        """What a provider says may quote a prompt or a key: the error's text is ours alone."""
        body = b'{"error": {"message": "your key sk-123 is wrong"}}'
        async with (
            a_provider_that_sends(an_answer("401 sk-123", body)) as (url, _),
            a_gateway(url, clock) as gateway,
        ):
            failure = await failure_of(gateway)
        assert "sk-123" not in repr(failure) + str(failure)
        assert failure.__cause__ is None


class TestNonsense:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not json",
            b"[]",
            b"{}",
            b'{"choices": []}',
            b'{"choices": [{}]}',
            b'{"choices": [{"message": {"content": null}}]}',
            b'{"choices": [{"message": {"content": ""}}]}',
            b'{"choices": [{"message": {"content": 7}}]}',
            b'{"choices": [{"message": {"content": "\xff"}}]}',
            b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}',
            b'{"choices": ' + b"[" * 100_000,
            b'{"other": ' + b"[" * 100_000,
        ],
    )
    async def test_malformed_body_is_a_failure(self, clock: Clock, body: bytes) -> None:
        """A 200 whose body is not what was promised is the provider's failure, not a crash of ours."""
        async with (
            a_provider_that_sends(an_answer("200 OK", body)) as (url, _),
            a_gateway(url, clock) as gateway,
        ):
            failure = await failure_of(gateway)
        assert (failure.provider_status, failure.reason) == (200, Failure.NONSENSE)

    async def test_endless_answer_is_a_failure(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer longer than any model's is not read to its end."""
        monkeypatch.setattr("reference_daemon.providers.openai_client._MAX_ANSWER_BYTES", 100)
        async with (
            a_provider_that_sends(an_answer("200 OK", b"x" * 101)) as (url, _),
            a_gateway(url, clock) as gateway,
        ):
            assert (await failure_of(gateway)).reason is Failure.NONSENSE

    async def test_every_malformed_answer_of_the_stub_is_recognised(
        self, gateway: Gateway, http: httpx2.AsyncClient
    ) -> None:
        """The stub's five ways to break the API are five failures."""
        await http.put(ADMIN, json={"mode": "malformed"})
        for _ in range(5):
            assert (await failure_of(gateway)).reason is Failure.NONSENSE


class TestConnection:
    async def test_nobody_listens(self, clock: Clock) -> None:
        """A refused connection says that the provider cannot be reached."""
        async with a_provider_that_sends() as (url, _):
            pass
        async with a_gateway(url, clock) as gateway:
            failure = await failure_of(gateway)
        assert (failure.provider_status, failure.reason) == (None, Failure.UNREACHABLE)

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", b"nonsense\r\n\r\n"])
    async def test_connection_breaks(self, clock: Clock, answer: bytes) -> None:
        """Whether before the head, in the body, or after what is no HTTP: the connection broke."""
        async with a_provider_that_sends(answer) as (url, _), a_gateway(url, clock) as gateway:
            assert (await failure_of(gateway)).reason is Failure.LOST


class TestBudget:
    @pytest.mark.parametrize("mode", ["hang", "drip", "ok"])
    async def test_budget_ends_the_request(
        self, gateway: Gateway, stub: StubServer, http: httpx2.AsyncClient, mode: str
    ) -> None:
        """A provider that never answers, or drips for ever, is cut off, and sees it."""
        await http.put(ADMIN, json={"mode": mode, "latency": "constant:100000"})
        with pytest.raises(ProviderLateError) as caught:
            # Half a second on the wall, in which the stub has time to accept.
            await gateway.complete(replace(A_REQUEST, budget_s=10.0))
        assert (caught.value.provider, caught.value.budget_s) == ("GLM", 10.0)
        assert (await stub.wait_for(lambda event: event.event == "cancelled")).in_flight == 0

    async def test_no_budget_asks_nobody(self, gateway: Gateway, stub: StubServer) -> None:
        """A request whose budget has already ended is not sent."""
        with pytest.raises(ProviderLateError):
            await gateway.complete(replace(A_REQUEST, budget_s=0.0))
        assert stub.events == []

    @pytest.mark.parametrize("mode", ["hang", "drip"])
    async def test_cancelled_caller_closes_the_request(
        self, gateway: Gateway, stub: StubServer, http: httpx2.AsyncClient, mode: str
    ) -> None:
        """When the call is cancelled, the provider stops working for it."""
        await http.put(ADMIN, json={"mode": mode, "latency": "constant:100000"})
        asking = asyncio.create_task(gateway.complete(A_REQUEST))
        await stub.wait_for(lambda event: event.event == "start")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await stub.wait_for(lambda event: event.event == "cancelled")).in_flight == 0


class TestSettings:
    def test_key_is_never_shown(self) -> None:
        """Neither the settings nor an error about them print a key."""
        assert "sk-1" not in repr(replace(settings_for("http://localhost/v1"), api_key="sk-1"))
        with pytest.raises(ConfigError) as caught:
            replace(settings_for("http://localhost/v1"), api_key="sk-1\n")
        assert "sk-1" not in str(caught.value)

    @pytest.mark.parametrize("base_url", ["", "localhost", "ftp://localhost/v1", "http:///v1"])
    def test_base_url_is_checked(self, base_url: str) -> None:
        """A base URL that is none stops the start, not the first call."""
        with pytest.raises(ConfigError, match="GLM_API_URL"):
            settings_for(base_url)

    def test_only_a_stub_needs_no_key(self) -> None:
        """A real provider without a key is a mistake of the settings."""
        assert replace(settings_for("http://localhost/v1"), api_key="").stub
        with pytest.raises(ConfigError, match="GLM_API_KEY"):
            replace(settings_for("http://localhost/v1", stub=False), api_key="")


def test_import_does_not_load_openai() -> None:
    """Commands that ask nobody start without the half second that the library takes."""
    code = "import sys; import reference_daemon.providers.gateway; print('openai' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
