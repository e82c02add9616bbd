"""Arguments: what is accepted, what the schema says, and which argument an error names."""

import itertools
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its types are a package of their own
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_daemon.server.arguments import (
    MAX_FILES,
    MAX_FINDINGS,
    MAX_PROMPT,
    MAX_URLS,
    ChatArguments,
    NoArguments,
    WorkflowArguments,
    parse,
    schema,
)
from reference_daemon.server.context import ArgumentError
from reference_daemon.server.web_page import MAX_URL_CHARACTERS
from tests.server.fakes import a_step

Kind = type[ChatArguments] | type[WorkflowArguments]

URL = "https://example.org/"
SECRET = "hunter2"  # stands in wrong values: no error may quote it

WRONG_FOR_BOTH = [
    ({"model": ""}, "model"),
    ({"model": "m" * 101}, "model"),
    ({"model": 4}, "model"),
    ({"thinking_mode": SECRET}, "thinking_mode"),
    ({"thinking_mode": f"{SECRET} - at `$.{SECRET}`"}, "thinking_mode"),
    ({"thinking_mode": None}, "thinking_mode"),
    ({"use_websearch": "yes"}, "use_websearch"),
    ({"urls": URL}, "urls"),
    ({"urls": [URL] * (MAX_URLS + 1)}, "urls"),
    ({"urls": [URL, f"file:///{SECRET}"]}, "urls[1]"),
    ({"urls": [URL.ljust(MAX_URL_CHARACTERS + 1, "a")]}, "urls[0]"),
    ({"urls": [URL, URL, 3]}, "urls[2]"),
    ({"continuation_id": ""}, "continuation_id"),
    ({"continuation_id": f"../{SECRET}"}, "continuation_id"),
    ({"continuation_id": "a" * 65}, "continuation_id"),
    ({"draw": -0.01}, "draw"),
    ({"draw": 1}, "draw"),
    ({"draw": float("nan")}, "draw"),
    ({"draw": True}, "draw"),
]
WRONG_STEP = [
    ({"step": ""}, "step"),
    ({"step": "s" * (MAX_FINDINGS + 1)}, "step"),
    ({"step_number": 0}, "step_number"),
    ({"step_number": "1"}, "step_number"),
    ({"step_number": True}, "step_number"),
    ({"step_number": 3}, "step_number"),
    ({"total_steps": 0}, "total_steps"),
    ({"total_steps": 1.5}, "total_steps"),
    ({"next_step_required": 1}, "next_step_required"),
    ({"findings": None}, "findings"),
    ({"findings": "f" * (MAX_FINDINGS + 1)}, "findings"),
    ({"relevant_files": "a.py"}, "relevant_files"),
    ({"relevant_files": ["a.py", ""]}, "relevant_files[1]"),
    ({"relevant_files": ["a.py"] * (MAX_FILES + 1)}, "relevant_files"),
    ({"assistant": SECRET}, "assistant"),
    ({"use_assistant_model": 0}, "use_assistant_model"),
    ({"assistant": True, "use_assistant_model": False}, "use_assistant_model"),
    ({"assistant": False, "use_assistant_model": True}, "use_assistant_model"),
]
WRONG_CHAT = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": [SECRET]}, "prompt"),
    ({"prompt": "p" * (MAX_PROMPT + 1)}, "prompt"),
]
RIGHT_FOR_BOTH: list[dict[str, Any]] = [
    {},
    {"model": None, "continuation_id": None, "draw": None},
    {"model": "auto", "thinking_mode": "max"},
    {"use_websearch": True, "urls": [URL.ljust(MAX_URL_CHARACTERS, "a")] * MAX_URLS},
    {"continuation_id": "aZ09_-"},
    {"draw": 0},
    {"draw": 0.999},
]
RIGHT_STEP: list[dict[str, Any]] = [
    {"step_number": 2, "total_steps": 2},
    {"findings": ""},
    {"findings": "f" * MAX_FINDINGS, "relevant_files": ["a.py"] * MAX_FILES},
    {"assistant": None, "use_assistant_model": None},
    {"assistant": False, "use_assistant_model": False},
]


