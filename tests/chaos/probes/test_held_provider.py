"""A provider that answers when it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from chaos.probes.held_provider import HeldProvider, Reply


@contextlib.asynccontextmanager
async def a_request(provider: HeldProvider, body: bytes = b"{}") -> AsyncIterator[asyncio.StreamReader]:
    """Ask the provider GLM, and hang up at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
    head = (
        f"POST /GLM/v1/chat/completions HTTP/1.1\r\nTraceparent: 00-abc-def-01\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_request_waits_until_it_is_let_go() -> None:
    """It counts as running meanwhile, with its provider, trace and body, and gets the answer that was chosen."""
    async with HeldProvider() as provider, a_request(provider, b"body") as reader:
        assert await provider.until_running(1)
        [asked] = provider.running
        assert (asked.provider, asked.trace_id, asked.text) == ("GLM", "abc", "body")
        asked.answer(Reply(500, b"broken", {"x-reason": "why"}))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 500")
        assert answer.endswith(b"x-reason: why\r\n\r\nbroken")
    assert (provider.running, provider.most, asked.gone) == ([], 1, False)


async def test_a_client_that_goes_is_seen() -> None:
    """Its request is over, and was not answered."""
    async with HeldProvider() as provider:
        async with a_request(provider):
            await provider.until_running(1)
            [asked] = provider.running
        assert await provider.until(lambda: asked.gone)
        assert provider.running == []


async def test_an_open_provider_holds_nothing() -> None:
    """Whatever comes is answered at once, also what waited."""
    async with HeldProvider() as provider, a_request(provider) as first:
        await provider.until_running(1)
        provider.open_up()
        async with a_request(provider) as second:
            answers = [await first.read(), await second.read()]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


async def test_what_is_no_request_gets_no_answer() -> None:
    """A caller that does not speak HTTP, or asks for something else, is hung up on."""
    async with HeldProvider() as provider:
        for said in (b"hello\r\n\r\n", b"GET /GLM/v1/models HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
            writer.write(said)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    assert provider.asked == []
