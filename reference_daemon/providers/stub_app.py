"""The stub provider's ASGI application: several providers by path, and a loopback admin endpoint.

    POST /GLM/v1/chat/completions    GET /GLM/v1/models    GET, PUT /admin/providers/GLM

Every execution is watched for its client's leaving, while it waits and while it drips: the server announces
it on `receive`, which nobody else reads once the body is in.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from reference_daemon.clock import Clock
from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.stub_execution import TOO_MANY_REQUESTS, Caller, Execution, Provider
from reference_daemon.providers.stub_log import StubLog, unix_s
from reference_daemon.providers.stub_model import ModeKind, StubConfig
from reference_daemon.providers.stub_wire import (
    MALFORMED_BODIES,
    MAX_REQUEST_BYTES,
    BadRequestError,
    Question,
    read_question,
    write_answer,
    write_error,
    write_models,
)
from reference_daemon.providers.traceparent import parse_traceparent

OK = 200
# Names by which a client on the same machine may call the server; a web page that was lured here has another
# one.
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


class StubApp:
    """The stub's endpoints and the state behind them."""

    def __init__(self, config: StubConfig, clock: Clock, log: StubLog) -> None:
        """Make the application; `asgi` is what a server runs."""
        self._clock = clock
        self._random = random.Random(config.seed)
        numbers = itertools.count(1)
        self.providers: Mapping[str, Provider] = {
            name: Provider(name, settings, clock, log, numbers) for name, settings in config.providers.items()
        }
        self.asgi = Starlette(
            routes=[
                Route("/{provider}/v1/chat/completions", _Chat(self._chat), methods=["POST"]),
                Route("/{provider}/v1/models", self._models),
                Route("/admin/providers/{provider}", self._admin, methods=["GET", "PUT"]),
            ]
        )

    async def _models(self, request: Request) -> Response:
        provider = self.providers.get(request.path_params["provider"])
        if provider is None:
            return _error(404, "no such provider", "not_found")
        return _json(200, write_models(provider.name, provider.settings.models))

    async def _admin(self, request: Request) -> Response:
        provider = self.providers.get(request.path_params["provider"])
        if _host_name(request) not in _LOOPBACK_HOSTS:
            return _error(403, "the admin endpoint answers to loopback names only", "forbidden")
        if provider is None:
            return _error(404, "no such provider", "not_found")
        if request.method == "PUT":
            try:
                changes = msgspec.json.decode(await _body(request), type=dict[str, object])
                provider.settings = provider.settings.changed(changes)
            except (msgspec.DecodeError, ConfigError, BadRequestError) as error:
                return _error(400, str(error), "invalid_request_error")
        return _json(200, msgspec.json.encode({**provider.settings.to_mapping(), "in_flight": provider.in_flight}))

    async def _chat(self, request: Request, send: Send) -> None:
        """Answer one chat request; cancelled when its client goes away."""
        provider = self.providers.get(request.path_params["provider"])
        if provider is None:
            await _error(404, "no such provider", "not_found")(request.scope, request.receive, send)
            return
        try:
            question = read_question(await _body(request))
            draw = self._draw(request)
        except BadRequestError as error:
            await _error(400, error.reason, "invalid_request_error")(request.scope, request.receive, send)
            return
        trace = parse_traceparent(request.headers.get("traceparent"))
        caller = Caller(question.model, request.headers.get("x-exai-tool"), trace)
        status = provider.refusal()
        if status is not None:
            provider.refuse(caller, status)
            await self._refusal(provider, status)(request.scope, request.receive, send)
            return
        answering = _Answering(request, send, question)
        await _unless_gone(request.receive, self._execute(provider.execution(caller, draw), answering))

    def _draw(self, request: Request) -> float:
        text = request.headers.get("x-exai-draw")
        if text is None:
            return self._random.random()
        with suppress(ValueError):
            if 0.0 <= (draw := float(text)) < 1.0:
                return draw
        raise BadRequestError("x-exai-draw must be a number in [0, 1)")

    def _refusal(self, provider: Provider, status: int) -> Response:
        response = _error(status, "the stub refuses this request", "stub_refusal")
        if status == TOO_MANY_REQUESTS:
            # HTTP times are wall seconds: here the clock ends.
            response.headers["retry-after"] = f"{self._clock.wall_s(provider.settings.retry_after_s):.9g}"
        return response

    async def _execute(self, execution: Execution, answering: "_Answering") -> None:
        """Let the time of an execution pass as the provider's mode says, and answer."""
        with execution:
            if execution.mode.kind is ModeKind.HANG:
                await asyncio.Event().wait()
            if execution.mode.kind is ModeKind.DRIP:
                await self._drip(execution, answering)
                return
            await execution.wait_until(1.0)
            execution.end(status := execution.settings.error_status if execution.fails else OK)
        await answering.answer(self._response(execution, answering.question, status))

    def _response(self, execution: Execution, question: Question, status: int) -> Response:
        if status != OK:
            return _error(status, "the stub fails this request", "stub_error")
        if execution.mode.kind is ModeKind.MALFORMED:
            return _json(200, MALFORMED_BODIES[execution.number % len(MALFORMED_BODIES)])
        return _json(200, write_answer(execution.provider.name, question, execution.number, int(unix_s())))

    async def _drip(self, execution: Execution, answering: "_Answering") -> None:
        response = self._response(execution, answering.question, OK)
        body = bytes(response.body)
        await answering.start(response)
        for index, byte in enumerate(body):
            await execution.wait_until((index + 1) / len(body))
            if index + 1 == len(body):
                execution.end(OK)
            await answering.continue_with(bytes([byte]), more=index + 1 < len(body))


@dataclass(frozen=True, slots=True)
class _Answering:
    """A request that is to be answered."""

    request: Request
    send: Send
    question: Question

    async def answer(self, response: Response) -> None:
        """Send a whole response."""
        await response(self.request.scope, self.request.receive, self.send)

    async def start(self, response: Response) -> None:
        """Send the head of a response; the body follows."""
        await self.send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )

    async def continue_with(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body."""
        await self.send({"type": "http.response.body", "body": body, "more_body": more})


class _Chat:
    """Hands `send` to the chat endpoint, which Starlette keeps from plain functions."""

    def __init__(self, handle: Callable[[Request, Send], Awaitable[None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):  # gone before its request was read: nothing ran, nobody to answer
            await self._handle(Request(scope, receive), send)


async def _unless_gone(receive: Receive, work: Coroutine[None, None, None]) -> None:
    """Run `work`; cancel it as soon as the client is gone."""
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})
    if not working.cancelled():
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        BadRequestError: It is too long.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise BadRequestError(f"the body is longer than {MAX_REQUEST_BYTES} bytes")
    return bytes(body)


def _host_name(request: Request) -> str:
    name, separator, port = request.headers.get("host", "").rpartition(":")
    return name if separator and port.isdigit() else f"{name}{separator}{port}"


def _json(status: int, body: bytes) -> Response:
    return Response(body, status, media_type="application/json")


def _error(status: int, message: str, kind: str) -> Response:
    return _json(status, write_error(message, kind))
