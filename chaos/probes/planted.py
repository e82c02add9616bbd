"""Secrets are sent to the daemon; no answer may tell them (INV-35). What the logs say is searched afterwards."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from websockets.exceptions import ConnectionClosed

from chaos.probes.case import MARKER, Case, Seen
from chaos.probes.keys import a_chat, fresh_key, started
from chaos.probes.raw import a_call, describe, dialled, hello_of, http_status, session
from chaos.probes.target import Target

EXCEPTION: Final = re.compile(r"\b(\w*(?:Error|Exception|Timeout|Late|Failed))\(|Traceback")
"""An exception as Python writes it."""

TIMEOUT_S: Final = 2.0
"""Seconds, unscaled, that the call may take: no provider is as fast."""


def cases(_target: Target) -> Iterator[Case]:
    """Give the questions."""
    yield Case("INV-35", "planted secrets in the answer to a hello", "in no answer", _in_hello)
    yield Case("INV-35", "planted secrets in errors and health", "in no answer", _in_errors)
    yield Case("INV-35", "the error of a call whose time is over", "no text of an exception", _exception)
    yield Case("INV-35", "planted secrets in the metrics", "not there", _in_metrics)


async def _in_hello(target: Target) -> Seen:
    async with dialled(target) as client:
        await client.send(hello_of(f"{MARKER}-token", x=MARKER))
        with suppress(ConnectionClosed):
            await client.receive()
        return _told(client.seen, target)


async def _in_errors(target: Target) -> Seen:
    key = fresh_key()
    async with session(target) as client:
        for number, frame in enumerate(_bad(key)):
            await client.ask(frame | {"request_id": f"r{number}"})
        await client.ask(a_call("version", "first", call_key=key))
        await client.until("call_tool_res", "first")
        await client.ask(a_chat("second", call_key=key))
        await client.is_well()
        return _told(client.seen, target)


def _bad(key: str) -> Iterator[dict[str, object]]:
    """Give requests that are refused, each with something planted in it."""
    yield {"op": f"{MARKER}-op"}
    yield a_call("analyze", "", {"step": f"{MARKER}-step"})
    yield a_call("chat", "", {"prompt": [f"{MARKER}-prompt"]})
    yield a_call("chat", "", {"prompt": MARKER, "model": {"x": MARKER}})
    yield a_call("version", "", call_key=key * 10)
    yield a_call("version", "", timeout=f"{MARKER}-timeout")
    yield {"op": "rotate_token", "old": [f"{MARKER}-old"], "new": f"{MARKER}-new"}
    yield {"op": "attach", "call_key": fresh_key()}
    yield {"op": "cancel"}


async def _exception(target: Target) -> Seen:
    async with session(target) as client:
        await started(client, a_chat("r", call_key=fresh_key(), timeout=TIMEOUT_S))
        last = await client.until("call_tool_res", "r")
    shown = EXCEPTION.search(json.dumps(last))
    return Seen(f"{describe(last)}{f', showing {shown[1]}' if shown else ''}", shown is None)


async def _in_metrics(target: Target) -> Seen:
    headers = [("Host", "localhost")]
    if target.token is not None:
        headers.append(("Authorization", f"Bearer {target.token}"))
    texts = []
    for path in ("/metrics", "/healthz"):
        _, body = await http_status(target, headers, path)
        texts.append(body.decode("utf-8", "replace"))
    return _told(texts, target)


def _told(texts: list[str], target: Target) -> Seen:
    secrets = [MARKER, *([target.token] if target.token else [])]
    found = [text for text in texts if any(secret in text for secret in secrets)]
    return Seen(f"in {len(found)} of {len(texts)} answers", not found)
