"""One provider, asked through the official `openai` client: the only module that imports it.

What the library would do beyond one request is switched off: its retries, following redirects with our key,
headers of an OpenAI account that the environment may hold, and proxies where the provider is on this machine.
"""

import time
from collections.abc import Mapping

import httpx2
import msgspec
import openai
from openai.types.chat import ChatCompletionMessageParam

from reference_daemon.clock import Clock
from reference_daemon.providers.completion import Completion, CompletionRequest, ProviderSettings
from reference_daemon.providers.errors import Failure, ProviderFailedError
from reference_daemon.providers.retry_after import MAX_RETRY_AFTER_S, parse_retry_after
from reference_daemon.providers.traceparent import TraceParent

# The daemon's caps decide how many requests run; the pool must never be what makes one wait.
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=5.0)
# Far above the longest answer of any model; a provider that sends more is out of hand.
_MAX_ANSWER_BYTES = 16 * 1024 * 1024

_OK, _FIRST_CLIENT_ERROR, _TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR = 200, 400, 429, 500


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIClient:
    """A client for one provider."""

    def __init__(self, settings: ProviderSettings, clock: Clock) -> None:
        """Make the client; nothing is connected yet."""
        self._settings = settings
        self._clock = clock
        http = httpx2.AsyncClient(limits=_LIMITS, trust_env=not settings.local, follow_redirects=False)
        self._client = openai.AsyncOpenAI(
            base_url=settings.base_url, api_key=settings.api_key or "stub", max_retries=0, http_client=http
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def complete(self, request: CompletionRequest, span_id: str) -> Completion:
        """Ask once; the caller bounds the whole, this the silence between two pieces of the answer.

        Raises:
            ProviderFailedError: The provider refused, failed, vanished or answered nonsense.
            TimeoutError: It was silent for the budget.
        """
        try:
            body = await self._post(request, span_id)
        except (openai.APITimeoutError, httpx2.TimeoutException):
            raise TimeoutError from None
        except openai.APIStatusError as error:
            raise self._failed_with(error.response) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            lost = isinstance(error.__cause__, httpx2.ConnectError)
            raise self._failed(Failure.UNREACHABLE if lost else Failure.LOST) from None
        except openai.OpenAIError:
            raise self._failed(Failure.NONSENSE) from None
        return self._completion(request, body)

    async def _post(self, request: CompletionRequest, span_id: str) -> bytes:
        """Return the body of the answer, its size bounded."""
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": request.prompt},
        ]
        body = bytearray()
        async with self._client.chat.completions.with_streaming_response.create(
            model=request.model,
            messages=messages,
            timeout=httpx2.Timeout(self._clock.wall_s(request.budget_s)),
            extra_headers=self._headers(request, span_id),
            extra_body=_thinking(request),
        ) as response:
            async for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES:
                    raise self._failed(Failure.NONSENSE, response.status_code)
        return bytes(body)

    def _headers(self, request: CompletionRequest, span_id: str) -> Mapping[str, str | openai.Omit]:
        headers: dict[str, str | openai.Omit] = {
            # Named here, since the library lets OPENAI_CUSTOM_HEADERS replace the key that it was given.
            "Authorization": f"Bearer {self._client.api_key}",
            "traceparent": str(TraceParent(request.trace_id, span_id)),
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
        }
        if self._settings.local:
            headers["x-exai-tool"] = request.tool
            if request.draw is not None:
                headers["x-exai-draw"] = repr(request.draw)
        return headers

    def _completion(self, request: CompletionRequest, body: bytes) -> Completion:
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._failed(Failure.NONSENSE, _OK) from None
        text = answer.choices[0].message.content if answer.choices else ""
        if not text:
            raise self._failed(Failure.NONSENSE, _OK)
        usage = answer.usage or _Usage()
        return Completion(
            text=text,
            model=request.model,
            provider=self._settings.name,
            tokens_in=usage.prompt_tokens,
            tokens_out=usage.completion_tokens,
            stub=self._settings.stub,
        )

    def _failed_with(self, response: httpx2.Response) -> ProviderFailedError:
        status = response.status_code
        if status == _TOO_MANY_REQUESTS:
            reason = Failure.RATE_LIMITED
        elif status >= _FIRST_SERVER_ERROR:
            reason = Failure.BROKEN
        else:
            reason = Failure.REFUSED if status >= _FIRST_CLIENT_ERROR else Failure.REDIRECTED
        # The header counts wall seconds; here they become the clock's.
        wall_s = parse_retry_after(response.headers.get("retry-after"), unix_now=time.time())
        retry_after_s = None if wall_s is None else min(wall_s / self._clock.scale, MAX_RETRY_AFTER_S)
        return ProviderFailedError(self._settings.name, status, retry_after_s, reason)

    def _failed(self, reason: Failure, status: int | None = None) -> ProviderFailedError:
        return ProviderFailedError(self._settings.name, status, None, reason)


def _thinking(request: CompletionRequest) -> dict[str, object] | None:
    """Say how much to think, where the provider has a switch for it: GLM can be told not to."""
    if request.provider != "GLM":
        return None
    return {"thinking": {"type": "disabled" if request.thinking_mode == "minimal" else "enabled"}}
