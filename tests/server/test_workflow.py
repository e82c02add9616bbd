"""The workflow tools, step by step."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from reference_daemon.policy.events import CallKind
from reference_daemon.providers.errors import ProviderLateError
from reference_daemon.server.context import ArgumentError, CallContext, CallPlan
from reference_daemon.server.continuations import Continuations
from reference_daemon.server.prompts import ANALYZE, TESTGEN, WORKFLOWS, Workflow
from reference_daemon.server.workflow import WorkflowTool
from tests.server.fakes import ID, Hands, a_first_step, a_step


def a_tool(hands: Hands, workflow: Workflow = ANALYZE) -> WorkflowTool:
    """Return a tool with a memory of its own."""
    return WorkflowTool(workflow, hands.assistant, Continuations(hands.clock, hands.token_hex))


async def call(
    tool: WorkflowTool, hands: Hands, arguments: dict[str, Any], context: CallContext | None = None
) -> tuple[str, str]:
    """Run one call; return its answer and its summary."""
    text, summary = await tool.run(tool.parse(arguments), context or hands.context())
    return text, summary


class TestPlan:
    @pytest.mark.parametrize(
        "arguments", [a_first_step(), a_first_step(model="glm-4.6"), a_step(assistant=False, model="no-such")]
    )
    def test_a_step_without_expert_needs_no_provider(self, hands: Hands, arguments: dict[str, Any]) -> None:
        """An intermediate step, or a last one without assistant, holds no provider slot."""
        tool = a_tool(hands)
        assert tool.plan(tool.parse(arguments)) == CallPlan(CallKind.STEP)

    def test_a_last_step_needs_its_experts_provider(self, hands: Hands) -> None:
        """The provider is known before the call is admitted; "auto" is resolved by tool."""
        for workflow, plan in [
            (ANALYZE, CallPlan(CallKind.EXPERT, "GLM", "glm-4.6")),
            (TESTGEN, CallPlan(CallKind.EXPERT, "KIMI", "kimi-k2")),
        ]:
            tool = a_tool(hands, workflow)
            assert tool.plan(tool.parse(a_step(model="auto"))) == plan

    @pytest.mark.parametrize("arguments", [a_first_step(model="no-such"), a_step(model="no-such")])
    def test_a_wrong_model_shows_in_the_first_step(self, hands: Hands, arguments: dict[str, Any]) -> None:
        """A model that the expert could not use is refused before any work is done."""
        tool = a_tool(hands)
        with pytest.raises(ArgumentError) as caught:
            tool.plan(tool.parse(arguments))
        assert caught.value.field == "model"


class TestIntermediateStep:
    @pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
    async def test_it_says_what_comes_next(self, hands: Hands, workflow: Workflow) -> None:
        """The answer names what to do, the next step, and the id under which to go on."""
        text, summary = await call(a_tool(hands, workflow), hands, a_first_step())
        assert text.startswith("Status: next_step\n\nStep 1 of 2 is recorded.")
        assert all(action in text for action in workflow.actions)
        assert f"call {workflow.name} with step_number=2, total_steps=2 and continuation_id={ID}." in text
        assert "Status: WORKFLOW_PAUSED" in summary
        assert f"Next action: call {workflow.name} with step 2 of 2" in summary
        assert hands.requests == []

    async def test_one_step_more_than_planned(self, hands: Hands) -> None:
        """Who needs another step after the last one is told to raise total_steps."""
        text, _ = await call(a_tool(hands), hands, a_step(next_step_required=True))
        assert "step_number=3, total_steps=3" in text

    @pytest.mark.parametrize(("assistant", "expert"), [(True, "Pending"), (None, "Pending"), (False, "Disabled")])
    async def test_the_expert_is_pending_if_wanted(self, hands: Hands, assistant: bool | None, expert: str) -> None:
        """The summary says whether an expert is still to come."""
        _, summary = await call(a_tool(hands), hands, a_first_step(assistant=assistant))
        assert f"Expert: {expert}" in summary

    async def test_it_fetches_nothing(self, hands: Hands) -> None:
        """Pages are for the expert: an intermediate step returns at once."""
        await call(a_tool(hands), hands, a_first_step(use_websearch=True, urls=["https://example.org/"]))
        assert hands.fetches == []


class TestLastStep:
    async def test_the_expert_sees_all_steps(self, hands: Hands) -> None:
        """Findings of every step under the continuation id reach the expert, oldest first."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step())
        text, summary = await call(tool, hands, a_step(continuation_id=ID))
        prompt = hands.requests[0].prompt
        assert prompt.index("Three modules.") < prompt.index("It recurses without a limit.")
        assert text == "Status: analysis_complete\n\nAll is well."
        facts = {"Status: COMPLETE", "Step: 2/2", "Expert: Completed", "Attempts: 1"}
        assert {*facts, f"Continuation ID: {ID}"} <= set(summary.splitlines())

    async def test_without_assistant_the_findings_are_the_answer(self, hands: Hands) -> None:
        """No provider is asked; the answer is what was found."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step(assistant=False))
        text, summary = await call(tool, hands, a_step(assistant=False, continuation_id=ID))
        assert text.startswith("Status: findings_complete")
        assert "Three modules." in text
        assert "It recurses without a limit." in text
        assert "Expert: Disabled" in summary
        assert hands.requests == []

    async def test_a_late_expert_costs_no_findings(self, hands: Hands) -> None:
        """The call still completes, and can be sent again to ask once more."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step())
        hands.answer = ProviderLateError("GLM", 90.0)
        text, summary = await call(tool, hands, a_step(continuation_id=ID))
        assert text.startswith("Status: analysis_timeout")
        assert "Three modules." in text
        assert "Status: COMPLETE" in summary
        assert "Expert: TimedOut" in summary

    async def test_a_step_sent_again_counts_once(self, hands: Hands) -> None:
        """A repeated step replaces its first report."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step())
        await call(tool, hands, a_first_step(continuation_id=ID, findings="Four modules."))
        text, _ = await call(tool, hands, a_step(assistant=False, continuation_id=ID))
        assert "Four modules." in text
        assert "Three modules." not in text

    async def test_continuations_do_not_mix(self, hands: Hands) -> None:
        """Two workflows at once see only their own findings."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step())
        await call(tool, hands, a_first_step(findings="Another matter."))
        text, _ = await call(tool, hands, a_step(assistant=False, continuation_id=ID))
        assert "Another matter." not in text

    async def test_a_review_goes_on_where_an_analysis_ended(self, hands: Hands) -> None:
        """Tools that share a memory share its continuations, and equal step numbers do not collide."""
        memory: Continuations[Any] = Continuations(hands.clock, hands.token_hex)
        analyze, testgen = (WorkflowTool(each, hands.assistant, memory) for each in (ANALYZE, TESTGEN))
        await call(analyze, hands, a_step())
        await call(testgen, hands, a_step(continuation_id=ID, findings="No test covers it."))
        prompt = hands.requests[-1].prompt
        assert "analyze, step 2" in prompt
        assert "testgen, step 2" in prompt


