"""The model behind a workflow or chat tool: choose it, read pages for it, ask it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from reference_daemon.providers.completion import Completion, CompletionRequest
from reference_daemon.providers.routing import Route, UnknownModelError
from reference_daemon.server.arguments import ChatArguments, WorkflowArguments
from reference_daemon.server.context import ArgumentError, CallContext, Phase
from reference_daemon.server.web import Fetched, render_sources

MAX_PAGE: Final = 40_000
"""Characters of a page that a prompt holds: ten such pages, 100,000 tokens, still fit a model's context."""

ModelArguments = ChatArguments | WorkflowArguments
"""Arguments of a tool that may ask a model."""


class Router(Protocol):
    """Knows which provider serves a model."""

    def route(self, model: str | None, tool: str) -> Route:
        """Return provider and model; None and "auto" choose by tool."""


class Completer(Protocol):
    """Sends a prompt to a provider."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return the provider's answer."""


class Reader(Protocol):
    """Fetches web pages."""

    async def fetch_all(self, urls: Sequence[str], budget_s: float) -> list[Fetched]:
        """Return one result per address, within `budget_s` seconds."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one request to a provider says.

    Attributes:
        system: Who the model is and how it should answer.
        prompt: What it is asked.
        budget_s: Seconds that the answer may take.
    """

    system: str
    prompt: str
    budget_s: float


class Assistant:
    """Reads pages and asks a model, on behalf of one call at a time."""

    def __init__(self, router: Router, completer: Completer, reader: Reader) -> None:
        """Join the three parts."""
        self._router, self._completer, self._reader = router, completer, reader

    def route(self, model: str | None, tool: str) -> Route:
        """Return who answers.

        Raises:
            ArgumentError: The model is not known; it names the nearest ones.
        """
        try:
            return self._router.route(model, tool)
        except UnknownModelError as error:
            hint = f"; nearest: {', '.join(error.nearest)}" if error.nearest else "; listmodels lists them"
            raise ArgumentError("model", f"is not known{hint}") from error

    async def read(self, arguments: ModelArguments, context: CallContext) -> list[Fetched]:
        """Fetch the pages that the call names, in phase WEB; nothing without use_websearch."""
        if not (arguments.use_websearch and arguments.urls):
            return []
        before, context.phase = context.phase, Phase.WEB
        pages = await self._reader.fetch_all(arguments.urls, min(context.web_budget_s, context.remaining_s()))
        context.phase = before
        return pages

    async def ask(self, question: Question, tool: str, arguments: ModelArguments, context: CallContext) -> Completion:
        """Ask the model that the call names, once.

        Raises:
            ProviderLateError: `question.budget_s` passed.
            ProviderFailedError: The provider failed or answered nonsense.
        """
        route = self.route(arguments.model, tool)
        context.provider_requests += 1
        return await self._completer.complete(
            CompletionRequest(
                provider=route.provider,
                model=route.model,
                system=question.system,
                prompt=question.prompt,
                tool=tool,
                trace_id=context.trace_id,
                budget_s=question.budget_s,
                draw=arguments.draw,
                thinking_mode=arguments.thinking_mode,
            )
        )


def quote_pages(pages: Sequence[Fetched]) -> str:
    """Return the texts of the pages for a prompt, each up to a limit and marked as material."""
    return "".join(f"\n\n<page url={page.url!r}>\n{page.text[:MAX_PAGE]}\n</page>" for page in pages if page.text)


def with_sources(text: str, pages: Sequence[Fetched]) -> str:
    """Return the answer with the pages that were fetched for it listed at its end."""
    return f"{text}\n\n{render_sources(pages)}" if pages else text
