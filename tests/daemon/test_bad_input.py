"""Bad input: one clear coded answer, with the request_id if one could be read, and no harm to anybody else."""

import json
from typing import Any, NamedTuple

import pytest
from websockets.frames import Opcode

from tests.daemon.conftest import House, Lines
from tests.daemon.fake_tools import FakeTool, raising
from tests.daemon.raw_client import RawClient, a_frame

LONG = "x" * 256
HUGE = "x" * 300_000


class Bad(NamedTuple):
    """A frame, and what its answer must say."""

    what: str
    message: str
    field: str | None = None
    request_id: str | None = None
    code: str = "BAD_REQUEST"
    op: str = "error"


def a_call(what: str, field: str, /, *, op: str = "call_tool_res", code: str = "BAD_REQUEST", **fields: Any) -> Bad:
    """Return a call with bad fields; the answer to one that is a request at all is its `call_tool_res`."""
    message = {"op": "call_tool", "request_id": "r", "name": "echo", "arguments": {}, **fields}
    request_id = message["request_id"]
    usable = isinstance(request_id, str) and 0 < len(request_id) <= 255
    return Bad(what, json.dumps(message), field, request_id if usable else None, code, op)


def nested(levels: int) -> dict[str, Any]:
    """Return arguments that nest so many levels deep."""
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


FRAMES = [
    Bad("not JSON", "hello"),
    Bad("empty", ""),
    Bad("truncated", '{"op":"health"'),
    Bad("two documents", '{"op":"health"}{"op":"health"}'),
    Bad("BOM", '\ufeff{"op":"health"}'),
    Bad("NaN", '{"op":"call_tool","request_id":"r","name":"echo","arguments":{"n":NaN}}'),
    Bad("half a surrogate pair", '{"op":"call_tool","request_id":"\\ud800","name":"echo"}'),
    Bad("array", "[]", "op"),
    Bad("number", "5", "op"),
    Bad("null", "null", "op"),
    Bad("string", '"health"', "op"),
    Bad("1e999", '{"op":"call_tool","request_id":"r","name":"echo","arguments":{"n":1e999}}', "arguments", "r"),
    Bad(
        "5,000 digits",
        f'{{"op":"call_tool","request_id":"r","name":"echo","arguments":{{"n":1{"0" * 5000}}}}}',
        "arguments",
        "r",
    ),
    Bad("deep frame", '{"op":"health","x":' + "[" * 100_000 + "]" * 100_000 + "}"),
    Bad(
        "deep arguments",
        '{"op":"call_tool","request_id":"r","name":"echo","arguments":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}",
    ),
    Bad("deep and never closed", "[" * 200_000, "op"),
    Bad("op missing", '{"request_id":"r"}', "op", "r"),
    Bad("op unknown", '{"op":"xyzzy","request_id":"r"}', "op", "r"),
    Bad("op null", '{"op":null,"request_id":"r"}', "op", "r"),
    Bad("op of a wrong type", '{"op":["health"],"request_id":"r"}', "op", "r"),
    Bad("op empty", '{"op":"","request_id":"r"}', "op", "r"),
    Bad("op huge", json.dumps({"op": HUGE, "request_id": "r"}), "op", "r"),
    Bad("op in capitals", '{"op":"HEALTH"}', "op"),
    *(
        Bad(f"the daemon's own {op}", json.dumps({"op": op, "request_id": "r", "ok": True}), "op", "r")
        for op in ("hello_ack", "call_tool_ack", "progress", "call_tool_res", "health_res", "error")
    ),
    Bad("second hello", '{"op":"hello","request_id":"r"}', "op", "r"),
]

CALLS = [
    a_call("name unknown", "", name="nobody", code="TOOL_NOT_FOUND"),
    a_call("name empty", "", name="", code="TOOL_NOT_FOUND"),
    a_call("name with control characters", "", name="echo\n\x1b[31m\x00", code="TOOL_NOT_FOUND"),
    a_call("name huge", "", name=HUGE, code="TOOL_NOT_FOUND"),
    a_call("name of a wrong type", "name", op="error", name=5),
    a_call("name null", "name", op="error", name=None),
    a_call("arguments null", "arguments", op="error", arguments=None),
    a_call("arguments an array", "arguments", op="error", arguments=[]),
    a_call("arguments a string", "arguments", op="error", arguments="{}"),
    a_call("arguments against the schema", "unfit", arguments={"unfit": 1}),
    a_call("arguments 65 levels deep", "arguments", arguments=nested(65)),
    a_call("request_id empty", "request_id", op="error", request_id=""),
    a_call("request_id null", "request_id", op="error", request_id=None),
    a_call("request_id an object", "request_id", op="error", request_id={}),
    a_call("request_id a number", "request_id", op="error", request_id=7),
    a_call("request_id of 256 characters", "request_id", op="error", request_id=LONG),
    a_call("request_id huge", "request_id", op="error", request_id=HUGE),
    a_call("call_key of a wrong type", "call_key", op="error", call_key=5),
    a_call("call_key empty", "call_key", call_key=""),
    a_call("call_key of 256 characters", "call_key", call_key=LONG),
    a_call("timeout -1", "timeout", timeout=-1),
    a_call("timeout 0", "timeout", timeout=0),
    a_call("timeout -0.0", "timeout", timeout=-0.0),
    a_call("timeout a text", "timeout", op="error", timeout="x"),
    a_call("timeout true", "timeout", op="error", timeout=True),
    a_call("timeout of 400 digits", "timeout", op="error", timeout=10**400),
]

