"""The real daemon against messages that it should never get: each has one answer, and nobody else is harmed.

The daemon runs in memory on the virtual loop. After each message comes a question for health as a marker: frames are
answered in their order, so what came before its answer is the answer to the message.
"""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from reference_daemon.observability.lines import LineSink
from reference_daemon.observability.logs import configure_logging
from reference_daemon.wire import ERROR_STATUS
from tests.explore.clocks import GivenClock, TrueClock
from tests.explore.frames import SECRET, message
from tests.explore.house import TOKEN, URL, House, settings_of
from tests.explore.log import errors_logged
from tests.explore.network import Network
from tests.explore.plan import Setup
from tests.explore.provider import SECRET as PROVIDERS_SECRET
from tests.explore.provider import Providers
from tests.explore.same_chance import drawn_from
from tests.explore.virtual_loop import VirtualLoop, context_of

MESSAGES: Final = 100
"""Messages of a run."""

MOST_DEEP: Final = 60
"""Levels of nesting up to which a frame can surely be read."""

ANSWER_WITHIN_S: Final = 5.0
"""Virtual seconds, in which every answer is long there."""

_FIRST: Final = frozenset({"error", "list_tools_res", "health_res", "rotate_token_res", "call_tool_ack"})
_CLOSES: Final = {"binary": 1003, "no UTF-8": 1007}


