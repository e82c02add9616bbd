import pytest

from reference_daemon.policy.errors import ConfigError
from reference_daemon.providers.routing import Route, Router, UnknownModelError


class TestByName:
    @pytest.mark.parametrize(
        ("model", "provider"),
        [
            ("glm-4.6", "GLM"),
            ("glm-9-not-yet-known", "GLM"),
            ("kimi-k2", "KIMI"),
            ("moonshot-v1-128k", "KIMI"),
        ],
    )
    def test_the_prefix_decides(self, model: str, provider: str) -> None:
        """A model goes to its maker, known or new, whatever the tool."""
        assert Router().route(model, "testgen") == Route(provider, model)

    def test_a_default_model_is_known_whatever_its_name(self) -> None:
        """A server that calls its model otherwise is served by naming that model as the default."""
        assert Router({"KIMI": "house-model"}).route("house-model", "chat") == Route("KIMI", "house-model")


class TestAuto:
    @pytest.mark.parametrize("model", [None, "auto"])
    @pytest.mark.parametrize(
        ("tool", "provider"),
        [
            ("analyze", "GLM"),
            ("codereview", "GLM"),
            ("chat", "GLM"),
            ("testgen", "KIMI"),
            ("kimi_chat_with_tools", "KIMI"),
        ],
    )
    def test_the_tool_decides(self, model: str | None, tool: str, provider: str) -> None:
        """Without a model, or with "auto", each tool has its provider and that one's default model."""
        router = Router({"GLM": "glm-4.5-air", "KIMI": "moonshot-v1-128k"})
        wanted = {"GLM": "glm-4.5-air", "KIMI": "moonshot-v1-128k"}[provider]
        assert router.route(model, tool) == Route(provider, wanted)

    def test_defaults_are_the_first_known_models(self) -> None:
        """Where nothing is set, the first model of each provider stands for "auto"."""
        assert Router().route("auto", "analyze") == Route("GLM", "glm-4.6")
        assert Router().route("auto", "testgen") == Route("KIMI", "kimi-k2")


class TestUnknown:
    def test_nearest_names_are_offered(self) -> None:
        """A misspelt name is answered with the names it looks like, the nearest first."""
        with pytest.raises(UnknownModelError) as caught:
            Router().route("gml-4.6", "chat")
        assert caught.value.model == "gml-4.6"
        assert caught.value.nearest[0] == "glm-4.6"

    @pytest.mark.parametrize("model", ["", "glm-", "gpt-5", "GLM"])
    def test_no_provider_means_no_route(self, model: str) -> None:
        """Neither an empty name, nor a bare prefix, nor another maker's model is guessed at."""
        with pytest.raises(UnknownModelError):
            Router().route(model, "chat")

    def test_the_error_does_not_repeat_the_name(self) -> None:
        """A model's name is a client's data: it stays out of the text."""
        assert "secret" not in str(UnknownModelError("secret", ()))


@pytest.mark.parametrize("defaults", [{"OPENAI": "gpt"}, {"GLM": ""}, {"GLM": "auto"}])
def test_bad_defaults_are_refused(defaults: dict[str, str]) -> None:
    """A default model belongs to a known provider and names a model."""
    with pytest.raises(ConfigError):
        Router(defaults)
