"""The model's routes are the daemon's."""

import pytest

from reference_daemon.policy.events import CallKind
from reference_daemon.providers.routing import Router
from simulator.model.routing import kind_of, provider_of


@pytest.mark.parametrize("tool", ["analyze", "codereview", "testgen", "chat", "kimi_chat_with_tools"])
@pytest.mark.parametrize("model", [None, "auto", "glm-4.6", "kimi-k2"])
def test_a_tool_asks_the_provider_that_the_daemon_would(tool: str, model: str | None) -> None:
    """Whatever the model, the provider is the router's."""
    kind = kind_of(tool, expert=True)
    assert provider_of(tool, kind, model) == Router().route(model, tool).provider


@pytest.mark.parametrize("tool", ["version", "listmodels"])
def test_local_tools_ask_nobody(tool: str) -> None:
    """A local tool needs no provider."""
    assert kind_of(tool, expert=True) is CallKind.LOCAL
    assert provider_of(tool, CallKind.LOCAL, None) is None
