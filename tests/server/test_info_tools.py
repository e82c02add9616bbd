"""The tools that ask nobody."""

import platform
from importlib import metadata

import pytest

from reference_daemon.policy.events import CallKind
from reference_daemon.server.context import CallPlan
from reference_daemon.server.info_tools import DISTRIBUTION, InfoTool, ProviderInfo, list_models, version
from tests.server.fakes import Hands

PROVIDERS = [
    ProviderInfo("GLM", ("glm-4.5-air", "glm-4.6"), "glm-4.6", stub=True),
    ProviderInfo("KIMI", (), "kimi-k2", stub=False),
]


@pytest.mark.parametrize("tool", [list_models(PROVIDERS), version()], ids=lambda tool: tool.name)
class TestBoth:
    def test_they_need_no_provider(self, tool: InfoTool) -> None:
        """They hold no provider slot."""
        assert tool.plan(tool.parse({})) == CallPlan(CallKind.LOCAL)

    async def test_any_arguments_do(self, hands: Hands, tool: InfoTool) -> None:
        """Unknown arguments are ignored, here all are unknown; the answer is made only once."""
        first = await tool.run(tool.parse({}), hands.context())
        assert await tool.run(tool.parse({"shape": "round"}), hands.context()) is first


async def answer_of(tool: InfoTool, hands: Hands) -> str:
    """Return the one text of an answer."""
    (text,) = await tool.run(tool.parse({}), hands.context())
    return text


class TestListmodels:
    async def test_it_names_models_defaults_and_stubs(self, hands: Hands) -> None:
        """A person sees what can be asked, what answers by default, and where a stub stands in."""
        assert await answer_of(list_models(PROVIDERS), hands) == (
            "GLM (a stub answers: no API key is set)\n- glm-4.6 (default)\n- glm-4.5-air\n\nKIMI\n- kimi-k2 (default)"
        )

    async def test_no_provider_is_said_in_words(self, hands: Hands) -> None:
        """An empty list is an answer, too."""
        assert await answer_of(list_models([]), hands) == "No provider is configured."


class TestVersion:
    async def test_it_names_what_answers(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        """Name, version, protocol and Python are what a bug report needs."""
        monkeypatch.setattr(metadata, "version", lambda _: "1.2.3")
        assert await answer_of(version(), hands) == (
            f"name: {DISTRIBUTION}\nversion: 1.2.3\nprotocol: 1\npython: {platform.python_version()}"
        )

    async def test_a_checkout_has_no_version(self, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run without being installed, the server still answers."""

        def not_installed(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", not_installed)
        assert "version: unknown" in await answer_of(version(), hands)
