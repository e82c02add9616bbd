"""The assistant: who is asked, what is read first, and what an answer ends with."""

import pytest

from reference_daemon.providers.routing import Route
from reference_daemon.server.arguments import ChatArguments
from reference_daemon.server.assistant import MAX_PAGE, Question, quote_pages, with_sources
from reference_daemon.server.context import ArgumentError, Phase
from reference_daemon.server.web import render_sources
from tests.server.fakes import TRACE_ID, Hands, a_page

URL = "https://example.org/"
READS = ChatArguments(prompt="Why?", use_websearch=True, urls=(URL,))


class TestRoute:
    def test_an_open_model_is_chosen_by_tool(self, hands: Hands) -> None:
        """Without a model, or with "auto", the tool decides."""
        assert hands.assistant.route(None, "kimi_chat_with_tools").provider == "KIMI"
        assert hands.assistant.route("auto", "analyze").provider == "GLM"

    def test_an_unknown_model_is_a_wrong_argument(self, hands: Hands) -> None:
        """The error names the field and the nearest models, and does not repeat what was asked for."""
        with pytest.raises(ArgumentError) as caught:
            hands.assistant.route("gml-4.6", "analyze")
        assert caught.value.field == "model"
        assert "glm-4.6" in caught.value.reason
        assert "gml-4.6" not in caught.value.reason

    def test_a_model_like_no_other_is_looked_up(self, hands: Hands) -> None:
        """Where no name is near, the error says where the names stand."""
        with pytest.raises(ArgumentError, match="listmodels"):
            hands.assistant.route("zzzzzzzz", "analyze")


class TestRead:
    async def test_pages_are_fetched_within_the_web_budget(self, hands: Hands) -> None:
        """All fetching of a call has one budget."""
        hands.pages = [a_page(URL, "text")]
        assert await hands.assistant.read(READS, hands.context()) == hands.pages
        assert hands.fetches == [((URL,), 25.0)]

    async def test_the_call_may_have_less_time_left(self, hands: Hands) -> None:
        """Nested budgets shrink: fetching never outlives the call."""
        await hands.assistant.read(READS, hands.context(deadline_at=hands.now + 10.0))
        assert hands.fetches == [((URL,), 10.0)]

    @pytest.mark.parametrize("arguments", [{"urls": (URL,)}, {"use_websearch": True}])
    async def test_both_switch_and_addresses_are_needed(self, hands: Hands, arguments: dict[str, object]) -> None:
        """Nothing is fetched without use_websearch, or without addresses."""
        chat = ChatArguments(prompt="Why?", **arguments)  # type: ignore[arg-type]
        assert await hands.assistant.read(chat, hands.context()) == []
        assert hands.fetches == []

    async def test_the_phase_is_web_meanwhile(self, hands: Hands) -> None:
        """Heartbeats say that pages are fetched, and afterwards that they are not."""
        context = hands.context()
        seen = []

        class Watcher(Hands):
            async def fetch_all(self, urls: object, budget_s: float) -> list[object]:  # type: ignore[override]
                """Note the phase."""
                seen.append(context.phase)
                return []

        await Watcher().assistant.read(READS, context)
        assert (seen, context.phase) == ([Phase.WEB], Phase.STEP)


class TestAsk:
    async def test_the_request_carries_the_call(self, hands: Hands) -> None:
        """Model, budget, trace, draw and thinking mode reach the provider as they are."""
        chat = ChatArguments(prompt="Why?", model="kimi-k2", thinking_mode="high", draw=0.25)
        context = hands.context()
        await hands.assistant.ask(Question("system", "prompt", 42.0), "chat", chat, context)
        (sent,) = hands.requests
        assert Route(sent.provider, sent.model) == Route("KIMI", "kimi-k2")
        assert (sent.system, sent.prompt, sent.tool) == ("system", "prompt", "chat")
        assert (sent.trace_id, sent.budget_s, sent.draw) == (TRACE_ID, 42.0, 0.25)
        assert sent.thinking_mode == "high"

    async def test_a_request_counts_before_it_ends(self, hands: Hands) -> None:
        """A request that fails was made, too."""
        hands.answer = RuntimeError()
        context = hands.context()
        with pytest.raises(RuntimeError):
            await hands.assistant.ask(Question("", "", 1.0), "chat", READS, context)
        assert context.provider_requests == 1


class TestText:
    def test_a_page_is_quoted_with_its_address(self) -> None:
        """A prompt says where each text comes from; a page without text is left out."""
        quoted = quote_pages([a_page(URL, "The text."), a_page("https://example.org/empty", "")])
        assert quoted == f"\n\n<page url='{URL}'>\nThe text.\n</page>"

    @pytest.mark.parametrize("length", [MAX_PAGE - 1, MAX_PAGE, MAX_PAGE + 1])
    def test_a_long_page_is_cut(self, length: int) -> None:
        """However long a page is, a prompt holds a bounded part of it."""
        assert quote_pages([a_page(URL, "§" * length)]).count("§") == min(length, MAX_PAGE)

    def test_an_answer_ends_with_its_sources(self) -> None:
        """Every page that was fetched is listed, also one that had no text."""
        pages = [a_page(URL, "The text."), a_page("https://example.org/empty", "")]
        assert with_sources("Because.", pages) == f"Because.\n\n{render_sources(pages)}"

    def test_without_sources_nothing_is_added(self) -> None:
        """An answer that needed no page is the model's alone."""
        assert with_sources("Because.", []) == "Because."
