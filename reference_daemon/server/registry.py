"""All tools of the server, by name."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from reference_daemon.clock import Clock
from reference_daemon.server.assistant import Assistant, Completer, Reader, Router
from reference_daemon.server.chat import ChatTool, Turn
from reference_daemon.server.context import Tool
from reference_daemon.server.continuations import Continuations
from reference_daemon.server.expert import StepRecord
from reference_daemon.server.info_tools import ProviderInfo, list_models, version
from reference_daemon.server.prompts import WORKFLOWS
from reference_daemon.server.workflow import WorkflowTool

CHATS: Final = {
    "kimi_chat_with_tools": "Ask a Kimi model one question, with web pages if you name some; it remembers "
    "the conversation under a continuation id.",
    "chat": "Ask a model one question, with web pages if you name some; it remembers the conversation "
    "under a continuation id.",
}
MAX_NAME: Final = 64  # longer than any tool's name; comparing longer ones would only cost time


def build_tools(
    *,
    router: Router,
    gateway: Completer,
    web: Reader,
    provider_infos: Sequence[ProviderInfo],
    clock: Clock,
    token_hex: Callable[[int], str],
) -> Mapping[str, Tool]:
    """Return the tools in the order in which they are listed.

    Args:
        router: Chooses provider and model.
        gateway: Asks providers.
        web: Fetches pages.
        provider_infos: What `listmodels` says.
        clock: Source of time.
        token_hex: Makes continuation ids; `secrets.token_hex` outside of tests.
    """
    assistant = Assistant(router, gateway, web)
    findings: Continuations[StepRecord] = Continuations(clock, token_hex)
    conversations: Continuations[Turn] = Continuations(clock, token_hex)
    tools: list[Tool] = [WorkflowTool(workflow, assistant, findings) for workflow in WORKFLOWS]
    tools += [ChatTool(name, description, assistant, conversations) for name, description in CHATS.items()]
    tools += [list_models(provider_infos), version()]
    return {tool.name: tool for tool in tools}


def nearest_names(name: str, tools: Iterable[str]) -> list[str]:
    """Return the tools' names that look like `name`, the nearest first; at most three."""
    return difflib.get_close_matches(name[:MAX_NAME].lower(), list(tools), n=3)
