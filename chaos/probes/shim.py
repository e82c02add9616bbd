"""A shim as an MCP client sees it: over its pipes, by JSON-RPC (INV-39, 42, 43).

One shim is started and lives through one story; the questions are about that story.
"""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Final

from chaos.probes.case import MARKER, START_BOUND_S, Case, NotAskedError, Seen
from chaos.probes.raw import Stopwatch
from chaos.probes.target import Target

Message = dict[str, Any]

BOUND_S: Final = 15.0
"""Wall seconds for each part of the story; the calls of a drill take two or three."""
EXIT_S: Final = 2.0
"""Wall seconds in which the shim must be gone after its stdin ended."""
_LINE_BYTES: Final = 2**20
_PARALLEL: Final = 6
_MINE: Final = range(1, _PARALLEL + 1)
_LOUD: Final = "loud"
_WRONG: Final = "wrong"
_UNKNOWN: Final = "unknown"
_PROGRESS_TOKEN: Final = "loud-call"  # noqa: S105 - it names a call
"""What the call that asks for progress is called in it."""


@dataclass
class Story:
    """What a shim said, and how it ended.

    Attributes:
        messages: What it said on stdout, as far as it was JSON-RPC.
        dirt: Lines of stdout that were not.
        exit_s: Wall seconds from the end of its stdin to its own; None: it had to be killed.
        exit_code: Its exit status.
    """

    messages: list[Message] = field(default_factory=list)
    dirt: list[str] = field(default_factory=list)
    exit_s: float | None = None
    exit_code: int | None = None

    def answers(self, request_id: object) -> list[Message]:
        """Return the answers to a request, in order: there should be one."""
        return [said for said in self.messages if "method" not in said and said.get("id") == request_id]

    def take(self, line: bytes) -> None:
        """Keep a line of stdout."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and message.get("jsonrpc") == "2.0":
            self.messages.append(message)
        else:
            self.dirt.append(line.decode("utf-8", "replace").strip())


class Teller:
    """Lets the story happen once, for whoever asks first; the others wait for it."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._lock = asyncio.Lock()
        self._story: Story | NotAskedError | None = None

    def forget(self) -> None:
        """Let it happen again, for whoever asks next: what was late may have been so by chance."""
        self._story = None

    async def story(self, target: Target) -> Story:
        """Return the story.

        Raises:
            NotAskedError: The shim could not be started.
        """
        async with self._lock:
            if self._story is None:
                try:
                    self._story = await live_through(target)
                except NotAskedError as error:
                    self._story = error
            story = self._story
        if isinstance(story, NotAskedError):
            raise NotAskedError(story.reason)
        return story


def cases(target: Target) -> Iterator[Case]:
    """Give the questions."""
    teller = Teller()
    why_not = None if target.shim_command else "no shim for this daemon is to be had"

    def case(rule: str, name: str, expected: str, judge: Callable[[Story], Seen]) -> Case:
        return Case(rule, name, expected, partial(_ask, teller=teller, judge=judge), why_not, START_BOUND_S)

    yield case("INV-39", f"{_PARALLEL} calls at once", "each one answer of its own", parallel)
    yield case("INV-42", "stdout", "JSON-RPC only", clean)
    yield case("INV-42", "end of stdin", f"gone within {EXIT_S:g} s", ended)
    yield case("INV-43", "no progressToken", "no progress", quiet)
    yield case("INV-43", "progressToken", "increasing progress, none after the response", loud)
    yield case("INV-43", "wrong arguments", "isError, with a text", partial(is_error, request_id=_WRONG))
    yield case("INV-43", "unknown tool", "isError, with a text", partial(is_error, request_id=_UNKNOWN))


async def _ask(target: Target, *, teller: Teller, judge: Callable[[Story], Seen]) -> Seen:
    seen = judge(await teller.story(target))
    if seen.late:
        teller.forget()
    return seen


# --- the story -------------------------------------------------------------------------------------------------------


async def live_through(target: Target) -> Story:
    """Start a shim, talk to it, end its stdin, and wait until it is gone.

    Raises:
        NotAskedError: It could not be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(target.shim_command or ()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(target.shim_environment),
            limit=_LINE_BYTES,
        )
    except (OSError, ValueError) as error:
        raise NotAskedError(f"the shim could not be started: {error}") from error
    story = Story()
    try:
        await _talk(process, story)
        await _end(process, story)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return story


async def _talk(process: asyncio.subprocess.Process, story: Story) -> None:
    """Say everything; an answer that does not come is missing from the story, and judged there."""
    client = {"name": "probe", "version": "1"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    with contextlib.suppress(TimeoutError, ConnectionError):
        await _say(process, story, {"id": 0, "method": "initialize", "params": hello}, until=[0])
        await _say(process, story, {"method": "notifications/initialized"})
        mine = [_call(number, *_work(number)) for number in _MINE]
        await _say(process, story, *mine, until=[*_MINE])
        others = [
            _call(_LOUD, "chat", _chat("loud"), _meta={"progressToken": _PROGRESS_TOKEN}),
            _call(_WRONG, "analyze", {"step": MARKER}),
            _call(_UNKNOWN, "analyse", {}),
        ]
        await _say(process, story, *others, until=[_LOUD, _WRONG, _UNKNOWN])
        # A round trip, so that progress that comes after its response is seen.
        await _say(process, story, {"id": "ping", "method": "ping", "params": {}}, until=["ping"])


def _work(number: int) -> tuple[str, Message]:
    """Return one of the parallel calls: slow and quick ones in turn, so that they end in another order."""
    return ("chat", _chat(f"nonce:own{number}")) if number % 2 else ("version", {})


def _chat(words: str) -> Message:
    return {"prompt": f"{MARKER} {words}", "draw": 0.0}


def _call(request_id: object, tool: str, arguments: Message, **more: object) -> Message:
    return {"id": request_id, "method": "tools/call", "params": {"name": tool, "arguments": arguments, **more}}


async def _say(
    process: asyncio.subprocess.Process, story: Story, *messages: Message, until: list[object] | None = None
) -> None:
    """Write messages, and read until all these ids are answered."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    process.stdin.writelines(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages)
    await process.stdin.drain()
    async with asyncio.timeout(BOUND_S):
        while any(not story.answers(request_id) for request_id in until or []):
            line = await process.stdout.readline()
            if not line:
                raise ConnectionResetError("stdout ended")
            story.take(line)


