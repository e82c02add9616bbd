"""All tools together."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its types are a package of their own
import pytest

from reference_daemon.providers.routing import Router
from reference_daemon.server.context import ArgumentError, Tool
from reference_daemon.server.registry import build_tools, nearest_names
from tests.server.fakes import ID, Hands, a_page, a_step

NAMES = ["analyze", "codereview", "testgen", "kimi_chat_with_tools", "chat", "listmodels", "version"]
SECRET = "hunter2"
URL = f"https://example.org/?token={SECRET}"


@pytest.fixture
def tools(hands: Hands) -> Mapping[str, Tool]:
    """All tools on fakes."""
    return build_tools(
        router=Router(),
        gateway=hands,
        web=hands,
        provider_infos=[],
        clock=hands.clock,
        token_hex=hands.token_hex,
    )


def arguments_for(name: str, **changes: Any) -> dict[str, Any]:
    """Return valid arguments of any tool."""
    return changes if name in {"listmodels", "version"} else a_step(prompt="Why?", **changes)


class TestTools:
    def test_the_order_is_stable(self, tools: Mapping[str, Tool]) -> None:
        """Clients list the tools in one order."""
        assert list(tools) == NAMES
        assert [tool.name for tool in tools.values()] == NAMES

    @pytest.mark.parametrize("name", NAMES)
    async def test_every_tool_answers(self, hands: Hands, tools: Mapping[str, Tool], name: str) -> None:
        """Arguments that fit a tool's schema are parsed, planned and answered."""
        tool = tools[name]
        assert tool.description
        jsonschema.validate(arguments_for(name), dict(tool.input_schema))
        arguments = tool.parse(arguments_for(name))
        plan = tool.plan(arguments)
        outputs = await tool.run(arguments, hands.context())
        assert all(outputs)
        assert (plan.provider is not None) == bool(hands.requests)

    @pytest.mark.parametrize("name", NAMES[:5])
    async def test_every_answer_of_a_model_ends_with_a_summary(
        self, hands: Hands, tools: Mapping[str, Tool], name: str
    ) -> None:
        """Workflow tools and chats alike."""
        tool = tools[name]
        outputs = await tool.run(tool.parse(arguments_for(name)), hands.context())
        assert outputs[-1].startswith("=== MCP CALL SUMMARY ===")
        assert f"Tool: {name}" in outputs[-1]

    async def test_workflows_and_chats_remember_apart(self, hands: Hands, tools: Mapping[str, Tool]) -> None:
        """The id of a workflow means nothing to a chat."""
        await tools["analyze"].run(tools["analyze"].parse(a_step()), hands.context())
        chat = tools["chat"]
        with pytest.raises(ArgumentError):
            await chat.run(chat.parse({"prompt": "Why?", "continuation_id": ID}), hands.context())

    @pytest.mark.parametrize("name", NAMES[:5])
    async def test_logs_tell_nothing_that_was_said(
        self, hands: Hands, tools: Mapping[str, Tool], logged: list[MutableMapping[str, Any]], name: str
    ) -> None:
        """No argument, page or answer reaches a log line."""
        said = {"prompt": SECRET, "step": SECRET, "findings": SECRET, "relevant_files": [SECRET]}
        arguments = {**arguments_for(name), **said, "use_websearch": True, "urls": [URL]}
        hands.pages = [a_page(URL, SECRET)]
        tool = tools[name]
        await tool.run(tool.parse(arguments), hands.context())
        hands.answer = RuntimeError(SECRET)
        with pytest.raises(RuntimeError):
            await tool.run(tool.parse(arguments), hands.context())
        assert len(logged) == 2
        assert SECRET not in str(logged)


class TestNearestNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [("analyse", ["analyze"]), ("CodeReview", ["codereview"]), ("kimi_chat", ["kimi_chat_with_tools"])],
    )
    def test_a_slip_is_understood(self, name: str, nearest: list[str]) -> None:
        """Who mistypes a tool's name is told the right one first."""
        assert nearest_names(name, NAMES)[:1] == nearest

    @pytest.mark.parametrize("name", ["", "zzzz", "a" * 1_000_000])
    def test_nonsense_has_no_neighbours(self, name: str) -> None:
        """A name like no other gets no advice, and costs no time however long it is."""
        assert nearest_names(name, NAMES) == []
