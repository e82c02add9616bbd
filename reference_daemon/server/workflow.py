"""The workflow tools: `analyze`, `codereview` and `testgen`.

The client investigates, one step a call; the tool remembers what each step found and says what comes next.
The last step may ask an expert model to judge it all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reference_daemon.policy.events import CallKind
from reference_daemon.server.arguments import WorkflowArguments, parse, schema
from reference_daemon.server.assistant import Assistant
from reference_daemon.server.context import CallContext, CallPlan
from reference_daemon.server.continuations import Continuations
from reference_daemon.server.expert import ExpertPhase, StepRecord, render_findings
from reference_daemon.server.prompts import Workflow
from reference_daemon.server.summary import Expert, Facts, Status, summarised

STEP_PLAN = CallPlan(CallKind.STEP)


class WorkflowTool:
    """One workflow tool; what makes it different from the others is its `Workflow`."""

    def __init__(self, workflow: Workflow, assistant: Assistant, memory: Continuations[StepRecord]) -> None:
        """Make the tool.

        Args:
            workflow: Name, description and prompts.
            assistant: The way to web and provider.
            memory: Where findings are kept between steps; the workflow tools share it, so that a review
                can go on where an analysis ended.
        """
        self.name, self.description = workflow.name, workflow.description
        self.input_schema: Mapping[str, Any] = schema(WorkflowArguments)
        self._workflow = workflow
        self._assistant = assistant
        self._expert = ExpertPhase(assistant)
        self._memory = memory

    def parse(self, arguments: Mapping[str, Any]) -> WorkflowArguments:
        """Return the typed arguments of one step."""
        return parse(arguments, WorkflowArguments)

    def plan(self, arguments: WorkflowArguments) -> CallPlan:
        """Say whether the step asks the expert, and which."""
        if not arguments.wants_expert:
            return STEP_PLAN
        # Asked in every step: a wrong model shows in the first one, not after all the work.
        route = self._assistant.route(arguments.model, self.name)
        if arguments.next_step_required:
            return STEP_PLAN
        return CallPlan(CallKind.EXPERT, route.provider, route.model)

    async def run(self, arguments: WorkflowArguments, context: CallContext) -> Sequence[str]:
        """Record the step and return what comes next, or the end of the work; the summary comes last.

        Raises:
            ArgumentError: The continuation is not known.
            ProviderFailedError: The expert's provider failed or answered nonsense.
        """
        facts = Facts(
            tool=self.name,
            step=arguments.step_number,
            total_steps=arguments.total_steps,
            expert=Expert.PENDING if arguments.wants_expert else Expert.DISABLED,
        )
        return await summarised(self._step(arguments, facts, context), facts, context)

    async def _step(self, arguments: WorkflowArguments, facts: Facts, context: CallContext) -> str:
        facts.continuation_id = self._record(arguments)
        if arguments.next_step_required:
            return self._pause(arguments, facts)
        found = self._memory.recall(facts.continuation_id)
        if not arguments.runs_expert:
            return f"Status: findings_complete\n\n{render_findings(found)}"
        plan = self.plan(arguments)
        facts.provider, facts.model = plan.provider, plan.model
        return await self._expert.run(self._workflow, arguments, found, facts, context)

    def _record(self, arguments: WorkflowArguments) -> str:
        continuation_id = self._memory.open(arguments.continuation_id)
        record = StepRecord(
            self.name, arguments.step_number, arguments.step, arguments.findings, arguments.relevant_files
        )
        self._memory.add(continuation_id, record)
        return continuation_id

    def _pause(self, arguments: WorkflowArguments, facts: Facts) -> str:
        number = arguments.step_number + 1
        total = max(number, arguments.total_steps)
        facts.status = Status.WORKFLOW_PAUSED
        facts.next_action = f"call {self.name} with step {number} of {total}"
        actions = "\n".join(f"- {action}" for action in self._workflow.actions)
        return (
            f"Status: next_step\n\n"
            f"Step {arguments.step_number} of {arguments.total_steps} is recorded. "
            f"Before step {number}:\n{actions}\n\n"
            f"Then call {self.name} with step_number={number}, total_steps={total} and "
            f"continuation_id={facts.continuation_id}."
        )