OTHERS = [
    Bad("request_id missing", '{"op":"call_tool","name":"echo"}', "request_id"),
    Bad("name missing", '{"op":"call_tool","request_id":"r"}', "name", "r"),
    Bad("cancel without an id", '{"op":"cancel"}', "request_id"),
    Bad("cancel with an empty id", '{"op":"cancel","request_id":""}', "request_id"),
    Bad("cancel with a huge id", json.dumps({"op": "cancel", "request_id": HUGE}), "request_id"),
    Bad("cancel of nothing", '{"op":"cancel","request_id":"r"}', None, "r", "UNKNOWN_CALL"),
    Bad("attach without a key", '{"op":"attach","request_id":"r"}', "call_key", "r"),
    Bad("attach with an empty id", '{"op":"attach","request_id":"","call_key":"k"}', "request_id"),
    Bad("attach with a key that is none", '{"op":"attach","request_id":"r","call_key":{}}', "call_key", "r"),
    Bad("attach to nothing", '{"op":"attach","request_id":"r","call_key":"k"}', None, "r", "UNKNOWN_CALL"),
    Bad("health with an id that is none", '{"op":"health","request_id":5}', "request_id"),
    Bad("health with a huge id", json.dumps({"op": "health", "request_id": HUGE}), "request_id"),
    Bad("list_tools with a huge id", json.dumps({"op": "list_tools", "request_id": HUGE}), "request_id"),
    Bad("rotate_token without tokens", '{"op":"rotate_token","request_id":"r"}', "old", "r"),
]

BAD = [*FRAMES, *CALLS, *OTHERS]


async def both_are_well(client: RawClient, neighbour: RawClient) -> None:
    """Assert that both sessions go on, that nothing waits on either, and that nothing is in flight."""
    assert await client.nothing_waits()
    assert await neighbour.nothing_waits()
    figures = await neighbour.health()
    assert (figures["sessions"], figures["global_inflight"]) == (2, 0)


@pytest.mark.parametrize("bad", BAD, ids=[bad.what for bad in BAD])
async def test_one_coded_answer(house: House, bad: Bad) -> None:
    """The answer has the code, names the field and the request_id, quotes nothing, and both connections go on."""
    daemon = await house.start()
    client, neighbour = await house.enter(daemon), await house.enter(daemon)
    answer = await client.ask(bad.message)
    assert (answer["op"], answer.get("request_id")) == (bad.op, bad.request_id)
    error = answer["error"] if bad.op == "call_tool_res" else answer
    assert error["code"] == bad.code
    if bad.code == "BAD_REQUEST":
        assert error.get("field") == bad.field
    assert error["message"].isprintable()
    assert len(json.dumps(answer)) < 1000
    assert "xyzzy" not in json.dumps(answer)
    await both_are_well(client, neighbour)


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "x" * 255},
        {"request_id": "\n\x00\u2028\U0001f600"},
        {"call_key": "x" * 255},
        {"call_key": "\x00"},
        {"trace_id": "x" * 10_000},
        {"trace_id": "a\nb"},
        {"arguments": nested(64)},
        {"arguments": {"n": 2**64, "m": -(2**70), "f": 5e-324}, "call_key": "k"},
        {"arguments": {"": {"": ""}}},
        {"timeout": 1e308},
        {"unknown": {"fields": ["are", "ignored"]}},
    ],
    ids=", ".join,
)
async def test_odd_but_good(house: House, fields: dict[str, Any]) -> None:
    """What is odd and within bounds is a call like any other."""
    client = await house.enter(await house.start())
    request_id = fields.get("request_id", "r")
    message = {"op": "call_tool", "request_id": request_id, "name": "echo", **fields}
    assert (await client.ask(message))["op"] == "call_tool_ack"
    assert "error" not in await client.result(request_id)