async def _end(process: asyncio.subprocess.Process, story: Story) -> None:
    """End the shim's stdin, and read what it still says."""
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101 - the same
    watch = Stopwatch()
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * EXIT_S):
            async for line in process.stdout:
                story.take(line)
            story.exit_code = await process.wait()
            story.exit_s = watch.s()


# --- what is judged --------------------------------------------------------------------------------------------------


def parallel(story: Story) -> Seen:
    """Judge the calls at once: each has one answer, without an error, with what was asked for."""
    wrong = []
    for number in _MINE:
        answers = story.answers(number)
        own = f"nonce:own{number}" if number % 2 else ""
        if len(answers) != 1:
            wrong.append(f"{len(answers)} answers to {number}")
        elif _failed(answers[0]):
            wrong.append(f"{number} failed")
        elif not _is_own(json.dumps(answers[0]), own):
            wrong.append(f"{number} got another's answer")
    return Seen("; ".join(wrong) or "each one answer of its own", not wrong)


def _is_own(text: str, own: str) -> bool:
    """Return whether a result repeats no other call's nonce; a stub repeats the own one, a real model may not."""
    others = {f"nonce:own{number}" for number in _MINE} - {own}
    return not any(other in text for other in others)


def _failed(answer: Message) -> bool:
    result = answer.get("result")
    return not isinstance(result, dict) or result.get("isError") is True or not _text_of(answer)


def _text_of(answer: Message) -> str:
    result = answer.get("result")
    content = result.get("content") if isinstance(result, dict) else None
    return "".join(str(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def clean(story: Story) -> Seen:
    """Judge stdout."""
    if not story.messages and not story.dirt:
        return Seen("nothing was said", held=False)
    if story.dirt:
        return Seen(f"{len(story.dirt)} other lines, the first: {story.dirt[0][:100]!r}", held=False)
    return Seen(f"{len(story.messages)} messages, nothing else", held=True)


def ended(story: Story) -> Seen:
    """Judge how the shim ended."""
    if story.exit_s is None:
        return Seen(f"still there after {2 * EXIT_S:g} s", held=False)
    late = story.exit_s > EXIT_S
    return Seen(f"gone after {story.exit_s:.2f} s, exit {story.exit_code}", not late, late=late)


def _progress(story: Story) -> list[tuple[int, Message]]:
    """Return the notifications of progress, each with its place."""
    return [
        (place, dict(said.get("params") or {}))
        for place, said in enumerate(story.messages)
        if said.get("method") == "notifications/progress"
    ]


def quiet(story: Story) -> Seen:
    """Judge progress that nobody asked for."""
    unasked = [params for _, params in _progress(story) if params.get("progressToken") != _PROGRESS_TOKEN]
    missing = [number for number in _MINE if not story.answers(number)]
    return Seen(f"{len(unasked)} notifications, {len(missing)} calls without an answer", not unasked and not missing)


def loud(story: Story) -> Seen:
    """Judge the progress of the call that asked for it."""
    told = [each for each in _progress(story) if each[1].get("progressToken") == _PROGRESS_TOKEN]
    values = [float(params.get("progress", -1)) for _, params in told]
    answers = [place for place, said in enumerate(story.messages) if said in story.answers(_LOUD)]
    after = [place for place, _ in told if answers and place > answers[0]]
    grows = all(first < second for first, second in pairwise(values))
    text = f"{len(told)} notifications, {'increasing' if grows else 'not increasing'}, {len(after)} after the response"
    return Seen(text, bool(told) and grows and not after and len(answers) == 1)


def is_error(story: Story, *, request_id: str) -> Seen:
    """Judge the answer to a call that cannot succeed: a tool's error with a text, or one of JSON-RPC."""
    answers = story.answers(request_id)
    if len(answers) != 1:
        return Seen(f"{len(answers)} answers", held=False)
    if "error" in answers[0]:
        return Seen("a JSON-RPC error", bool(answers[0]["error"].get("message")))
    flagged, text = answers[0]["result"].get("isError") is True, _text_of(answers[0])
    return Seen(f"isError {flagged}, {len(text)} characters", flagged and bool(text))
