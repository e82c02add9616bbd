"""Which provider answers: by the model's name, or by the tool where the model is left open.

Pure: no I/O, no environment. Which default model a provider has comes from the settings.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from reference_daemon.policy.errors import ConfigError

GLM = "GLM"
KIMI = "KIMI"

AUTO = "auto"

# What each provider is known to offer, its default first. A provider may well have more: `route` goes by
# prefix.
MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {GLM: ("glm-4.6", "glm-4.5-air"), KIMI: ("kimi-k2", "moonshot-v1-128k")}
)

_PREFIXES: Mapping[str, str] = MappingProxyType({"glm-": GLM, "kimi-": KIMI, "moonshot-": KIMI})

# Kimi's long context suits work over many files; every tool that is not listed goes to GLM.
_AUTO_BY_TOOL: Mapping[str, str] = MappingProxyType(
    {"analyze": GLM, "codereview": GLM, "chat": GLM, "testgen": KIMI, "kimi_chat_with_tools": KIMI}
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a call's provider request goes.

    Attributes:
        provider: Name of the provider, for example "GLM".
        model: Name of the model, as the provider knows it.
    """

    provider: str
    model: str


class UnknownModelError(Exception):
    """No provider answers this model.

    Attributes:
        model: The name that was asked for.
        nearest: Known names that look like it, the nearest first; may be empty.
    """

    def __init__(self, model: str, nearest: tuple[str, ...]) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(model, nearest)
        self.model, self.nearest = model, nearest

    def __str__(self) -> str:
        """Say what would do; the name itself is a client's data and is not repeated."""
        hint = f"nearest: {', '.join(self.nearest)}" if self.nearest else "use glm-*, kimi-*, moonshot-* or auto"
        return f"no provider answers this model; {hint}"


class Router:
    """Finds the provider and the model of a call."""

    def __init__(self, default_models: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make a router.

        Args:
            default_models: The model that stands for "auto", per provider; a provider that is missing keeps
                the first of `MODELS`.

        Raises:
            ConfigError: A provider is unknown, or a default model is empty.
        """
        for provider, model in default_models.items():
            if provider not in MODELS:
                raise ConfigError(f"{provider} default model", model, f"provider must be one of {', '.join(MODELS)}")
            if not model or model == AUTO:
                raise ConfigError(f"{provider} default model", model, "must name a model")
        self._defaults = {provider: default_models.get(provider, models[0]) for provider, models in MODELS.items()}

    def route(self, model: str | None, tool: str) -> Route:
        """Return who answers `model` for `tool`; without a model, or with "auto", the tool decides.

        Raises:
            UnknownModelError: The model's name belongs to no provider.
        """
        if model is None or model == AUTO:
            provider = _AUTO_BY_TOOL.get(tool, GLM)
            return Route(provider, self._defaults[provider])
        for provider, default in self._defaults.items():
            # A default model is served whatever its name: people rename models behind compatible servers.
            if model == default:
                return Route(provider, model)
        for prefix, provider in _PREFIXES.items():
            if model.startswith(prefix) and model != prefix:
                return Route(provider, model)
        raise UnknownModelError(model, self._nearest(model))

    def _nearest(self, model: str) -> tuple[str, ...]:
        known = {name: None for models in MODELS.values() for name in models} | dict.fromkeys(self._defaults.values())
        return tuple(difflib.get_close_matches(model.lower(), [*known, AUTO], n=3))