def a_chat(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a chat."""
    return {"prompt": "Why?", **changes}


def refusal(arguments: Any, kind: Kind) -> ArgumentError:
    """Return the error that `arguments` get."""
    with pytest.raises(ArgumentError) as caught:
        parse(arguments, kind)
    return caught.value


class TestWrongArguments:
    @pytest.mark.parametrize(("changes", "field"), [*WRONG_FOR_BOTH, *WRONG_STEP])
    def test_a_step_is_refused_by_field(self, changes: dict[str, Any], field: str) -> None:
        """A wrong argument of a workflow tool is named, and its value is not repeated."""
        error = refusal(a_step(**changes), WorkflowArguments)
        assert error.field == field
        assert SECRET not in str(error)

    @pytest.mark.parametrize(("changes", "field"), [*WRONG_FOR_BOTH, *WRONG_CHAT])
    def test_a_chat_is_refused_by_field(self, changes: dict[str, Any], field: str) -> None:
        """A wrong argument of a chat is named, and its value is not repeated."""
        error = refusal(a_chat(**changes), ChatArguments)
        assert error.field == field
        assert SECRET not in str(error)

    @pytest.mark.parametrize("field", ["step", "step_number", "total_steps", "next_step_required", "findings"])
    def test_a_missing_argument_is_named(self, field: str) -> None:
        """What a step must have is required by name."""
        arguments = a_step()
        del arguments[field]
        assert str(refusal(arguments, WorkflowArguments)) == f"{field}: is required"

    def test_a_chat_needs_a_prompt(self) -> None:
        """What a chat must have is required by name."""
        assert str(refusal({}, ChatArguments)) == "prompt: is required"

    @pytest.mark.parametrize("arguments", [[SECRET], {1: SECRET}])
    def test_what_is_no_object_is_refused_as_a_whole(self, arguments: object) -> None:
        """Arguments without names are no arguments."""
        assert refusal(arguments, ChatArguments).field == "arguments"

    def test_the_cause_is_not_kept(self) -> None:
        """A traceback of the error cannot show the value, as the parser's own error would."""
        assert refusal(a_chat(thinking_mode=SECRET), ChatArguments).__cause__ is None

    def test_the_reason_says_what_would_do(self) -> None:
        """A person can repair the call from the message alone."""
        wrong_mode = refusal(a_chat(thinking_mode="none"), ChatArguments)
        assert str(wrong_mode) == "thinking_mode: expected one of minimal, low, medium, high, max"
        assert str(refusal(a_step(step_number=0), WorkflowArguments)) == "step_number: expected `int` >= 1"
        too_far = refusal(a_step(step_number=3), WorkflowArguments)
        assert str(too_far) == "step_number: must be at most total_steps"


class TestRightArguments:
    @pytest.mark.parametrize("changes", [*RIGHT_FOR_BOTH, *RIGHT_STEP])
    def test_a_step_is_accepted_up_to_its_limits(self, changes: dict[str, Any]) -> None:
        """Values on a limit are within it, and unknown arguments are ignored."""
        parse(a_step(**changes, shape="round"), WorkflowArguments)
        jsonschema.validate(a_step(**changes, shape="round"), schema(WorkflowArguments))

    @pytest.mark.parametrize("changes", [*RIGHT_FOR_BOTH, {"prompt": "p" * MAX_PROMPT}])
    def test_a_chat_is_accepted_up_to_its_limits(self, changes: dict[str, Any]) -> None:
        """Values on a limit are within it, and unknown arguments are ignored."""
        parse(a_chat(**changes, shape="round"), ChatArguments)
        jsonschema.validate(a_chat(**changes, shape="round"), schema(ChatArguments))

    @pytest.mark.parametrize(("assistant", "alias"), list(itertools.product((None, True, False), repeat=2)))
    def test_the_assistant_has_two_names(self, assistant: bool | None, alias: bool | None) -> None:
        """Either name turns the expert off, neither leaves it on; naming both ways at once is refused."""
        arguments = a_step(assistant=assistant, use_assistant_model=alias)
        if {assistant, alias} == {True, False}:
            assert refusal(arguments, WorkflowArguments).field == "use_assistant_model"
        else:
            assert parse(arguments, WorkflowArguments).wants_expert == (False not in {assistant, alias})

    def test_only_the_last_step_runs_the_expert(self) -> None:
        """A step that another follows never asks the expert, whatever it wants."""
        assert parse(a_step(), WorkflowArguments).runs_expert
        assert not parse(a_step(next_step_required=True), WorkflowArguments).runs_expert
        assert not parse(a_step(assistant=False), WorkflowArguments).runs_expert


json_values = st.recursive(
    # 1.0 is an integer for JSON Schema, but none for the parser: JSON writers do not write it for one.
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([-0.5, 0.5, 1.5, "", "a", "max", URL, f"a{URL}", "a b", "a\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("a"), inner),
    max_leaves=4,
)


def arguments_like(example: dict[str, Any], names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw valid arguments with some fields replaced by anything, or left out."""
    changes = st.dictionaries(st.sampled_from(names), json_values, max_size=3)
    removed = st.sets(st.sampled_from(names), max_size=1)
    return st.builds(
        lambda new, gone: {name: v for name, v in {**example, **new}.items() if name not in gone},
        changes,
        removed,
    )


def accepts(arguments: dict[str, Any], kind: Kind) -> bool:
    """Say whether `arguments` parse; rules that compare two fields do not count: no schema can say them."""
    try:
        parse(arguments, kind)
    except ArgumentError as error:
        return error.reason.startswith(("must be at most total_steps", "is the same as assistant"))
    return True


class TestSchema:
    @pytest.mark.parametrize("kind", [NoArguments, ChatArguments, WorkflowArguments])
    def test_it_is_a_json_schema_of_an_object(self, kind: Any) -> None:
        """A client gets a valid schema that is complete in itself, with every argument described."""
        made = schema(kind)
        jsonschema.Draft202012Validator.check_schema(made)
        assert made["type"] == "object"
        assert "$ref" not in str(made)
        assert all(field.get("description") for field in made["properties"].values())

    @given(arguments_like(a_step(), list(WorkflowArguments.__struct_fields__)))
    def test_it_accepts_the_steps_that_parse(self, arguments: dict[str, Any]) -> None:
        """Schema and parser agree on what a step is."""
        valid = jsonschema.Draft202012Validator(schema(WorkflowArguments)).is_valid(arguments)
        assert valid == accepts(arguments, WorkflowArguments)

    @given(arguments_like(a_chat(), list(ChatArguments.__struct_fields__)))
    def test_it_accepts_the_chats_that_parse(self, arguments: dict[str, Any]) -> None:
        """Schema and parser agree on what a chat is."""
        valid = jsonschema.Draft202012Validator(schema(ChatArguments)).is_valid(arguments)
        assert valid == accepts(arguments, ChatArguments)
