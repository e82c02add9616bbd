"""The tools that ask nobody: `listmodels` and `version`. Their texts never change while the daemon runs."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

from reference_daemon.policy.events import CallKind
from reference_daemon.server.arguments import NoArguments, schema
from reference_daemon.server.context import CallContext, CallPlan
from reference_daemon.wire import PROTOCOL_VERSION

DISTRIBUTION: Final = "exai-harness"

_NO_ARGUMENTS = NoArguments()
_LOCAL_PLAN = CallPlan(CallKind.LOCAL)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What a person may know of a provider.

    Attributes:
        name: For example "GLM".
        models: Names of its models; the default may be left out.
        default_model: The one that answers when the call names none.
        stub: Whether a stub answers in its place.
    """

    name: str
    models: Sequence[str]
    default_model: str
    stub: bool


class InfoTool:
    """A tool that always gives the same answer, made once."""

    def __init__(self, name: str, description: str, text: str) -> None:
        """Make the tool; `text` is its answer."""
        self.name, self.description = name, description
        self.input_schema: Mapping[str, Any] = schema(NoArguments)
        self._outputs = (text,)

    def parse(self, arguments: Mapping[str, Any]) -> NoArguments:  # noqa: ARG002 - all are ignored
        """Return no arguments, whatever was sent."""
        return _NO_ARGUMENTS

    def plan(self, arguments: NoArguments) -> CallPlan:  # noqa: ARG002 - there are none
        """Say that nothing is needed."""
        return _LOCAL_PLAN

    async def run(self, arguments: NoArguments, context: CallContext) -> Sequence[str]:  # noqa: ARG002 - see parse
        """Return the text."""
        return self._outputs


def list_models(providers: Sequence[ProviderInfo]) -> InfoTool:
    """Return the tool `listmodels`."""
    text = "\n\n".join(_describe(provider) for provider in providers) or "No provider is configured."
    return InfoTool("listmodels", "List the models of each provider, and which one answers by default.", text)


def version() -> InfoTool:
    """Return the tool `version`."""
    lines = [
        f"name: {DISTRIBUTION}",
        f"version: {_installed_version()}",
        f"protocol: {PROTOCOL_VERSION}",
        f"python: {platform.python_version()}",
    ]
    return InfoTool("version", "Say which version of the server answers.", "\n".join(lines))


def _describe(provider: ProviderInfo) -> str:
    title = f"{provider.name} (a stub answers: no API key is set)" if provider.stub else provider.name
    others = [f"- {model}" for model in provider.models if model != provider.default_model]
    return "\n".join([title, f"- {provider.default_model} (default)", *others])


def _installed_version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"  # run from a checkout