class _KeptLog(LineSink):
    """Log lines, kept."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.kept: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.kept.append(line)

    def flush(self) -> None:
        """Write nothing."""


def messages_of(seed: int, count: int = MESSAGES) -> list[str | bytes]:
    """Return the messages of a seed."""
    chance = Random(f"fuzz/{seed}")
    return [message(chance) for _ in range(count)]


def fuzz(messages: Sequence[str | bytes], seed: int = 0) -> list[str]:
    """Send messages to a daemon; return what is wrong with what it did."""
    network = Network(Random(f"network/{seed}"))
    loop = VirtualLoop(Random(f"order/{seed}"), network)
    log = _KeptLog()
    problems: list[str] = []
    with errors_logged(), drawn_from(Random(f"ids/{seed}")):
        configure_logging("json", "DEBUG", sink=log)
        try:
            loop.run_until_complete(loop.create_task(_main(loop, messages, problems)))
        finally:
            problems += loop.complaints
            lines, log.kept = log.kept, []
            loop.end_everything()
    return problems + _wrong_lines(lines)


async def _main(loop: VirtualLoop, messages: Sequence[str | bytes], problems: list[str]) -> None:
    setup = Setup(total=6, session=4, call_s=20.0, results=50)
    providers = Providers(TrueClock(loop), lambda _: None)
    house = House(loop, settings_of(setup), GivenClock(loop), providers, lambda _: None, Random("ids of tools"))
    await house.start()
    work = loop.create_task(_Fuzzed(problems).run(messages), context=context_of("fuzzer"))
    await asyncio.wait([work])
    work.result()
    await house.terminate()


class _Fuzzed:
    """A client that sends anything, and its neighbour."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._live: set[str] = set()
        self._link: ClientConnection
        self._marks = 0

    async def run(self, messages: Sequence[str | bytes]) -> None:
        """Send every message; in the end, and now and then, see to it that a neighbour is served."""
        self._link = await _enter()
        neighbour = await _enter()
        for number, sent in enumerate(messages):
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await self._one(sent)
            except (TimeoutError, ConnectionClosed) as error:
                self._say(sent, f"no answer: {type(error).__name__}")
                self._link = await self._anew()
            if number % 25 == 24 or number + 1 == len(messages):
                await self._neighbour(neighbour, number)
                await asyncio.sleep(1.0)
        await self._all_end()
        await self._link.close()
        await neighbour.close()

    def _say(self, sent: str | bytes, what: str) -> None:
        self._problems.append(f"{what}; sent {sent[:300]!r}")

    async def _anew(self) -> ClientConnection:
        await self._link.close()
        self._live.clear()
        return await _enter()

    async def _one(self, sent: str | bytes) -> None:
        """Send one message, and judge what comes before the answer to the marker behind it."""
        if isinstance(sent, bytes):
            await self._closed_by(sent)
            return
        await self._link.send(sent)
        frames = await self._until_mark()
        asked = _read(sent)
        answers = [frame for frame in frames if self._is_first(frame, asked)]
        if len(answers) != 1:
            self._say(sent, f"{len(answers)} answers: {[frame['op'] for frame in frames]}")
        for answer in answers:
            self._judge(sent, asked, answer)

    async def _until_mark(self) -> list[dict[str, Any]]:
        """Return the frames that come before the answer to a question for health."""
        self._marks += 1
        mark = f"mark {self._marks}"
        await self._link.send(json.dumps({"op": "health", "request_id": mark}))
        frames: list[dict[str, Any]] = []
        while (frame := json.loads(await self._link.recv())).get("request_id") != mark:
            frames.append(frame)
        return frames

    def _is_first(self, frame: dict[str, Any], asked: dict[str, Any]) -> bool:
        """Return whether a frame answers the message, and is none of a call that was admitted before."""
        op, request_id = frame["op"], str(frame.get("request_id"))
        if op == "call_tool_ack":
            self._live.add(request_id)
        if op == "call_tool_res" and request_id in self._live:
            self._live.discard(request_id)
            return bool(asked.get("op") == "cancel" and frame.get("error", {}).get("code") == "CANCELLED")
        if op == "progress":
            followed = asked.get("op") == "attach" and request_id not in self._live
            if followed:
                self._live.add(request_id)
            return followed
        return op in _FIRST or op == "call_tool_res"

    def _judge(self, sent: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Look at an answer: its code, its request_id, and that it tells no secret."""
        error = answer if answer["op"] == "error" else answer.get("error")
        if isinstance(error, dict):
            if ERROR_STATUS.get(error["code"]) != error["status"]:
                self._say(sent, f"an unknown error {error}")
            if SECRET in json.dumps(error) or TOKEN in json.dumps(error) or PROVIDERS_SECRET in json.dumps(error):
                self._say(sent, "an error tells a secret")
        wanted, given = asked.get("request_id"), answer.get("request_id")
        readable = isinstance(wanted, str) and 0 < len(wanted) <= 255 and asked.get("sound")
        if readable and given != wanted:
            self._say(sent, f"answered {given!r} instead of {wanted!r}")
        if given is not None and given != wanted and asked.get("sound"):
            self._say(sent, f"answered {given!r}, and nobody asked that")

    async def _closed_by(self, sent: bytes) -> None:
        """Send what is no text, or none in UTF-8: the connection is closed, with the code that says why."""
        text = sent.startswith(b"\xff")
        if text:
            self._link.protocol.send_frame(Frame(Opcode.TEXT, sent))
            self._link.send_data()
        else:
            await self._link.send(sent)
        await self._link.wait_closed()
        wanted = _CLOSES["no UTF-8" if text else "binary"]
        if self._link.close_code != wanted:
            self._say(sent, f"closed with {self._link.close_code} instead of {wanted}")
        self._link = await self._anew()

    async def _neighbour(self, link: ClientConnection, number: int) -> None:
        """See to it that another client is served."""
        call = {"op": "call_tool", "request_id": f"neighbour {number}", "name": "version", "arguments": {}}
        await link.send(json.dumps(call))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            frames = [json.loads(await link.recv())]
            while frames[-1]["op"] != "call_tool_res":
                frames.append(json.loads(await link.recv()))
        refused = frames[0].get("error", {}).get("code") == "OVER_CAPACITY"
        if not refused and [frame["op"] for frame in frames] != ["call_tool_ack", "call_tool_res"]:
            self._problems.append(f"the neighbour got {frames}")

    async def _all_end(self) -> None:
        """See to it that every call that was admitted gets its one answer."""
        try:
            async with asyncio.timeout(60.0):
                while self._live:
                    frame = json.loads(await self._link.recv())
                    if frame["op"] == "call_tool_res":
                        self._live.discard(frame["request_id"])
        except (TimeoutError, ConnectionClosed) as error:
            self._problems.append(f"{sorted(self._live)} never answered: {error!r}")


async def _enter() -> ClientConnection:
    """Open a session."""
    link = await connect(URL, proxy=None, compression=None, ping_interval=None, max_size=None, max_queue=None)
    await link.send(json.dumps({"op": "hello", "token": TOKEN}))
    assert json.loads(await link.recv())["ok"]
    return link


def _read(sent: str) -> dict[str, Any]:
    """Return a message's op and request_id as a strict reader sees them, and whether there is no doubt about them."""
    try:
        value = json.loads(sent, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    op, request_id = value.get("op"), value.get("request_id")
    # Halves of characters, numbers beyond any float, deep nesting, members that come twice: readers may differ.
    doubtful = (
        "\\ud" in sent or "1e999" in sent or value.get("twice") or max(sent.count("["), sent.count("{")) > MOST_DEEP
    )
    return {"op": op, "request_id": request_id, "sound": not doubtful}


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        members["twice"] = True
    return members


def _no_number(name: str) -> float:
    raise ValueError(name)


def _wrong_lines(lines: Sequence[bytes]) -> list[str]:
    """Return what stands in the log that should not: errors, tracebacks, secrets, lines that are none."""
    wrong: list[str] = []
    for line in lines:
        shown = line[:300].decode("utf-8", "replace")
        if b"\n" in line:
            wrong.append(f"a line is broken: {shown}")
        if json.loads(line)["level"] == "error" or b"Traceback" in line or b'"event":"library"' in line:
            wrong.append(f"logged: {shown}")
        if any(secret.encode() in line for secret in (SECRET, TOKEN, PROVIDERS_SECRET)):
            wrong.append(f"a secret is logged: {shown}")
    return wrong


def shortest(messages: Sequence[str | bytes], seed: int) -> list[str | bytes]:
    """Return as few of the messages as still show a problem."""
    kept = list(messages)
    size = max(1, len(kept) // 2)
    while size:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if fewer and fuzz(fewer, seed):
                kept = fewer
            else:
                start += size
        size //= 2
    return kept
