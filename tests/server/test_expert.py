"""The expert phase: one request over everything found, and nothing lost when it comes too late."""

import asyncio

import pytest

from reference_daemon.providers.errors import ProviderLateError
from reference_daemon.server.arguments import WorkflowArguments, parse
from reference_daemon.server.context import CallContext, Phase
from reference_daemon.server.continuations import Remembered
from reference_daemon.server.expert import ExpertPhase, StepRecord, render_findings
from reference_daemon.server.prompts import CODEREVIEW
from reference_daemon.server.summary import Expert, Facts
from reference_daemon.server.web import render_sources
from tests.server.fakes import Hands, a_page, a_step

URL = "https://example.org/"
FOUND = Remembered(
    (
        StepRecord("codereview", 1, "Survey", "Three modules.", ()),
        StepRecord("codereview", 2, "Parser", "", ("parser.py", "lexer.py")),
    )
)
LATE = ProviderLateError("GLM", 90.0)


async def run(hands: Hands, facts: Facts, context: CallContext, **changes: object) -> str:
    """Run the phase over `FOUND`."""
    arguments = parse(a_step(**changes), WorkflowArguments)
    return await ExpertPhase(hands.assistant).run(CODEREVIEW, arguments, FOUND, facts, context)


@pytest.fixture
def facts() -> Facts:
    """Facts of a step that wants the expert."""
    return Facts(tool="codereview", expert=Expert.PENDING)


class TestFindings:
    def test_every_step_is_named(self) -> None:
        """A prompt holds what each step set out to do, what it found, and the names of files."""
        assert render_findings(FOUND) == (
            "codereview, step 1: Survey\nFindings: Three modules.\n\n"
            "codereview, step 2: Parser\nFindings: none\n\n"
            "Relevant files (names only): parser.py, lexer.py"
        )

    def test_lost_steps_are_confessed(self) -> None:
        """Who reads the findings learns that some are missing."""
        assert render_findings(Remembered((), lost=3)).startswith("(3 earlier steps were dropped")

    def test_size_counts_bytes(self) -> None:
        """Memory is bounded in bytes, not in characters."""
        assert StepRecord("analyze", 1, "ä", "bc", ("d",)).size() == 5


class TestInTime:
    async def test_one_request_over_all_findings(self, hands: Hands, facts: Facts) -> None:
        """The expert is asked once, with its tool's system prompt and every step's findings."""
        context = hands.context()
        assert await run(hands, facts, context) == "Status: analysis_complete\n\nAll is well."
        (sent,) = hands.requests
        assert sent.system == CODEREVIEW.expert
        assert render_findings(FOUND) in sent.prompt
        assert context.provider_requests == 1

    async def test_the_facts_say_who_answered(self, hands: Hands, facts: Facts) -> None:
        """Model, provider and tokens are those of the answer."""
        await run(hands, facts, hands.context())
        assert (facts.expert, facts.provider, facts.model) == (Expert.COMPLETED, "GLM", "glm-4.6")
        assert (facts.tokens_in, facts.tokens_out) == (7, 3)

    async def test_the_budget_is_the_experts(self, hands: Hands, facts: Facts) -> None:
        """With time enough, the request gets the expert's budget."""
        await run(hands, facts, hands.context())
        assert hands.requests[0].budget_s == 90.0

    async def test_the_web_takes_from_the_call_not_from_the_expert(self, hands: Hands, facts: Facts) -> None:
        """The expert's budget starts with its request; only the call's deadline, less a reply, can shorten it."""
        hands.fetch_takes_s = 20.0
        await run(hands, facts, hands.context(), use_websearch=True, urls=[URL])
        assert hands.requests[-1].budget_s == 90.0
        await run(hands, facts, hands.context(deadline_at=hands.now + 100.0), use_websearch=True, urls=[URL])
        assert hands.requests[-1].budget_s == 78.0

    async def test_the_phase_is_expert_meanwhile(self, hands: Hands, facts: Facts) -> None:
        """Heartbeats say that the expert works."""
        hands.holds = True
        context = hands.context()
        task = asyncio.create_task(run(hands, facts, context))
        await hands.asked.wait()
        assert context.phase is Phase.EXPERT
        hands.release.set()
        await task

    async def test_sources_end_the_answer(self, hands: Hands, facts: Facts) -> None:
        """Pages go into the prompt, and their addresses to the end of the answer."""
        hands.pages = [a_page(URL, "Recursion is bounded by the stack.")]
        text = await run(hands, facts, hands.context(), use_websearch=True, urls=[URL])
        assert "Recursion is bounded by the stack." in hands.requests[0].prompt
        assert text.endswith(render_sources(hands.pages))


class TestTooLate:
    async def test_the_findings_are_kept(self, hands: Hands, facts: Facts) -> None:
        """When the expert's budget ends, the call succeeds with what the steps found."""
        hands.answer = LATE
        text = await run(hands, facts, hands.context())
        assert text == (
            "Status: analysis_timeout\n\nThe expert did not answer within 90 s. The findings so far:\n\n"
            + render_findings(FOUND)
        )
        assert facts.expert is Expert.TIMED_OUT

    async def test_the_sources_are_kept(self, hands: Hands, facts: Facts) -> None:
        """What was fetched is listed although nobody judged it."""
        hands.answer = LATE
        hands.pages = [a_page(URL, "text")]
        text = await run(hands, facts, hands.context(), use_websearch=True, urls=[URL])
        assert text.endswith(render_sources(hands.pages))

    async def test_cancelling_the_call_cancels_the_request(self, hands: Hands, facts: Facts) -> None:
        """A provider does not work for a call that is gone."""
        hands.holds = True
        task = asyncio.create_task(run(hands, facts, hands.context()))
        await hands.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hands.cancelled == 1
