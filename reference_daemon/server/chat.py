"""The chat tools: one question, one provider request, and what was said before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reference_daemon.policy.events import CallKind
from reference_daemon.server.arguments import ChatArguments, parse, schema
from reference_daemon.server.assistant import Assistant, Question, quote_pages, with_sources
from reference_daemon.server.context import CallContext, CallPlan
from reference_daemon.server.continuations import Continuations, Remembered
from reference_daemon.server.prompts import CHAT_SYSTEM
from reference_daemon.server.summary import Facts, summarised


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer.

    Attributes:
        trace_id: Trace of the call that asked.
        prompt: The question.
        answer: The answer.
    """

    trace_id: str
    prompt: str
    answer: str

    @property
    def key(self) -> str:
        """What makes the turn unique."""
        return self.trace_id

    def size(self) -> int:
        """Return the size in bytes of UTF-8."""
        return len(self.prompt.encode()) + len(self.answer.encode())


class ChatTool:
    """A chat tool; `chat` and `kimi_chat_with_tools` differ in name and in the model that "auto" means."""

    def __init__(self, name: str, description: str, assistant: Assistant, memory: Continuations[Turn]) -> None:
        """Make the tool.

        Args:
            name: Name, by which the router chooses the model for "auto".
            description: For the person or model that picks a tool.
            assistant: The way to web and provider.
            memory: Where conversations are kept.
        """
        self.name, self.description = name, description
        self.input_schema: Mapping[str, Any] = schema(ChatArguments)
        self._assistant = assistant
        self._memory = memory

    def parse(self, arguments: Mapping[str, Any]) -> ChatArguments:
        """Return the typed arguments."""
        return parse(arguments, ChatArguments)

    def plan(self, arguments: ChatArguments) -> CallPlan:
        """Say who will answer."""
        route = self._assistant.route(arguments.model, self.name)
        return CallPlan(CallKind.CHAT, route.provider, route.model)

    async def run(self, arguments: ChatArguments, context: CallContext) -> Sequence[str]:
        """Return the answer, and the summary last.

        Raises:
            ArgumentError: The continuation is not known.
            ProviderLateError: The call's time is over.
            ProviderFailedError: The provider failed or answered nonsense.
        """
        plan = self.plan(arguments)
        facts = Facts(tool=self.name, provider=plan.provider, model=plan.model)
        return await summarised(self._answer(arguments, facts, context), facts, context)

    async def _answer(self, arguments: ChatArguments, facts: Facts, context: CallContext) -> str:
        facts.continuation_id = self._memory.open(arguments.continuation_id)
        pages = await self._assistant.read(arguments, context)
        said = self._memory.recall(facts.continuation_id)
        prompt = _prompt(said, arguments.prompt, quote_pages(pages))
        question = Question(CHAT_SYSTEM, prompt, context.remaining_s())
        completion = await self._assistant.ask(question, self.name, arguments, context)
        facts.answered(completion)
        facts.next_action = "go on with the continuation id, or stop"
        self._memory.add(facts.continuation_id, Turn(context.trace_id, arguments.prompt, completion.text))
        return with_sources(completion.text, pages)


def _prompt(said: Remembered[Turn], prompt: str, pages: str) -> str:
    """Return the prompt as it stands, or after the conversation that it continues."""
    if not said.items:
        return prompt + pages
    turns = "\n\n".join(f"Question: {turn.prompt}\n\nAnswer: {turn.answer}" for turn in said.items)
    return f"<conversation>\n{turns}\n</conversation>\n\nQuestion: {prompt}{pages}"
