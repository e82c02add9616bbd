"""The arguments of the tools: typed structs, their JSON Schemas, and errors that name the argument.

The schema that clients see is made from the struct that parses, so the two cannot differ. Arguments that a
tool does not know are ignored.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta

from reference_daemon.server.context import ArgumentError
from reference_daemon.server.web_page import MAX_URL_CHARACTERS

MAX_URLS: Final = 10  # as many as can be fetched in the web time of one call
MAX_FILES: Final = 500
MAX_NAME: Final = 1_024  # characters of a file name
MAX_FINDINGS: Final = 100_000  # characters of one step, about 25,000 tokens
MAX_PROMPT: Final = 200_000  # characters; a chat sends it in one piece

ThinkingMode = Literal["minimal", "low", "medium", "high", "max"]

Model = Annotated[
    Annotated[str, Meta(min_length=1, max_length=100)] | None,
    Meta(description='Model that answers, as in listmodels; absent or "auto": chosen by the tool.'),
]
Thinking = Annotated[ThinkingMode, Meta(description="How long the model may think before it answers.")]
UseWebsearch = Annotated[
    bool,
    Meta(description="Fetch the pages in `urls` first and let the model use them; they are listed at the end."),
]
Urls = Annotated[
    tuple[Annotated[str, Meta(pattern="^https?://", max_length=MAX_URL_CHARACTERS)], ...],
    Meta(description="Pages to fetch; read only with use_websearch.", max_length=MAX_URLS),
]
ContinuationId = Annotated[
    Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", max_length=64)] | None,
    Meta(description="Id from an earlier answer: what was said or found under it is remembered for a while."),
]
Draw = Annotated[
    Annotated[float, Meta(ge=0, lt=1)] | None,
    Meta(description="Fixes the stub provider's latency; for drills."),
]


class NoArguments(msgspec.Struct, frozen=True):
    """Arguments of a tool that needs none."""


class ChatArguments(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of the chat tools."""

    prompt: Annotated[str, Meta(description="What to ask.", min_length=1, max_length=MAX_PROMPT)]
    model: Model = None
    thinking_mode: Thinking = "medium"
    use_websearch: UseWebsearch = False
    urls: Urls = ()
    continuation_id: ContinuationId = None
    draw: Draw = None


class WorkflowArguments(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of the workflow tools: one step of an investigation."""

    step: Annotated[
        str,
        Meta(description="What this step set out to do.", min_length=1, max_length=MAX_FINDINGS),
    ]
    step_number: Annotated[int, Meta(description="Number of this step; at most total_steps.", ge=1)]
    total_steps: Annotated[int, Meta(description="Steps expected in all; may grow from step to step.", ge=1)]
    next_step_required: Annotated[
        bool,
        Meta(description="Whether another step follows; false ends the work."),
    ]
    findings: Annotated[
        str,
        Meta(description="What this step found: facts, with file and line.", max_length=MAX_FINDINGS),
    ]
    relevant_files: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)], ...],
        Meta(
            description="Names of files that matter. Only the names are told to the expert: no file is read, "
            "so quote in `findings` what it must see.",
            max_length=MAX_FILES,
        ),
    ] = ()
    model: Model = None
    assistant: Annotated[
        bool | None,
        Meta(description="Whether an expert model judges all findings in the last step; absent: true."),
    ] = None
    use_assistant_model: Annotated[bool | None, Meta(description="The same as `assistant`.")] = None
    thinking_mode: Thinking = "medium"
    use_websearch: UseWebsearch = False
    urls: Urls = ()
    continuation_id: ContinuationId = None
    draw: Draw = None

    def __post_init__(self) -> None:
        """Check what one field alone cannot say."""
        if self.step_number > self.total_steps:
            raise ArgumentError("step_number", "must be at most total_steps")
        if {self.assistant, self.use_assistant_model} == {True, False}:
            raise ArgumentError("use_assistant_model", "is the same as assistant, but says otherwise")

    @property
    def wants_expert(self) -> bool:
        """Whether an expert judges the findings when the work ends."""
        return self.assistant is not False and self.use_assistant_model is not False

    @property
    def runs_expert(self) -> bool:
        """Whether this very step asks the expert."""
        return self.wants_expert and not self.next_step_required


T = TypeVar("T", bound=msgspec.Struct)

_MISSING = re.compile(r"Object missing required field `(\w+)`\Z")
# The first part is greedy: a value that is quoted in it may look like a path, too.
_LOCATED = re.compile(r"(.*) - at `\$\.([^`]+)`\Z", re.DOTALL)


def parse(arguments: Mapping[str, Any], kind: type[T]) -> T:
    """Return `arguments` as a `kind`.

    Raises:
        ArgumentError: They do not fit; it names the first wrong argument and quotes no value.
    """
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None  # the cause would carry the value into a traceback


def _explain(message: str) -> ArgumentError:
    """Turn a message like "Expected `int` >= 1 - at `$.step_number`" into an error with a field."""
    if missing := _MISSING.match(message):
        return ArgumentError(missing[1], "is required")
    located = _LOCATED.match(message)
    if not located:
        return ArgumentError("arguments", "must be an object with names as keys")
    reason, field = located[1], located[2].removesuffix("[...]")
    if reason.startswith("Invalid enum value"):  # it would quote the value; thinking_mode is the only enum
        reason = "Expected one of " + ", ".join(get_args(ThinkingMode))
    return ArgumentError(field, reason[:1].lower() + reason[1:])


def schema(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return the JSON Schema of `kind`, complete in itself.

    A client of the tools expects an object at the top, not a reference to one.
    """
    _, definitions = msgspec.json.schema_components([kind])
    return {name: value for name, value in definitions[kind.__name__].items() if name != "title"}
