"""What must not get out: planted secrets are searched for wherever the daemon writes or answers."""

import json
import os
import unicodedata
from pathlib import Path

from reference_daemon.observability.lines import LineSink
from reference_daemon.observability.logs import configure_logging
from reference_daemon.providers.errors import Failure, ProviderFailedError
from tests.daemon.conftest import House, Lines
from tests.daemon.fake_tools import FakeTool, raising
from tests.daemon.raw_client import http_get

TOKEN = "s3cret-token-that-lets-in"
SPLIT = "two\r\nlines\x1b[2J\x85\u2028\u2029\x00\x9b31m\x7f"
"""Characters that break a line, or that a terminal obeys."""


def leaks() -> RuntimeError:
    """Return an exception whose text, cause and notes are secrets."""
    error = RuntimeError("s3cret-exception")
    error.__cause__ = ValueError("s3cret-cause")
    error.add_note("s3cret-note")
    return error


def provider_leaks() -> ProviderFailedError:
    """Return a provider's error whose cause quotes what was sent."""
    error = ProviderFailedError("GLM", 400, None, Failure.REFUSED)
    error.__cause__ = ValueError("s3cret-provider")
    return error


async def test_planted_secrets_stay_inside(house: House, logged: Lines, tmp_path: Path) -> None:
    """No token, key, argument, result, exception or provider's text is in a log, a metric, a figure or an error."""
    house.add(FakeTool("leaks", raising(leaks)))
    house.add(FakeTool("provider_leaks", raising(provider_leaks), provider="GLM"))
    daemon = await house.start(EXAI_WS_TOKEN=TOKEN)
    stranger = await house.dial(daemon)
    told = [await stranger.ask({"op": "hello", "token": TOKEN[:-1]})]
    client = await house.enter(daemon, {"token": TOKEN})
    await http_get(daemon.port, "/healthz", [("Host", "localhost"), ("Authorization", f"Bearer {TOKEN[:-1]}")])
    told.append(await client.ask({"op": "rotate_token", "old": "s3cret-wrong", "new": "s3cret-new-token"}))
    told.append(await client.ask({"op": "rotate_token", "old": ["s3cret"], "new": "s3cret-new-token"}))
    secret = {"text": "s3cret-argument"}
    for name in ("leaks", "provider_leaks"):
        await client.call(name, name, secret, call_key=f"s3cret-key-{name}")
        told += [await client.result(name), await client.call(name, "again", secret, call_key=f"s3cret-key-{name}")]
        told.append(await client.call(name, "other", {}, call_key=f"s3cret-key-{name}"))
    await client.call("hold", "held", secret, call_key="s3cret-held")
    told.append(await client.call("hold", "twice", secret, call_key="s3cret-held"))
    told.append(await client.call("echo", "unfit", {**secret, "unfit": "s3cret"}))
    told.append(await client.call("s3cret", "wrong-type", arguments="s3cret"))  # type: ignore[arg-type]
    told.append(await client.ask('{"op":"s3cret","request_id":"r"}'))
    told.append(await client.ask({"op": "attach", "request_id": "a", "call_key": "s3cret-unknown"}))
    told.append(await client.health())
    assert "s3cret" not in json.dumps(told)
    page = await http_get(daemon.port, "/metrics", [("Host", "localhost"), ("Authorization", f"Bearer {TOKEN}")])
    assert page.status == 200
    house.metrics_sink.flush()
    written = page.body.decode() + json.dumps(logged()) + (tmp_path / "metrics.jsonl").read_text("utf-8")
    assert "call_end" in written
    assert "s3cret" not in written


async def test_lines_stay_lines(house: House, tmp_path: Path) -> None:
    """What a client chooses (ids, names, labels) never breaks a line of the console log, nor moves its cursor."""
    path = tmp_path / "console.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    sink = configure_logging("console", "DEBUG", sink=LineSink(descriptor))
    daemon = await house.start(EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
    client = await house.enter(daemon, {"session_id": SPLIT, "client": {"name": SPLIT, "version": SPLIT}})
    await client.call("hold", SPLIT, trace_id=SPLIT * 300, call_key=SPLIT)
    await client.call("hold", SPLIT + "2", trace_id=SPLIT, call_key=SPLIT)
    await client.call("echo", SPLIT + "3")
    await client.call(SPLIT, SPLIT + "4")
    await client.ask({"op": "attach", "request_id": SPLIT + "5", "call_key": SPLIT})
    house.tools["hold"].release.set()
    await client.result(SPLIT)
    sink.flush()
    os.close(descriptor)
    text = path.read_text("utf-8")
    events = [line.split()[2] for line in text.split("\n")[:-1]]
    assert events == [
        "session_opened",
        "call_start",
        "duplicate",
        "over_capacity",
        "bad_request",
        "attached",
        "call_end",
    ]
    assert {unicodedata.category(character) for character in text if character != "\n"} & {"Cc", "Zl", "Zp"} == set()


async def test_who_was_not_let_in_is_logged(house: House, logged: Lines) -> None:
    """A refused hello, Origin or Host is in the log, with the reason: else nobody could see why."""
    daemon = await house.start(EXAI_WS_TOKEN=TOKEN)
    await http_get(daemon.port, "/", [("Host", "evil.example")])
    await http_get(daemon.port, "/", [("Host", "localhost"), ("Origin", "https://evil" + "x" * 1000)])
    stranger = await house.dial(daemon)
    await stranger.ask({"op": "hello", "token": "guess"})
    await stranger.close_code()
    lines = [line for line in logged() if line["event"] in {"hello_refused", "upgrade_refused"}]
    assert [line["reason"] for line in lines] == ["host", "origin", "unauthorized"]
    assert lines[1]["origin"].startswith("https://evilx")
    assert len(lines[1]["origin"]) == 64