class TestCloses:
    """The frames after which a connection closes; the calls of its session go on, and so do its neighbours."""

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (a_frame(b'{"op":"health"}', Opcode.BINARY), 1003),
            (a_frame(b'{"op":"\xff\xfe"}'), 1007),
            (a_frame(b'{"op":"\xed\xa0\x80"}'), 1007),
            (a_frame(b"x" * 5000), 1009),
            (a_frame(b"x" * 3000, fin=False) + a_frame(b"x" * 3000, Opcode.CONT), 1009),
            (a_frame(b"", Opcode.CONT), 1002),
            (b"\x83\x80\x00\x00\x00\x00", 1002),
            (b"\x81\x02{}", 1002),
            (b"\xf1\x80\x00\x00\x00\x00", 1002),
        ],
        ids=[
            "binary",
            "no UTF-8",
            "surrogate in UTF-8",
            "too large",
            "too large in parts",
            "part of nothing",
            "reserved opcode",
            "not masked",
            "reserved bits",
        ],
    )
    async def test_code(self, house: House, frame: bytes, code: int) -> None:
        """The close code says what was wrong; the call in flight goes on, and a neighbour gets its result."""
        daemon = await house.start(EXAI_WS_MAX_FRAME_BYTES=4096)
        client, neighbour = await house.enter(daemon), await house.enter(daemon)
        await client.call("hold", "r", {"text": "kept"}, call_key="k")
        client.connection.transport.write(frame)
        assert await client.close_code() == code
        assert (await neighbour.ask({"op": "attach", "request_id": "a", "call_key": "k"}))["op"] == "progress"
        house.tools["hold"].release.set()
        assert (await neighbour.result("a"))["outputs"][0]["text"] == "kept"

    @pytest.mark.parametrize("size", [4095, 4096, 4097])
    async def test_frame_limit(self, house: House, size: int) -> None:
        """A frame of EXAI_WS_MAX_FRAME_BYTES is read; of one byte more the connection closes with 1009."""
        daemon = await house.start(EXAI_WS_MAX_FRAME_BYTES=4096)
        client = await house.enter(daemon)
        message = '{"op":"health","request_id":"h"}'.ljust(size)
        if size <= 4096:
            assert (await client.ask(message))["request_id"] == "h"
        else:
            await client.send(message)
            assert await client.close_code() == 1009

    @pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
    @pytest.mark.parametrize("beyond", [0, 1])
    async def test_limit_of_arguments(self, house: House, character: str, beyond: int) -> None:
        """Arguments may have EXAI_WS_MAX_ARGUMENTS_BYTES, counted in UTF-8 as they are, not as they were escaped."""
        limit = len('{"text":""}') + 1200
        client = await house.enter(await house.start(EXAI_WS_MAX_ARGUMENTS_BYTES=limit))
        text = character * (1200 // len(character.encode())) + "x" * beyond
        for number, escaped in enumerate((True, False)):
            message = {"op": "call_tool", "request_id": str(number), "name": "echo", "arguments": {"text": text}}
            await client.send(json.dumps(message, ensure_ascii=escaped))
            answer = await client.result(str(number))
            assert ("error" in answer) == bool(beyond)
            if beyond:
                assert (answer["error"]["code"], answer["error"]["limit"]) == ("TOO_LARGE", limit)


async def test_a_bug_in_a_tools_checks_harms_its_own_call_only(house: House, logged: Lines) -> None:
    """A tool whose checks raise what nobody expected fails that call; the log has type and place, no text."""
    house.expected_errors.add("checks_raised")
    house.add(FakeTool("buggy")).parse = raise_it  # type: ignore[method-assign, assignment]
    client = await house.enter(await house.start())
    await client.call("hold", "1")
    error = (await client.call("buggy", "2"))["error"]
    assert (error["code"], error["message"]) == ("EXEC_ERROR", "the tool failed (KeyError)")
    [line] = [line for line in logged() if line["event"] == "checks_raised"]
    assert (line["tool"], line["exception"]) == ("buggy", "KeyError")
    assert line["place"].startswith("test_bad_input.py:")
    assert "s3cret" not in json.dumps(line)
    house.tools["hold"].release.set()
    assert "error" not in await client.result("1")


async def test_a_bug_of_the_daemon_ends_one_connection(house: House, logged: Lines) -> None:
    """An exception that nobody expected ends its own connection with 1011, is logged, and harms no neighbour."""
    house.expected_errors.add("connection_failed")
    daemon = await house.start()
    client, neighbour = await house.enter(daemon), await house.enter(daemon)
    daemon.calls.cancel = raise_it  # type: ignore[method-assign, assignment]
    await client.send({"op": "cancel", "request_id": "r"})
    assert await client.close_code() == 1011
    assert (await neighbour.health())["sessions"] == 1
    [line] = [line for line in logged() if line["event"] == "connection_failed"]
    assert line["exception"] == "KeyError"
    assert "s3cret" not in json.dumps(line)


def raise_it(*_: object) -> Any:
    """Raise what a programming error raises."""
    raise KeyError("s3cret")


async def test_a_tools_exception_harms_its_own_call_only(house: House) -> None:
    """Of two calls at once the one whose tool raises fails, the other goes on."""
    house.add(FakeTool("broken", raising(ZeroDivisionError)))
    client = await house.enter(await house.start())
    await client.call("hold", "1")
    await client.call("broken", "2")
    assert (await client.result("2"))["error"]["code"] == "EXEC_ERROR"
    house.tools["hold"].release.set()
    assert "error" not in await client.result("1")
