"""The expert phase: one provider request over everything that was found.

When the expert's budget ends, the work of the steps is not lost: the answer then has the status
`analysis_timeout` and carries the findings so far.
"""

from dataclasses import dataclass

from reference_daemon.policy.deadlines import expert_request_s
from reference_daemon.providers.errors import ProviderLateError
from reference_daemon.server.arguments import WorkflowArguments
from reference_daemon.server.assistant import Assistant, Question, quote_pages, with_sources
from reference_daemon.server.context import CallContext, Phase
from reference_daemon.server.continuations import Remembered
from reference_daemon.server.prompts import Workflow
from reference_daemon.server.summary import Expert, Facts


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step of a workflow reported.

    Attributes:
        tool: Name of the workflow tool.
        number: Number of the step; a step that is sent again replaces its first report.
        step: What it set out to do.
        findings: What it found.
        files: Names of files that matter.
    """

    tool: str
    number: int
    step: str
    findings: str
    files: tuple[str, ...]

    @property
    def key(self) -> tuple[str, int]:
        """Which step of which tool this is."""
        return self.tool, self.number

    def size(self) -> int:
        """Return the size in bytes of UTF-8."""
        return sum(len(text.encode()) for text in (self.step, self.findings, *self.files))


def render_findings(found: Remembered[StepRecord]) -> str:
    """Return all steps as text, for a person as well as for a prompt."""
    parts = [f"({found.lost} earlier steps were dropped: too much was reported.)"] if found.lost else []
    for record in found.items:
        title = f"{record.tool}, step {record.number}: {record.step}"
        parts.append(f"{title}\nFindings: {record.findings or 'none'}")
        if record.files:
            parts.append("Relevant files (names only): " + ", ".join(record.files))
    return "\n\n".join(parts)


class ExpertPhase:
    """Runs the expert phase of the workflow tools."""

    def __init__(self, assistant: Assistant) -> None:
        """Keep the way to web and provider."""
        self._assistant = assistant

    async def run(
        self,
        workflow: Workflow,
        arguments: WorkflowArguments,
        found: Remembered[StepRecord],
        facts: Facts,
        context: CallContext,
    ) -> str:
        """Return the expert's judgement, or the findings alone if it came too late.

        Raises:
            ProviderFailedError: The provider failed or answered nonsense.
        """
        pages = await self._assistant.read(arguments, context)
        findings = render_findings(found)
        budget_s = expert_request_s(context.expert_budget_s, context.remaining_s())
        question = Question(workflow.expert, _prompt(findings, quote_pages(pages)), budget_s)
        context.phase = Phase.EXPERT
        try:
            completion = await self._assistant.ask(question, workflow.name, arguments, context)
        except ProviderLateError:
            facts.expert = Expert.TIMED_OUT
            facts.next_action = "judge the findings yourself, or send the last step again"
            note = f"The expert did not answer within {budget_s:.3g} s. The findings so far:"
            return with_sources(_with_status("analysis_timeout", f"{note}\n\n{findings}"), pages)
        facts.expert = Expert.COMPLETED
        facts.answered(completion)
        return with_sources(_with_status("analysis_complete", completion.text), pages)


def _prompt(findings: str, pages: str) -> str:
    return f"<findings>\n{findings}\n</findings>{pages}"


def _with_status(status: str, text: str) -> str:
    return f"Status: {status}\n\n{text}"