class TestFailure:
    async def test_an_unknown_continuation_is_a_wrong_argument(
        self, hands: Hands, logged: list[MutableMapping[str, Any]]
    ) -> None:
        """Findings cannot be put under an id that this server did not make; the log does not repeat it."""
        with pytest.raises(ArgumentError) as caught:
            await call(a_tool(hands), hands, a_step(continuation_id="stranger"))
        assert caught.value.field == "continuation_id"
        assert [(line["status"], line["continuation_id"]) for line in logged] == [("ERROR", None)]
        assert "stranger" not in str(logged)

    async def test_a_cancelled_call_keeps_its_findings(
        self, hands: Hands, logged: list[MutableMapping[str, Any]]
    ) -> None:
        """What was recorded before the expert was asked is there for the next try."""
        tool = a_tool(hands)
        await call(tool, hands, a_first_step())
        hands.holds = True
        task = asyncio.create_task(call(tool, hands, a_step(continuation_id=ID)))
        await hands.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (hands.cancelled, logged[-1]["status"], logged[-1]["expert"]) == (1, "CANCELLED", "Pending")
        hands.holds = False
        await call(tool, hands, a_step(continuation_id=ID))
        assert "Three modules." in hands.requests[-1].prompt

    async def test_a_failed_provider_fails_the_call(self, hands: Hands, logged: list[MutableMapping[str, Any]]) -> None:
        """Only lateness is forgiven: a provider's error is the call's; the log line names the provider."""
        hands.answer = RuntimeError()
        with pytest.raises(RuntimeError):
            await call(a_tool(hands), hands, a_step())
        assert [(line["status"], line["provider"]) for line in logged] == [("ERROR", "GLM")]
