"""Every error of the wire, with its status and its facts: each code is provoked once at least."""

# ruff: noqa: D103 - what a function provokes stands above it, and its name says how

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reference_daemon.policy import core
from reference_daemon.policy.events import CallKind
from reference_daemon.providers.errors import Failure, ProviderFailedError, ProviderLateError
from reference_daemon.server.context import CallContext
from reference_daemon.wire import ERROR_STATUS
from tests.daemon.conftest import House
from tests.daemon.fake_tools import Arguments, FakeTool, raising
from tests.daemon.raw_client import Frame

Provoke = Callable[[House], Awaitable[tuple[Frame, dict[str, Any]]]]
"""Provokes an error; returns it, and the facts that it must have at least."""

HELLO_CODES = {"invalid_hello", "missing_hello", "unauthorized", "too_many_sessions"}
"""Refused hellos have a code and nothing else; test_hello.py is about them."""

PROVOKED: dict[str, list[Provoke]] = {}


def provokes(code: str) -> Callable[[Provoke], Provoke]:
    """Note that a function provokes a code."""

    def note(provoke: Provoke) -> Provoke:
        PROVOKED.setdefault(code, []).append(provoke)
        return provoke

    return note


@provokes("BAD_REQUEST")
async def unfit_arguments(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    return (await client.call("echo", "r", {"unfit": 1}))["error"], {"field": "unfit"}


@provokes("TOOL_NOT_FOUND")
async def near_miss(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    return (await client.call("ecko", "r"))["error"], {"nearest": ["echo"]}


@provokes("UNKNOWN_CALL")
async def cancel_nothing(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    return await client.ask({"op": "cancel", "request_id": "r"}), {"op": "error", "request_id": "r"}


@provokes("UNKNOWN_CALL")
async def attach_to_nothing(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    return await client.ask({"op": "attach", "request_id": "r", "call_key": "k"}), {"op": "error", "request_id": "r"}


@provokes("DUPLICATE")
async def key_in_flight(house: House) -> tuple[Frame, dict[str, Any]]:
    daemon = await house.start(EXAI_WS_CALL_TIMEOUT=50)
    client, other = await house.enter(daemon), await house.enter(daemon)
    ack = await client.call("hold", "first", call_key="k")
    refused = (await other.call("hold", "second", call_key="k"))["error"]
    assert refused["elapsed"] + refused["remaining"] == pytest.approx(50, abs=0.002)  # rounded to ms, each
    return refused, {"original_request_id": "first", "original_trace_id": ack["trace_id"]}


@provokes("DUPLICATE")
async def request_id_in_flight(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    await client.call("hold", "r")
    refused = await client.call("echo", "r")
    assert {"elapsed", "remaining"} <= refused.keys()
    return refused, {"op": "error", "request_id": "r", "original_request_id": "r"}


@provokes("SUPERSEDED")
async def lapsed_key(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start(EXAI_WS_INFLIGHT_TTL_SECS=1e-6))
    await client.call("hold", "old", call_key="k")
    await client.send({"op": "call_tool", "request_id": "new", "name": "hold", "call_key": "k"})
    return (await client.result("old"))["error"], {"superseded_by": "new"}


@provokes("GONE")
async def result_too_large_to_keep(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start(EXAI_WS_RESULT_MAX_BYTES=10))
    await client.call("many_bytes", "r", {"n": 100}, call_key="k")
    await client.result("r")
    return await client.ask({"op": "attach", "request_id": "a", "call_key": "k"}), {"op": "error", "request_id": "a"}


@provokes("TOO_LARGE")
async def large_arguments(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start(EXAI_WS_MAX_ARGUMENTS_BYTES=1000))
    refused = (await client.call("echo", "r", {"text": "x" * 1000}))["error"]
    return refused, {"field": "arguments", "limit": 1000}


@provokes("TOO_LARGE")
async def large_result(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start(EXAI_WS_MAX_RESULT_BYTES=1000))
    await client.call("many_bytes", "r", {"n": 1001})
    return (await client.result("r"))["error"], {"limit": 1000}


@provokes("KEY_REUSED")
async def other_work_while_it_runs(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    await client.call("hold", "first", {"text": "a"}, call_key="k")
    return (await client.call("hold", "r", {"text": "b"}, call_key="k"))["error"], {"original_request_id": "first"}


@provokes("KEY_REUSED")
async def other_work_afterwards(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    await client.call("echo", "first", {"text": "a"}, call_key="k")
    await client.result("first")
    return (await client.call("hold", "r", {"text": "a"}, call_key="k"))["error"], {"original_request_id": "first"}


async def refused_by(house: House, tool: str, **settings: Any) -> Frame:
    """Return what the second call gets where a pool has one slot."""
    daemon = await house.start(**settings)
    client = await house.enter(daemon)
    await client.call(tool, "1", {"text": "a"})
    error: Frame = (await client.call(tool, "2", {"text": "b"}))["error"]
    assert 0 < error["retry_after"] <= 180
    return error


@provokes("OVER_CAPACITY")
async def full_daemon(house: House) -> tuple[Frame, dict[str, Any]]:
    error = await refused_by(house, "hold", EXAI_WS_GLOBAL_MAX_INFLIGHT=1)
    return error, {"scope": "global", "limit": 1, "in_use": 1}


@provokes("OVER_CAPACITY")
async def full_session(house: House) -> tuple[Frame, dict[str, Any]]:
    error = await refused_by(house, "hold", EXAI_WS_SESSION_MAX_INFLIGHT=1)
    return error, {"scope": "session", "limit": 1, "in_use": 1}


@provokes("OVER_CAPACITY")
async def full_tool(house: House) -> tuple[Frame, dict[str, Any]]:
    error = await refused_by(house, "hold", EXAI_WS_TOOL_MAX_INFLIGHT="hold=1")
    return error, {"scope": "tool:hold", "limit": 1, "in_use": 1}


@provokes("OVER_CAPACITY")
async def full_provider(house: House) -> tuple[Frame, dict[str, Any]]:
    error = await refused_by(house, "held_chat", **{"EXAI_WS_<PROVIDER>_MAX_INFLIGHT": {"GLM": 1}})
    return error, {"scope": "provider:GLM", "limit": 1, "in_use": 1}


@provokes("OVER_CAPACITY")
async def too_many_attached(house: House) -> tuple[Frame, dict[str, Any]]:
    """Attaching is free, but not endless."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "MAX_ATTACHED", 64)
        client = await house.enter(await house.start(EXAI_WS_SESSION_MAX_INFLIGHT=1))
    await client.call("hold", "r", call_key="k")
    for number in range(100):
        await client.send({"op": "attach", "request_id": str(number), "call_key": "k"})
    error = (await client.frames_until("error"))[-1]
    assert error["retry_after"] > 0
    return error, {"op": "error", "scope": "session", "limit": 65, "in_use": 65}


@provokes("CANCELLED")
async def cancelled(house: House) -> tuple[Frame, dict[str, Any]]:
    client = await house.enter(await house.start())
    await client.call("hold", "r")
    return (await client.ask({"op": "cancel", "request_id": "r"}))["error"], {}


@provokes("EXEC_ERROR")
async def tool_that_raises(house: House) -> tuple[Frame, dict[str, Any]]:
    house.add(FakeTool("broken", raising(lambda: RuntimeError("s3cret"))))
    client = await house.enter(await house.start())
    await client.call("broken", "r")
    return (await client.result("r"))["error"], {"message": "the tool failed (RuntimeError)"}


@provokes("EXEC_ERROR")
async def tool_whose_text_is_none(house: House) -> tuple[Frame, dict[str, Any]]:
    """A provider's JSON may hold half of a surrogate pair, which no UTF-8 can say."""
    house.add(FakeTool("half", half_a_pair))
    client = await house.enter(await house.start())
    await client.call("half", "r")
    return (await client.result("r"))["error"], {"message": "the tool failed (UnicodeEncodeError)"}


async def half_a_pair(arguments: Arguments, context: CallContext) -> list[str]:
    """Return text that is none."""
    return ["\ud83d"]


@provokes("INTERRUPTED")
async def daemon_that_ends(house: House) -> tuple[Frame, dict[str, Any]]:
    daemon = await house.start(EXAI_WS_DRAIN_GRACE_SECS=0.01)
    client = await house.enter(daemon)
    await client.call("hold", "r")
    await daemon.drain()
    return (await client.result("r"))["error"], {}


@provokes("PROVIDER_ERROR")
async def provider_that_fails(house: House) -> tuple[Frame, dict[str, Any]]:
    failed = ProviderFailedError("GLM", 429, 7.0, Failure.RATE_LIMITED)
    house.add(FakeTool("chatty", raising(lambda: failed), provider="GLM"))
    client = await house.enter(await house.start())
    await client.call("chatty", "r")
    return (await client.result("r"))["error"], {"provider": "GLM", "provider_status": 429, "retry_after": 7.0}


@provokes("DRAINING")
async def daemon_that_drains(house: House) -> tuple[Frame, dict[str, Any]]:
    daemon = await house.start()
    client = await house.enter(daemon)
    await daemon.drain()
    error = (await client.call("echo", "r"))["error"]
    assert error["retry_after"] > 0
    return error, {}


async def late(house: House, kind: CallKind, **settings: Any) -> Frame:
    """Return what a call gets that never ends."""
    house.add(FakeTool("endless", kind=kind))
    client = await house.enter(await house.start(scale=0.01, **settings))
    await client.call("endless", "r")
    error: Frame = (await client.result("r"))["error"]
    assert error["elapsed"] >= error["limit"]
    return error


@provokes("TIMEOUT")
async def late_call(house: House) -> tuple[Frame, dict[str, Any]]:
    return await late(house, CallKind.CHAT, EXAI_WS_CALL_TIMEOUT=6), {"limit": 6.0, "phase": "step"}


@provokes("TIMEOUT")
async def late_provider(house: House) -> tuple[Frame, dict[str, Any]]:
    house.add(FakeTool("chatty", raising(lambda: ProviderLateError("GLM", budget_s=3.0)), provider="GLM"))
    client = await house.enter(await house.start())
    await client.call("chatty", "r")
    return (await client.result("r"))["error"], {"limit": 3.0, "phase": "step"}


@provokes("STEP_TIMEOUT")
async def late_step(house: House) -> tuple[Frame, dict[str, Any]]:
    return await late(house, CallKind.STEP, WORKFLOW_STEP_TIMEOUT_SECS=6), {"limit": 6.0, "phase": "step"}


@provokes("EXPERT_TIMEOUT")
async def late_expert(house: House) -> tuple[Frame, dict[str, Any]]:
    return await late(house, CallKind.EXPERT, EXAI_WS_CALL_TIMEOUT=11), {"limit": 6.0, "phase": "step"}


CASES = [(code, provoke) for code, functions in PROVOKED.items() for provoke in functions]


@pytest.mark.parametrize(("code", "provoke"), CASES, ids=[provoke.__name__ for _, provoke in CASES])
async def test_error(house: House, code: str, provoke: Provoke) -> None:
    """An error has its code, the status that belongs to it, a message, and its facts."""
    error, facts = await provoke(house)
    assert (error["code"], error["status"]) == (code, ERROR_STATUS[code])
    assert error["message"]
    assert error["message"].isprintable()
    assert facts.items() <= error.items()


def test_every_code_is_provoked() -> None:
    """The table of codes and these tests name the same errors."""
    assert set(PROVOKED) | HELLO_CODES == set(ERROR_STATUS)
