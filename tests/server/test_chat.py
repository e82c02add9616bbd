"""The chat tools: one question, one request, and the conversation that it continues."""

from collections.abc import MutableMapping
from typing import Any

import pytest

from reference_daemon.policy.events import CallKind
from reference_daemon.providers.errors import ProviderLateError
from reference_daemon.server.chat import ChatTool, Turn
from reference_daemon.server.context import ArgumentError, CallContext, CallPlan
from reference_daemon.server.continuations import Bounds, Continuations
from reference_daemon.server.prompts import CHAT_SYSTEM
from reference_daemon.server.web import render_sources
from tests.server.fakes import ID, TRACE_ID, Hands, a_completion, a_page

URL = "https://example.org/"


@pytest.fixture
def tool(hands: Hands) -> ChatTool:
    """Return the tool `chat`."""
    return ChatTool("chat", "Ask.", hands.assistant, Continuations(hands.clock, hands.token_hex))


async def call(tool: ChatTool, hands: Hands, context: CallContext | None = None, **arguments: Any) -> tuple[str, str]:
    """Run one call; return its answer and its summary."""
    parsed = tool.parse({"prompt": "Why?", **arguments})
    text, summary = await tool.run(parsed, context or hands.context())
    return text, summary


class TestPlan:
    def test_a_chat_needs_a_provider(self, hands: Hands, tool: ChatTool) -> None:
        """The provider is known before the call is admitted."""
        parsed = tool.parse({"prompt": "Why?", "model": "kimi-k2"})
        assert tool.plan(parsed) == CallPlan(CallKind.CHAT, "KIMI", "kimi-k2")

    def test_an_unknown_model_is_refused(self, hands: Hands, tool: ChatTool) -> None:
        """A model that no provider has is a wrong argument."""
        with pytest.raises(ArgumentError) as caught:
            tool.plan(tool.parse({"prompt": "Why?", "model": "no-such"}))
        assert caught.value.field == "model"


class TestOneQuestion:
    async def test_it_is_asked_as_it_stands(self, hands: Hands, tool: ChatTool) -> None:
        """One request, the prompt unchanged, with all the time that the call has left."""
        context = hands.context()
        hands.now += 30.0
        text, summary = await call(tool, hands, context)
        (sent,) = hands.requests
        assert (sent.system, sent.prompt, sent.budget_s) == (CHAT_SYSTEM, "Why?", 120.0)
        assert text == "All is well."
        facts = {"Status: COMPLETE", "Step: -", "Duration: 30.0 s", "Expert: Disabled", "Tokens in: 7"}
        assert facts <= set(summary.splitlines())

    async def test_pages_go_in_and_sources_come_out(self, hands: Hands, tool: ChatTool) -> None:
        """The model sees the pages, and the person sees which they were."""
        hands.pages = [a_page(URL, "Because of the moon.")]
        text, _ = await call(tool, hands, use_websearch=True, urls=[URL])
        assert hands.requests[0].prompt.startswith("Why?")
        assert "Because of the moon." in hands.requests[0].prompt
        assert text == f"All is well.\n\n{render_sources(hands.pages)}"

    async def test_late_is_late(self, hands: Hands, tool: ChatTool, logged: list[MutableMapping[str, Any]]) -> None:
        """A chat has nothing to show without its answer: it fails, and the log says why."""
        hands.answer = ProviderLateError("GLM", 150.0)
        with pytest.raises(ProviderLateError):
            await call(tool, hands)
        assert [line["status"] for line in logged] == ["TIMEOUT"]


class TestConversation:
    async def test_the_model_sees_what_was_said(self, hands: Hands, tool: ChatTool) -> None:
        """Under a continuation id, earlier questions and answers come before the new question."""
        _, summary = await call(tool, hands)
        assert f"Continuation ID: {ID}" in summary
        await call(tool, hands, hands.context(trace_id="f" * 32), prompt="Really?", continuation_id=ID)
        assert hands.requests[1].prompt == (
            "<conversation>\nQuestion: Why?\n\nAnswer: All is well.\n</conversation>\n\nQuestion: Really?"
        )

    async def test_what_failed_was_not_said(self, hands: Hands, tool: ChatTool) -> None:
        """A question without an answer leaves no trace in the conversation."""
        await call(tool, hands)
        hands.answer = RuntimeError()
        with pytest.raises(RuntimeError):
            await call(tool, hands, prompt="Failed?", continuation_id=ID)
        hands.answer = a_completion()
        await call(tool, hands, prompt="Again?", continuation_id=ID)
        assert "Failed?" not in hands.requests[-1].prompt

    async def test_an_unknown_continuation_is_a_wrong_argument(self, hands: Hands, tool: ChatTool) -> None:
        """A conversation belongs to whoever knows its id; nobody is asked for a stranger."""
        with pytest.raises(ArgumentError) as caught:
            await call(tool, hands, continuation_id="stranger")
        assert caught.value.field == "continuation_id"
        assert hands.requests == []

    async def test_a_long_conversation_loses_its_beginning(self, hands: Hands) -> None:
        """Memory and prompts stay bounded."""
        memory: Continuations[Turn] = Continuations(hands.clock, hands.token_hex, Bounds(entry_bytes=40))
        tool = ChatTool("chat", "Ask.", hands.assistant, memory)
        await call(tool, hands)
        for trace_id, prompt in [("a", "And then?"), ("b", "And now?"), ("c", "Still?")]:
            await call(tool, hands, hands.context(trace_id=trace_id), prompt=prompt, continuation_id=ID)
        assert "Why?" not in hands.requests[-1].prompt
        assert "And now?" in hands.requests[-1].prompt

    def test_size_counts_bytes(self) -> None:
        """Memory is bounded in bytes, not in characters."""
        assert Turn(TRACE_ID, "ä", "b").size() == 3
